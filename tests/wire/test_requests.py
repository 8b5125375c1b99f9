"""Requests, case by case and against the vectors (spec 01, *Requests*)."""

from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import AlgorithmNotSupported, BadRequest, BadValue, CommandError, UnsupportedAlgorithm
from mensagod.wire.messages import MalformedRequest, Request, quote
from mensagod.wire.strictjson import MAX_FIELDS, MAX_IGNORED
from tests.wire.vectors import load

#: Where the reference and the spec differ: what we say, and why.
DIFFERENCES = {
    '{"Action":"NOOP","Data":null}': ("NOOP {}", "Data may be null"),
    '{"Action":"NOOP","Extra":1}': ("NOOP {}", "other top-level members are ignored"),
    '{"Action":"A","Action":"B"}': ("refused", "a duplicate member is a 400"),
    '{"Action":"A","Data":{"x":"1","x":"2"}}': ("refused", "a duplicate member is a 400"),
}


def answer(raw: bytes) -> str:
    """What is read from ``raw``, as the probes write it."""
    try:
        request = Request.from_bytes(raw)
    except MalformedRequest:
        return "refused"
    return request.action + " {" + ", ".join(f"{name}={value}" for name, value in request.data.items()) + "}"


class VectorTests(SynchronousTestCase):
    """What the newest reference takes and sends."""

    def test_probes(self) -> None:
        """We read each probe as the reference does, but for the differences listed, none of them stale."""
        differences = {}
        for probe in load("reference-wire.json")["json_decode_probes"]["ClientRequest"]:
            ours = answer(probe["in"].encode())
            theirs = "refused" if probe["out"].startswith("error") else probe["out"]
            if ours != theirs:
                differences[probe["in"]] = ours
        self.assertEqual(differences, {text: ours for text, (ours, _) in DIFFERENCES.items()})

    def test_requests_of_the_reference(self) -> None:
        """What today's client library sends is read whole."""
        sent = load("reference-wire.json")["json"]
        self.assertEqual(Request.from_bytes(sent["ClientRequest(QUIT)"].encode()), Request("QUIT"))
        login = Request.from_bytes(sent["ClientRequest(LOGIN, 3)"].encode())
        self.assertEqual((login.action, login.data["Challenge"]), ("LOGIN", 'CURVE25519:<>&"~`'))
        self.assertEqual(Request.from_bytes(sent["ClientRequest empty action"].encode()), Request(""))


class RefusalTests(SynchronousTestCase):
    """Each fault is a plain 400, told in a short Info, and the connection stays."""

    def refused(self, raw: bytes, *infos: str) -> None:
        fault = self.assertRaises(MalformedRequest, Request.from_bytes, raw)
        self.assertEqual((fault.status, fault.close), (400, False))
        self.assertIn(fault.info, infos)

    def test_not_json(self) -> None:
        """A text that does not parse, or is not UTF-8, wherever the fault is."""
        for raw in (
            b"",
            b"{",
            b'{"Action":"A"}{}',
            b"\xef\xbb\xbf" + b'{"Action":"A"}',
            b'{"Action":"A\xff"}',
            b'{"Action":"A","Data":{"\xff":"1"}}',
            b'{"Action":"A","X":"\xff"}',
            b'{"Action":"A","\xff":1}',
            b'{"Action":"A","Data":{"x":"\x00"}}',
            '{"Action":"A"}'.encode("utf-16"),
        ):
            self.refused(raw, "Request is not JSON")

    def test_surrogates(self) -> None:
        """A lone surrogate, escaped or not, wherever it is; a pair is a character."""
        for text in (rb"\ud800", rb"\udc00", rb"\udc00\ud800", b"\xed\xa0\x80", rb"\ud800\ud800"):
            for frame in (
                b'{"Action":"%b"}',
                b'{"Action":"A","Data":{"x":"%b"}}',
                b'{"Action":"A","X":["%b"]}',
            ):
                self.refused(frame % text, "Request is not JSON")
        self.assertEqual(Request.from_bytes(rb'{"Action":"\ud83d\ude00"}').action, "\N{GRINNING FACE}")

    def test_wrong_types(self) -> None:
        """No object, no string for Action, no object for Data, no string for a value."""
        for raw in (
            b"[]",
            b'"A"',
            b"{}",
            b'{"Action":1}',
            b'{"Action":"A","Data":[]}',
            b'{"Action":"A","Data":"x"}',
        ):
            self.refused(raw, "Request is not an object of Action and Data with strings")
        for value in (b"1", b"null", b"true", b"{}", b"[]"):
            raw = b'{"Action":"A","Data":{"x":%b}}' % value
            self.refused(raw, "Request is not an object of Action and Data with strings")

    def test_duplicates(self) -> None:
        """A member twice, at the top or in Data, also when one of the names is escaped."""
        for raw in (
            rb'{"Action":"A","\u0041ction":"A"}',
            b'{"Data":{},"Action":"A","Data":{}}',
            b'{"Action":"A","X":1,"X":2}',
            rb'{"Action":"A","Data":{"x":"1","\u0078":"1"}}',
        ):
            self.refused(raw, "Request has a member twice")

    def test_nul(self) -> None:
        """A NUL in the action, in a name or in a value; what only looks like one is none."""
        for raw in (
            rb'{"Action":"\u0000"}',
            rb'{"Action":"A","Data":{"\u0000":""}}',
            rb'{"Action":"A","Data":{"":"\u0000"}}',
        ):
            self.refused(raw, "Request has a NUL in a value")
        self.assertEqual(answer(rb'{"Action":"A","Data":{"x":"\\u0000"}}'), r"A {x=\u0000}")

    def test_nesting(self) -> None:
        """Nesting does not exhaust the stack, whether it is to be read or ignored."""
        deep = b"[" * 100_000 + b"]" * 100_000
        # Since Python 3.14 the stack has room to skim such a value: then its size is refused.
        too_large = "Request has a large member of unknown name"
        self.refused(b'{"Action":"A","X":' + deep + b"}", "Request is nested too deeply", too_large)
        for raw in (deep, b'{"Action":"A","Data":' + deep + b"}", b'{"Action":' + deep + b"}"):
            self.refused(raw, "Request is not an object of Action and Data with strings")

    def test_huge_numbers(self) -> None:
        """A number of a million digits is refused unread."""
        digits = b"1" * 1_000_000
        self.refused(b'{"Action":"A","X":' + digits + b"}", "Request has a large member of unknown name")
        self.refused(b'{"Action":"A","X":' + digits[:5000] + b"}", "Request has a number out of range")
        self.refused(b'{"Action":"A","X":1e999999}', "Request has a number out of range")

    def test_ignored_members(self) -> None:
        """A member of unknown name may hold any JSON, up to a size."""
        for value in (b"{}", b'{"a":1,"a":2}', b'["Data",null]', b'"' + b"x" * (MAX_IGNORED - 2) + b'"'):
            self.assertEqual(answer(b'{"X":' + value + b',"Action":"A","Data":{"x":"1"}}'), "A {x=1}")
        raw = b'{"Action":"A","X":"' + b"x" * MAX_IGNORED + b'"}'
        self.refused(raw, "Request has a large member of unknown name")

    def test_many_fields(self) -> None:
        """The number of fields is bounded before any is read."""
        data = {str(number): "" for number in range(MAX_FIELDS - 2)}
        self.assertEqual(len(Request.from_bytes(Request("A", data).to_bytes()).data), MAX_FIELDS - 2)
        self.refused(b'{"Action":"A","Data":{' + b'"a":"",' * MAX_FIELDS, "Request has too many fields")

    def test_quotes_in_a_value_are_not_fields(self) -> None:
        """A value full of quotes and backslashes is as good as another."""
        request = Request("A", {"x": '\\"' * 50_000})
        self.assertEqual(Request.from_bytes(request.to_bytes()), request)


