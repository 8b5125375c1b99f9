"""What the tests of commands ask again and again."""

import base64
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from mensagod.client.connection import ClientConnection
from mensagod.crypto.cryptostring import CryptoString
from mensagod.status import Status
from mensagod.wire.messages import Response
from tests.serving import Person, ServerTestCase
from tests.waiting import until

Fields = Mapping[str, object]
"""The fields of a request, malformed ones among them."""

Faults = Mapping[str, Sequence[str]]
"""Values that fields must not have, in the order in which the fields are checked."""


NOTHING: Faults = MappingProxyType({})


class CommandTestCase(ServerTestCase):
    """A conversation with a running server."""

    async def ask(self, client: ClientConnection, action: str, fields: Fields | None = None) -> Response:
        """Send a request and give the answer, whatever it is."""
        async with client.turn() as turn:
            return await turn.ask(action, fields)

    async def assert_answer(
        self,
        client: ClientConnection,
        action: str,
        fields: Fields | None,
        status: Status,
        info: str | None = None,
    ) -> Response:
        """Send a request; its answer must have this status, and this Info if one is given."""
        answer = await self.ask(client, action, fields)
        self.assertEqual(answer.status, status, f"{action} {fields}: {answer}")
        if info is not None:
            self.assertEqual(answer.info, info)
        return answer

    async def assert_fields(
        self,
        client: ClientConnection,
        action: str,
        good: Fields,
        required: Faults,
        optional: Faults = NOTHING,
    ) -> None:
        """Every field is checked: missing, empty, bad; and the earlier before the later."""
        faults = {**required, **optional}
        broken = {name: values[0] for name, values in faults.items() if values}
        for name in required:
            for fields in (_without(good, name), {**good, name: ""}):
                await self.assert_answer(
                    client, action, fields, Status.BAD_REQUEST, f"Missing required field {name}"
                )
        for name, values in faults.items():
            for value in values:
                fields = {**good, name: value}
                await self.assert_answer(
                    client, action, fields, Status.BAD_REQUEST, f"Bad value for field {name}"
                )
        names = list(broken)
        for number, name in enumerate(names):
            later = {**good, **{other: broken[other] for other in names[number:]}}
            answer = await self.assert_answer(client, action, later, Status.BAD_REQUEST)
            self.assertEqual(answer.info, f"Bad value for field {name}")

    def challenge(self, text: bytes | None = None) -> tuple[str, CryptoString]:
        """Make a challenge for LOGIN; the text, and sealed."""
        text = base64.b85encode(os.urandom(32)) if text is None else text
        return text.decode("latin-1"), self.organization.encryption.encryption_key.seal(text)

    def login_fields(self, person: Person) -> dict[str, object]:
        """Give what LOGIN asks for."""
        return {
            "Login-Type": "PLAIN",
            "Workspace-ID": person.workspace,
            "Challenge": self.challenge()[1],
        }

    async def until_device(self, client: ClientConnection, person: Person) -> None:
        """Do the first two steps of a login."""
        await self.assert_answer(client, "LOGIN", self.login_fields(person), Status.CONTINUE)
        fields = {"Password-Hash": person.password}
        await self.assert_answer(client, "PASSWORD", fields, Status.CONTINUE)

    async def answered_challenge(self, client: ClientConnection, person: Person) -> dict[str, object]:
        """Do the first half of the third step; give the fields of the second."""
        fields = person.device_fields
        answer = await self.assert_answer(client, "DEVICE", fields, Status.CONTINUE)
        opened = person.keys.open(CryptoString.from_text(answer.data["Challenge"]))
        return {**fields, "Response": opened.decode()}

    def delay_failures(self, seconds: int) -> Clock:
        """Have the server answer a failure after so many seconds, of a time that the test makes."""
        server = self.service.server
        server.config = evolve(
            server.config, security=evolve(server.config.security, failure_delay_sec=seconds)
        )
        clock = Clock()
        server.reactor = clock
        return clock

    async def assert_delayed(
        self, client: ClientConnection, action: str, fields: Fields, status: Status
    ) -> None:
        """The answer to a failure must come after the delay of the configuration, and hold up nobody else."""
        clock = self.delay_failures(3)
        other = await self.client()
        late = Deferred.fromCoroutine(self.ask(client, action, fields))
        await until(lambda: late.called or bool(clock.getDelayedCalls()))
        clock.advance(2.9)
        await self.assert_answer(other, "IDLE", {}, Status.OK)
        self.assertFalse(late.called)
        clock.advance(0.1)
        self.assertEqual((await late).status, status)

    def captured_log(self) -> list[str]:
        """Give a list that all that is logged from now on goes into, with every value of every event."""
        lines: list[str] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            lines.append(f"{formatEvent(event)} {event}")

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines


def _without(fields: Fields, name: str) -> Fields:
    return {key: value for key, value in fields.items() if key != name}
