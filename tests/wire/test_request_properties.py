"""What holds for every request and every text that is none (spec 01, *Requests*)."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.wire.messages import MalformedRequest, Request
from tests.wire.oracle import Refused, read_request

names = st.sampled_from(["Action", "Data", "action", "A", 'q"', "b\\", '\\"', "é", ""])
texts = st.text(max_size=6) | st.text('"\\a/u\0\x1f', max_size=6) | names
unicode_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
quick = settings(max_examples=150, deadline=None)


@st.composite
def json_string(draw: st.DrawFn, source: st.SearchStrategy[str] = texts) -> str:
    """A string as JSON, its characters escaped or not as chance will have it."""
    text = draw(source)
    if draw(st.booleans()):
        return json.dumps(text, ensure_ascii=draw(st.booleans()))
    return '"' + "".join(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else char for char in text) + '"'


def json_object(values: st.SearchStrategy[str], *, keys: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An object as JSON, in which a member may come twice."""
    members = st.lists(st.tuples(json_string(keys), values), max_size=4)
    return members.map(lambda pairs: "{" + " , ".join(f"{name}: {value}" for name, value in pairs) + "}")


scalars = st.sampled_from(
    ["null", "true", "0", "-1.5e3", "01", "NaN", "1e5", "[]", '"\\ud83d\\ude00"', '"\\udc00"']
)
values = st.recursive(
    scalars | json_string(),
    lambda inner: (
        json_object(inner, keys=names) | st.lists(inner, max_size=3).map(lambda v: f"[{','.join(v)}]")
    ),
    max_leaves=6,
)
data_objects = json_object(json_string(), keys=texts)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The text of a request, or of what nearly is one."""
    members = [f'"Action":{draw(json_string() | values)}'] if draw(st.integers(0, 5)) else []
    if draw(st.integers(0, 3)):
        members.append(f'"Data":{draw(data_objects | data_objects | values)}')
    if draw(st.booleans()):
        members += [f"{draw(json_string(names))}:{draw(values | data_objects)}"]
    text = "{" + ",".join(draw(st.permutations(members))) + "}"
    return text.encode("utf-8", "surrogatepass")


class RequestPropertyTests(SynchronousTestCase):
    """Either a request or our refusal."""

    def agree(self, raw: bytes) -> None:
        """The fast reader and the slow one say the same of ``raw``."""
        try:
            expected = read_request(raw)
        except Refused:
            self.assertRaises(MalformedRequest, Request.from_bytes, raw)
            return
        request = Request.from_bytes(raw)
        self.assertEqual((request.action, request.data), expected)

    @given(requests())
    @settings(max_examples=200, deadline=None)
    @example(b'{"Action":"A","Data":{"x":"1","\\u0078":"2"}}')
    @example(b'{"Action":"A","Data":{"x":"\\\\","x":"\\""}}')
    @example(b'{"Action":"A","Data":{"a":"b"},"Data":null}')
    @example(b'{"Action":"A","Data":null,"X":"","X":""}')
    @example(b'{"Action":"A","X":{"Data":{"a":"b","a":"c"}},"Data":{"a":"b"}}')
    def test_agrees_with_the_slow_reader(self, raw: bytes) -> None:
        """No member that came twice, nor another fault, gets by the fast reader; nothing else is refused."""
        self.agree(raw)

    @given(st.binary(max_size=60), requests(), st.integers(0, 200))
    @quick
    def test_any_bytes(self, noise: bytes, raw: bytes, place: int) -> None:
        """Any bytes, alone or in the middle of a request, are a request or our refusal."""
        self.agree(noise)
        self.agree(raw[:place] + noise + raw[place:])

    @given(unicode_texts, st.dictionaries(unicode_texts, unicode_texts, max_size=5))
    @quick
    def test_round_trip(self, action: str, data: dict[str, str]) -> None:
        """A request that a client makes is the one that the server reads."""
        action = action.upper() if action.isascii() else action
        request = Request(action, data)
        self.assertEqual(Request.from_bytes(request.to_bytes()), request)
