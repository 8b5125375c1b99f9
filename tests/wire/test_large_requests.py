"""Large requests are read in pieces, and as strictly as small ones."""

import json
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import BadRequest
from mensagod.wire import large_requests
from mensagod.wire.large_requests import LONG, MAX_SKELETON, PIECE, LargeRequest
from mensagod.wire.messages import MalformedRequest, Request
from mensagod.wire.strictjson import parse_request
from tests.wire.oracle import Refused, read_request
from tests.wire.test_request_properties import data_objects, json_object, json_string, names, requests

MB = 1_000_000
TOO_LARGE = "Request has a large member of unknown name"
LONGEST_NAME = 72
"""The most bytes that the name of a member takes in the requests of the property test."""


@st.composite
def long_requests(draw: st.DrawFn) -> bytes:
    """The text of a request with values that are longer than any name."""
    long = json_string(st.text('a\n"\\é\u20ac\U0001f600', min_size=20, max_size=100) | st.text(max_size=60))
    data = draw(json_object(long | json_string(), keys=names) | data_objects)
    members = draw(
        st.permutations(['"Action":"SEND"', f'"Data":{data}', *draw(st.lists(st.just('"x":[1]')))])
    )
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


def read(raw: bytes) -> tuple[Request, int]:
    """Read a request; give it, and the number of pieces."""
    large, pieces = LargeRequest(raw), 1
    while (found := large.read_on()) is None:
        pieces += 1
    return found, pieces


def encoded(data: dict[str, str], *, ascii_only: bool = False) -> bytes:
    return json.dumps({"Action": "SEND", "Data": data}, ensure_ascii=ascii_only).encode()