class ActionTests(SynchronousTestCase):
    """The name of the command."""

    def test_case(self) -> None:
        """Case does not matter, and only ASCII letters have one."""
        self.assertEqual(Request.from_bytes(b'{"Action":"getWid"}').action, "GETWID")
        self.assertEqual(Request.from_bytes('{"Action":"\u0131dle"}'.encode()).action, "\u0131dle")

    def test_quote(self) -> None:
        """What is quoted for an Info is bounded and printable."""
        self.assertEqual(quote("HELO"), "'HELO'")
        self.assertEqual(quote("a\r\nb\u202e\ud800"), "'a??b??'")
        self.assertEqual(quote("x" * 1_000_000, 5), "'xxxxx...'")


def parse_small(text: str) -> int:
    """A parser such as those of the types of spec 02."""
    if text.startswith("ROT13:"):
        raise UnsupportedAlgorithm("ROT13 is unknown; known: BLAKE2B-256")
    if text not in {"1", "2", "3"}:
        raise BadValue("not small")
    return int(text)


class FieldTests(SynchronousTestCase):
    """Fields become values, or the answer that says which is wrong."""

    request = Request("A", {"One": "1", "Empty": "", "Bad": "x", "Odd": "ROT13:abc"})

    def refused(self, name: str) -> CommandError:
        required: CommandError = self.assertRaises(CommandError, self.request.required, name, parse_small)
        if self.request.has(name):
            optional = self.assertRaises(CommandError, self.request.optional, name, parse_small)
            self.assertEqual((type(optional), optional.info), (type(required), required.info))
        return required

    def test_values(self) -> None:
        """A field that is there is parsed, whether it had to be there or not."""
        self.assertEqual(self.request.required("One", parse_small), 1)
        self.assertEqual(self.request.optional("One", parse_small), 1)

    def test_missing(self) -> None:
        """A required field that is missing or empty is a 400 with its name."""
        for name in ("None", "Empty"):
            fault = self.refused(name)
            self.assertIsInstance(fault, BadRequest)
            self.assertEqual(fault.info, f"Missing required field {name}")

    def test_optional_missing(self) -> None:
        """An optional field that is missing or empty has its default."""
        for name in ("None", "Empty"):
            self.assertFalse(self.request.has(name))
            self.assertIsNone(self.request.optional(name, parse_small))
            self.assertEqual(self.request.optional(name, parse_small, 7), 7)

    def test_bad_value(self) -> None:
        """A value that does not parse is a 400 with the field's name, and no internals."""
        fault = self.refused("Bad")
        self.assertIsInstance(fault, BadRequest)
        self.assertEqual(fault.info, "Bad value for field Bad")

    def test_unsupported_algorithm(self) -> None:
        """An unknown algorithm is a 309 that lists the known ones."""
        fault = self.refused("Odd")
        self.assertIsInstance(fault, AlgorithmNotSupported)
        self.assertEqual((fault.status, fault.info), (309, "ROT13 is unknown; known: BLAKE2B-256"))
