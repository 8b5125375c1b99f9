"""Responses and the greeting, against the vectors and by property (spec 01, *Responses* and *Greeting*)."""

import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.errors import BadValue, NotFound, StateMismatch
from mensagod.status import Status
from mensagod.wire.greeting import MAX_GREETING, Greeting, MalformedGreeting
from mensagod.wire.messages import MalformedResponse, Response
from tests.wire.vectors import load

#: Where our clients and the reference's differ: what ours says, and why.
RESPONSE_DIFFERENCES = {
    '{"Code":200.0,"Status":"OK"}': ("200 OK {}", "in JSON it is the same number as 200"),
    '{"Code":200,"Status":"OK","Other":""}': ("200 OK {}", "a later server may say more"),
}

quick = settings(deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
statuses = st.sampled_from(list(Status))
jsonish = st.recursive(
    st.none() | st.integers() | st.floats() | st.sampled_from([200, "200", "OK", "Mensago"]) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=5,
)
names = st.sampled_from(["Code", "Status", "Info", "Data", "Name", "Version", "Date"])
objects = st.dictionaries(names, jsonish).map(lambda value: json.dumps(value).encode())


class ResponseTests(SynchronousTestCase):
    """What goes out, and what our own clients read."""

    def test_four_members(self) -> None:
        """Code, Status, Info and Data are always there, in this order, and nothing else."""
        raw = Response(Status.OK).to_bytes()
        self.assertEqual(raw, b'{"Code":200,"Status":"OK","Info":"","Data":{}}')
        raw = Response(Status.NOT_FOUND, "No such file", {"Path": "/ wsp"}).to_bytes()
        expected = b'{"Code":404,"Status":"NOT FOUND","Info":"No such file","Data":{"Path":"/ wsp"}}'
        self.assertEqual(raw, expected)

    def test_every_status(self) -> None:
        """Each code goes out as a number with the text of the table."""
        for status in Status:
            sent = json.loads(Response(status).to_bytes())
            self.assertEqual((sent["Code"], sent["Status"]), (int(status), status.text))

    def test_second_text(self) -> None:
        """The code that has two texts can go out with either, and comes back with it."""
        response = Response(Status.ARCHIVED, text="UNREGISTERED")
        self.assertIn(b'"Code":202,"Status":"UNREGISTERED"', response.to_bytes())
        self.assertEqual(Response.from_bytes(response.to_bytes()), response)

    def test_from_error(self) -> None:
        """A condition becomes its status, its sentence and its data."""
        mismatch = Response.from_error(StateMismatch())
        self.assertEqual(mismatch, Response(Status.BAD_REQUEST, "Session state mismatch"))
        error = NotFound("Gone", {"Path": "/"})
        self.assertEqual(Response.from_error(error), Response(Status.NOT_FOUND, "Gone", {"Path": "/"}))

    def test_reference_responses(self) -> None:
        """What the reference sends is read, and what has all four members is sent alike."""
        sent = {
            name: text.encode()
            for name, text in load("reference-wire.json")["json"].items()
            if name != "rules"
        }
        self.assertEqual(Response.from_bytes(sent["ServerResponse(200,OK)"]), Response(Status.OK))
        bad = Response.from_bytes(sent["ServerResponse(400,BAD REQUEST,Bad value)"])
        self.assertEqual(bad, Response(Status.BAD_REQUEST, "Bad value"))
        escapes = Response.from_bytes(sent["ServerResponse escapes"])
        self.assertEqual(escapes.info, json.loads(sent["ServerResponse escapes"])["Info"])
        self.assertIn("\N{GRINNING FACE}<>&'", escapes.info)
        whole = sent["ServerResponse all four"]
        self.assertEqual(Response.from_bytes(whole).to_bytes(), whole)
        attached = Response.from_bytes(sent["ServerResponse(200,OK).attach(Workspace-ID)"])
        self.assertEqual(attached.data, {"Workspace-ID": "4418bf6c-000b-4bb3-8111-316e72030468"})
        self.assertRaises(MalformedResponse, Response.from_bytes, sent["ServerResponse()"])

    def test_probes(self) -> None:
        """We read each probe as the reference does, but for the differences listed, none of them stale."""
        differences = {}
        for probe in load("reference-wire.json")["json_decode_probes"]["ServerResponse"]:
            try:
                read = Response.from_bytes(probe["in"].encode())
                ours = f"{read.status} {read.text or read.status.text} " + str(read.data)
            except MalformedResponse:
                ours = "refused"
            theirs = probe["out"].removeprefix("ServerResponse -> ").replace(": ", " ")
            if ours != ("refused" if theirs.startswith("error") else theirs):
                differences[probe["in"]] = ours
        self.assertEqual(differences, {text: ours for text, (ours, _) in RESPONSE_DIFFERENCES.items()})

    @given(statuses, texts, st.dictionaries(texts, texts, max_size=4), st.sampled_from(["", "ANOTHER"]))
    @quick
    def test_round_trip(self, status: Status, info: str, data: dict[str, str], text: str) -> None:
        """A response comes back as it was sent."""
        response = Response(status, info, data, text)
        self.assertEqual(Response.from_bytes(response.to_bytes()), response)

    @given(st.binary(max_size=60) | objects)
    @quick
    @example(b'{"Code":200,"Status":"OK","Info":' + b"[" * 100_000)
    @example(b'{"Code":200,"Status":"OK","X":' + b"[" * 100_000)
    @example(b'{"Code":200,"Status":"\xff"}')
    @example(b'{"Code":1e999,"Status":"OK"}')
    def test_any_bytes(self, raw: bytes) -> None:
        """Any bytes are a response or our refusal."""
        try:
            self.assertIsInstance(Response.from_bytes(raw), Response)
        except MalformedResponse as fault:
            self.assertEqual(str(fault), "Not a response")


class GreetingTests(SynchronousTestCase):
    """The first line of a connection."""

    date = datetime(2024, 3, 26, 17, 6, 48, tzinfo=UTC)

    def test_reference_lines(self) -> None:
        """The line is, byte for byte, the one that the reference sends."""
        sent = load("reference-wire.json")["json"]
        for status, name in ((Status.OK, "greeting"), (Status.SERVER_UNAVAILABLE, "greeting_refused")):
            line = sent[name].encode()
            self.assertEqual(Greeting(status, self.date).to_line(), line)
            self.assertEqual(Greeting.from_line(line), Greeting(status, self.date))

    def test_zone(self) -> None:
        """The date goes out in UTC and whole seconds."""
        local = datetime(2024, 3, 26, 19, 6, 48, 999999, tzinfo=timezone(timedelta(hours=2)))
        self.assertEqual(Greeting(Status.OK, local).to_line(), Greeting(Status.OK, self.date).to_line())

    def test_probes(self) -> None:
        """Our clients read each probe of a greeting as the reference's do."""
        for probe in load("reference-wire.json")["json_decode_probes"]["greeting"]:
            line = probe["in"].encode()
            if probe["out"].startswith("error"):
                self.assertRaises(MalformedGreeting, Greeting.from_line, line)
            else:
                self.assertEqual(Greeting.from_line(line), Greeting(Status.OK, self.date))

    def test_refused(self) -> None:
        """A line of another server, with a bad date or without end, is refused."""
        line = Greeting(Status.OK, self.date).to_line()
        for bad in (
            b"220 mail.example.com ESMTP\r\n",
            line.replace(b"Mensago", b"Other"),
            line.replace(b"200", b"299"),
            line.replace(b"03-26", b"13-26"),
            line.replace(b"Z", b"+00:00"),
            line.replace(b"48Z", "4\u0668Z".encode()),
            line + b" " * MAX_GREETING,
        ):
            self.assertRaises(BadValue, Greeting.from_line, bad)

    def test_more_members(self) -> None:
        """A greeting that says more, from a later server, is read all the same."""
        line = Greeting(Status.OK, self.date).to_line().replace(b"{", b'{"More":[1],')
        self.assertEqual(Greeting.from_line(line), Greeting(Status.OK, self.date))

    @given(statuses, st.datetimes(min_value=datetime(1, 1, 2), timezones=st.just(UTC)))
    @quick
    def test_round_trip(self, status: Status, date: datetime) -> None:
        """A greeting comes back, its date cut to seconds."""
        expected = Greeting(status, date.replace(microsecond=0))
        self.assertEqual(Greeting.from_line(Greeting(status, date).to_line()), expected)

    @given(st.binary(max_size=60) | objects)
    @quick
    def test_any_bytes(self, line: bytes) -> None:
        """Any bytes are a greeting or our refusal."""
        try:
            self.assertIsInstance(Greeting.from_line(line), Greeting)
        except MalformedGreeting as fault:
            self.assertIn("reeting", str(fault))
