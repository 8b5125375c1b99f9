"""Every field of every request of every command, as the definitions have them (spec 02 and 04)."""

from collections.abc import Iterator

from attrs import frozen

import twisted.plugins
from mensagod.commands.audience import Audience
from mensagod.commands.demands import AtStage
from mensagod.commands.interfaces import ICommand
from mensagod.commands.registry import installed_commands
from mensagod.crypto.hashing import hash_bytes
from mensagod.crypto.sealing import EncryptionPair
from mensagod.crypto.signing import SigningPair
from mensagod.errors import BadValue, CommandError, UnsupportedAlgorithm
from mensagod.requests.login import PLAIN
from mensagod.sessions.login import Login, Stage
from mensagod.status import Status
from mensagod.wire.fields import Field, Fields
from mensagod.wire.frames import encode_message
from mensagod.wire.messages import Request
from tests.conversations import DOMAIN, ConversationTestCase, Peer, make_member

ID = "11111111-1111-4111-8111-111111111111"
ORDER_ID = "22222222-2222-4222-8222-222222222222"
GOOD = (
    PLAIN,
    ID,
    f"/ wsp {ID} new",
    f"/ wsp {ID} 1.2.{ORDER_ID}",
    str(EncryptionPair.generate().encryption_key),
    str(SigningPair.generate().sign(b"")),
    str(hash_bytes(b"")),
    "17",
    "example.com",
    "a password hash of somebody",
)
"""For every type of field one of these is a value."""

BAD = ("..", "\N{ARABIC-INDIC DIGIT ONE}", "/ etc", "a b/c", "x" * 2000, "CURVE25519:0")
"""For every type that not all texts are of, one of these is none."""

UNSUPPORTED = "AES-256:abcde"

SPEC_TYPES = {
    "RandomID",
    "UserID",
    "Domain",
    "CryptoString",
    "Hash",
    "Path",
    "Integer",
    "Long",
    "UnixTime",
    "String",
    "``PLAIN``",
    "MAddress, WAddress, RandomID or Domain",
    "digits, a minus sign allowed",
    "digits",
}


def good_value(field: Field) -> str:
    """Find a text that the field takes."""
    return next(text for text in GOOD if verdict(field, text) is None)


def verdict(field: Field, text: str) -> type[BadValue] | None:
    """Say why a field does not take a text."""
    try:
        field.parse(text)
    except BadValue as fault:
        return type(fault)
    return None


def good_data(fields: type[Fields]) -> dict[str, str]:
    """Make all the fields of a request."""
    return {field.name: good_value(field) for field in fields.definitions() if field.presence != "refused"}


def faults(fields: type[Fields]) -> Iterator[tuple[dict[str, str], Status, str]]:
    """Give faulty requests: the data, and the status and Info that answer it."""
    good = good_data(fields)
    for field in fields.definitions():
        others = {name: text for name, text in good.items() if name != field.name}
        if field.presence == "refused":
            yield {**good, field.name: "x"}, Status.BAD_REQUEST, str(field.refusal())
            continue
        if field.presence == "required":
            missing = {name: text for name, text in others.items() if name != field.unless}
            for data in (missing, {**missing, field.name: ""}):
                yield data, Status.BAD_REQUEST, f"Missing required field {field.name}"
        for text in BAD:
            if verdict(field, text) is BadValue:
                yield {**good, field.name: text}, Status.BAD_REQUEST, f"Bad value for field {field.name}"
        if verdict(field, UNSUPPORTED) is UnsupportedAlgorithm:
            yield {**good, field.name: UNSUPPORTED}, Status.ALGORITHM_NOT_SUPPORTED, ""


def disorders(fields: type[Fields]) -> Iterator[tuple[dict[str, str], str]]:
    """Give requests of which each field from one on is bad: the data, and the first bad field."""
    checked = [field for field in fields.definitions() if field.presence != "refused"]
    bad = {
        field.name: next((text for text in BAD if verdict(field, text) is BadValue), None)
        for field in checked
    }
    names = [name for name, text in bad.items() if text is not None]
    for number, name in enumerate(names):
        yield {**good_data(fields), **{later: bad[later] or "" for later in names[number:]}}, name


@frozen
class Case:
    """A command, and one class of its fields."""

    command: ICommand
    fields: type[Fields]