class LargeRequestTests(SynchronousTestCase):
    """Requests of many pieces."""

    def test_long_text(self) -> None:
        """A long text is in UTF-8, and its length is in characters; short fields are texts as ever."""
        for text in ("a", "é\n", '"', "\\", "\U0001f600", "a\u20ac\U0001f600\\"):
            for ascii_only in (False, True):
                whole = text * (300_000 // len(text))
                raw = encoded({"Message": whole, "Domain": "example.com"}, ascii_only=ascii_only)
                request, pieces = read(raw)
                self.assertEqual((request.action, request.data), ("SEND", {"Domain": "example.com"}))
                found = request.long["Message"]
                self.assertEqual((found.encode(), len(found)), (whole.encode(), len(whole)))
                self.assertGreaterEqual(pieces, 2 * (len(raw) // PIECE))

    def test_long_boundary(self) -> None:
        """Whatever stands where a piece ends, the text is the same."""
        for character in ("é", "\\ud83d\\ude00", "\\u20ac", "\\n", "\\\\", "\U0001f600"):
            for before in range(16):
                text = ("x" * (5 * PIECE - before) + character * 8).encode()
                request, _ = read(b'{"Action":"SEND","Data":{"Message":"%b"}}' % text)
                expected = json.loads(b'"%b"' % text)
                self.assertEqual(request.long["Message"].encode(), expected.encode())

    def test_nothing_large_at_once(self) -> None:
        """No call of the JSON library gets more than one piece, or the limited rest."""
        sizes: list[int] = []

        class Recorder:
            """A decoder that notes how much it gets."""

            def __init__(self, decode: Callable[[bytes], Any]):
                self._decode = decode

            def decode(self, raw: bytes) -> Any:
                sizes.append(len(raw))
                return self._decode(raw)

        self.patch(large_requests, "_text", Recorder(large_requests._text.decode))
        self.patch(large_requests, "parse_request", Recorder(parse_request).decode)
        values = ["x" * 3 * MB, "\\n" * MB, "\u20ac" * MB, "y" * 1000]
        read(encoded(dict(enumerate(values))))  # type: ignore[arg-type]
        self.assertLessEqual(max(sizes), MAX_SKELETON)
        self.assertGreater(sum(sizes), 7 * MB)
        self.assertLessEqual(max(size for size in sizes if size != sizes[0]), PIECE + 2)

    def refuse(self, raw: bytes, info: str) -> None:
        error = self.assertRaises(MalformedRequest, read, raw)
        self.assertEqual(error.info, info)

    def test_ignored(self) -> None:
        """Large members that would be ignored are refused before they are parsed."""
        self.refuse(b'{"Action":"IDLE","x":[%b1]}' % (b"1," * MB), TOO_LARGE)
        self.refuse(b'{"Action":"IDLE","x":"%b"}' % (b"1," * MB), TOO_LARGE)
        self.refuse(b'{"Action":"IDLE","%b":1}' % (b"1," * MB), TOO_LARGE)
        self.refuse(b'{"Action":"IDLE","Data":{"%b":""}}' % (b"1," * MB), TOO_LARGE)
        self.refuse(b'{"Action":"IDLE"%b}' % (b" " * MB), TOO_LARGE)
        self.refuse(b'{"Action":"IDLE","x":[%b""]}' % (b'"",' * MB), "Request has too many fields")

    def test_faults(self) -> None:
        """Faults within long strings are found in whichever piece they are."""
        for place in (0, PIECE, 3 * PIECE):
            for fault in (b"\n", b"\xff", b"\\x", b"\\ud800", b"\\ud800\\u0041", b"\\u12"):
                text = b"x" * place + fault + b"y" * 2 * PIECE
                self.refuse(b'{"Action":"SEND","Data":{"Message":"%b"}}' % text, "Request is not JSON")
        self.refuse(
            b'{"Action":"SEND","Data":{"Message":"%b\\u0000"}}' % (b"x" * MB), "Request has a NUL in a value"
        )

    def test_no_end(self) -> None:
        """A string without an end is refused, whatever it ends with."""
        for end in (b"", b"\\", b'\\"'):
            self.refuse(b'{"Action":"%b%b' % (b"x" * MB, end), "Request is not JSON")

    def test_long_action(self) -> None:
        """No command has a long name; its beginning is enough to say so."""
        request, _ = read(b'{"Action":"%b"}' % (b"x" * MB))
        self.assertEqual(request, Request("X" * len(request.action)))
        self.assertLess(len(request.action), 1000)

    def test_limit_of_a_string(self) -> None:
        """A string up to the limit is a text like any other."""
        for size, is_long in ((LONG, False), (LONG + 1, True)):
            request, _ = read(encoded({"Message": "x" * size}))
            self.assertEqual("Message" in request.long, is_long)
            self.assertEqual("Message" in request.data, not is_long)

    def test_other_fields(self) -> None:
        """A long text is a bad value for a field that is not made for it, and not a missing one."""
        request, _ = read(encoded({"Path": "x" * MB}))
        self.assertTrue(request.has("Path"))
        error = self.assertRaises(BadRequest, request.required, "Path", str)
        self.assertEqual(error.info, "Bad value for field Path")

    @given(long_requests() | requests(), st.sampled_from([12, 13, 17, 40]))
    @settings(max_examples=300, deadline=None)
    @example(b'{"Action":"A","Data":{"x":"' + b"\\ud83d\\ude00" * 9 + b'"}}', 13)
    @example(b'{"Action":"A","Data":{"x":"' + b"\\u20ac\xc3\xa9" * 19 + b'"}}', 17)
    @example(b'{"Action":"A","Data":{"x":"%b","x":"%b"}}' % (b"a" * 99, b"a" * 99), 12)
    def test_agrees_with_the_slow_reader(self, raw: bytes, piece: int) -> None:
        """The slow reader reads the same, however the text is cut; only large members are refused as well."""
        self.patch(large_requests, "PIECE", piece)
        self.patch(large_requests, "LONG", LONGEST_NAME)
        try:
            request, _ = read(raw)
        except MalformedRequest as error:
            if error.info != TOO_LARGE:
                self.assertRaises(Refused, read_request, raw)
            return
        action, data = read_request(raw)
        texts = {name: text.encode().decode() for name, text in request.long.items()}
        self.assertEqual((request.action, {**request.data, **texts}), (action, data))
        for name, text in request.long.items():
            self.assertEqual(len(text), len(data[name]))