def commands() -> list[ICommand]:
    """Give the built-in commands."""
    found, _ = installed_commands(twisted.plugins)
    commands = [installed.command for installed in found]
    return [command for command in commands if type(command).__module__.startswith("mensagod.")]


def cases() -> Iterator[Case]:
    """Give each class of fields of each command."""
    for command in commands():
        for fields in (command.fields, *command.more_fields):
            yield Case(command, fields)


class FirstRequestTests(ConversationTestCase):
    """What the dispatch answers to the first request of each command."""

    def setUp(self) -> None:
        """Install all commands."""
        super().setUp()
        self.every = commands()
        self.commands(*(command for command in self.every if self.is_new(command)))

    def is_new(self, command: ICommand) -> bool:
        return command.name not in {"CANCEL", "IDLE", "LOGOUT", "QUIT"}

    def entitled(self, command: ICommand) -> Peer:
        """Connect somebody who may use a command now."""
        peer = self.connect()
        if Audience.STRANGER not in command.audience:
            peer.session.enter(make_member(is_admin=True))
        for demand in command.demands:
            if isinstance(demand, AtStage) and demand.stage is not Stage.FRESH:
                peer.session.advance(Login(demand.stage, make_member().workspace, DOMAIN))
        return peer

    def ask(self, peer: Peer, command: ICommand, data: dict[str, str]) -> tuple[Status, str]:
        peer.send(encode_message(Request(command.name, data).to_bytes()))
        return peer.last.status, peer.last.info

    def test_faults(self) -> None:
        """Each field that is missing, malformed or out of place is refused, and the connection stays."""
        count = 0
        for command in self.every:
            peer = self.entitled(command)
            for data, status, info in faults(command.fields):
                answered, said = self.ask(peer, command, data)
                self.assertEqual(answered, status, f"{command.name} {data}: {said}")
                if info:
                    self.assertEqual(said, info, f"{command.name} {data}")
                count += 1
        self.assertGreater(count, 100)

    def test_order(self) -> None:
        """Fields are checked in their order: the first that is wrong is named."""
        for command in self.every:
            peer = self.entitled(command)
            for data, name in disorders(command.fields):
                self.assertEqual(self.ask(peer, command, data)[1], f"Bad value for field {name}")

    def test_login_first(self) -> None:
        """That a login is needed, or the administrator, is said before anything about fields."""
        for command in self.every:
            if Audience.STRANGER not in command.audience:
                self.assertEqual(self.ask(self.connect(), command, {})[0], Status.UNAUTHORIZED)
            if command.audience is Audience.ADMINISTRATOR:
                self.assertEqual(self.ask(self.member(), command, {})[0], Status.FORBIDDEN)
            if command.audience is Audience.STRANGER:
                answer = self.ask(self.member(), command, {})
                self.assertEqual(answer, (Status.BAD_REQUEST, "Session state mismatch"))


class DefinitionTests(ConversationTestCase):
    """All definitions of fields."""

    def test_faults_of_further_requests(self) -> None:
        """A further request is read in the same way."""
        for case in cases():
            for data, status, info in faults(case.fields):
                fault = self.assertRaises(CommandError, case.fields.read, Request(case.command.name, data))
                self.assertEqual(fault.status, status)
                if info:
                    self.assertEqual(str(fault), info)

    def test_round_trip(self) -> None:
        """What a client makes of values, the server reads as the same values."""
        for case in cases():
            asked = case.fields.read(Request("X", good_data(case.fields)))
            self.assertEqual(case.fields.read(Request("X", asked.to_data())), asked)

    def test_fits(self) -> None:
        """A further request fits if it has what it must have; an empty field is not there."""
        for case in cases():
            good = good_data(case.fields)
            self.assertTrue(case.fields.fits(Request("X", good)))
            for name in case.fields.needed():
                self.assertFalse(case.fields.fits(Request("X", {**good, name: ""})))

    def test_documented(self) -> None:
        """Each has half a sentence and a type of spec 02; none stands twice in a request."""
        for case in cases():
            definitions = case.fields.definitions()
            self.assertEqual(len({field.name for field in definitions}), len(definitions))
            for field in definitions:
                self.assertTrue(field.says)
                self.assertFalse(field.says.endswith("."), field.says)
                self.assertIn(field.type_name, SPEC_TYPES, field.name)
