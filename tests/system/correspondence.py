"""People who write to each other without a pause, whatever happens to the server."""

from collections.abc import Callable
from random import Random

from attrs import frozen
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mensagod.client.connection import ClientConnection
from mensagod.client.errors import Disconnected, RequestRefused, ServerRefused
from mensagod.client.sending import send
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath
from tests.delivery.letters import letter
from tests.delivery.mail import MailTestCase
from tests.serving import Person
from tests.system.mail_checks import Mailbox, Message, count_files, faults, read_mailbox

PAYLOADS = (50, 1000, 5000, 5500, 6000, 20_000, 60_000)
"""Sizes of payloads; the envelopes of the middle ones are on both sides of 8 KiB."""

PAUSE = 0.05
"""Seconds between two messages of one person, and between two tries."""

HANG_UP_SECONDS = 0.02
"""When somebody hangs up: a message is often stored by then, and seldom answered."""


def now() -> float:
    return IReactorTime(reactor).seconds()


def is_for_now(error: Exception) -> bool:
    """Tell whether an error is one that clients may meet while parts of an installation are away."""
    if isinstance(error, (RequestRefused, ServerRefused)):
        return error.status is Status.SERVER_UNAVAILABLE
    return isinstance(error, (Disconnected, ConnectError))


@frozen
class Manners:
    """How people treat the server.

    :ivar abandoned: the share of failed messages that are not submitted again.
    :ivar hung_up: the share of those whose sender hangs up at once, and submits them again.
    """

    _chance: Random
    abandoned: float = 0.0
    hung_up: float = 0.0

    def gives_up(self) -> bool:
        return self._chance.random() < self.abandoned

    def hangs_up(self) -> bool:
        return self._chance.random() < self.hung_up


class Correspondent:
    """Somebody with one connection, which is made again when it was lost.

    :ivar refusals: how often the answer was 303.
    :ivar losses: how often a connection ended that was logged in.
    """

    def __init__(self, person: Person, enter: Callable[[Person], Deferred[ClientConnection]]):
        self.person = person
        self.refusals = 0
        self.losses = 0
        self._enter = enter
        self._client: ClientConnection | None = None

    async def client(self) -> ClientConnection:
        """Give the connection; log in if there is none."""
        if self._client is None:
            self._client = await self._enter(self.person)
        return self._client

    async def submit(self, message: Message, manners: Manners) -> None:
        """Submit a message until it is acknowledged, or no longer."""
        while not message.is_acknowledged:
            hangs_up = manners.hangs_up()
            try:
                await self._submit(message, hangs_up)
                message.is_acknowledged = True
            except Exception as error:
                self.note(error)
                # Who hung up may have been heard, and does say it again.
                if not hangs_up and manners.gives_up():
                    return
                await deferLater(reactor, PAUSE)

    async def _submit(self, message: Message, hangs_up: bool) -> None:
        client = await self.client()
        answer = Deferred.fromCoroutine(send(client, message.content.decode(), self.person.domain))
        if hangs_up:
            await deferLater(reactor, HANG_UP_SECONDS)
            client.abort()
        await answer

    def note(self, error: Exception) -> None:
        """Take note of a failure.

        :raises Exception: the error itself, if no client may meet it.
        """
        if not is_for_now(error):
            raise error
        if isinstance(error, RequestRefused):
            self.refusals += 1
        elif self._client is not None:
            self._client, self.losses = None, self.losses + 1


class Correspondence:
    """Several people who write to each other.

    :param port: tells where the server is now; 0 while it is nowhere.
    :param chance: decides who writes what to whom.
    :param abandoned: see :class:`Manners`, as for ``hung_up``.
    :ivar messages: all that were submitted.
    """

    def __init__(
        self,
        test: MailTestCase,
        port: Callable[[], int],
        chance: Random,
        *,
        abandoned: float = 0.0,
        hung_up: float = 0.0,
    ):
        self.messages: list[Message] = []
        self.people: list[Correspondent] = []
        self._test = test
        self._port = port
        self._chance = chance
        self._manners = Manners(chance, abandoned, hung_up)
        self._is_over = False
        self._work: Deferred[list[None]] | None = None

    @property
    def acknowledged(self) -> int:
        """How many messages are acknowledged."""
        return sum(message.is_acknowledged for message in self.messages)

    async def begin(self, count: int) -> None:
        """Make people, and have them begin."""
        for _ in range(count):
            self.people.append(Correspondent(await self._test.settle(), self._enter))
        self._work = gatherResults(
            [Deferred.fromCoroutine(self._write(one)) for one in self.people], consumeErrors=True
        )

    async def until_acknowledged(self, more: int) -> None:
        """Wait until so many more messages are acknowledged; fail with what a sender failed with."""
        wanted = self.acknowledged + more
        while self.acknowledged < wanted:
            if self._work is not None and self._work.called:
                await self._work
            await deferLater(reactor, PAUSE)

    async def end(self) -> None:
        """Wait until everybody has submitted the last message."""
        self._is_over = True
        if self._work is not None:
            await self._work

    async def settled(self, seconds: float) -> float:
        """Wait until nothing waits any more, at most for ``seconds``; give how long it took."""
        begun = now()
        while not await self._is_settled() and now() < begun + seconds:
            await deferLater(reactor, 4 * PAUSE)
        return now() - begun

    async def faults(self) -> list[str]:
        """Read all mailboxes, and say what is wrong."""
        mailboxes: dict[WorkspaceID, Mailbox] = {}
        used = {
            row.workspace: row.used for row in await self._test.rows("SELECT workspace, used FROM mailboxes")
        }
        for one in self.people:
            owner = one.person.workspace
            mailboxes[owner] = await read_mailbox(await self._fresh(one), owner, used[owner.uuid])
        return faults(self.messages, mailboxes)

    async def _write(self, sender: Correspondent) -> None:
        while not self._is_over:
            recipient = self._chance.choice(self.people).person
            payload = self._chance.randbytes(self._chance.choice(PAYLOADS))
            letter = self._letter(sender.person, recipient, payload)
            message = Message(recipient.workspace, letter.encode())
            self.messages.append(message)
            await sender.submit(message, self._manners)
            await deferLater(reactor, PAUSE)

    def _letter(self, sender: Person, recipient: Person, payload: bytes) -> str:
        return letter(self._test.organization.encryption, sender.address, recipient.address, payload=payload)

    def _enter(self, person: Person) -> Deferred[ClientConnection]:
        return Deferred.fromCoroutine(self._log_in(person))

    async def _log_in(self, person: Person) -> ClientConnection:
        port = self._port()
        if not port:
            raise ConnectError
        client = await self._test.client(port)
        await self._test.log_in(client, person)
        return client

    async def _fresh(self, one: Correspondent) -> ClientConnection:
        """Give a connection that works: that of before may have been lost since it was used."""
        client = await one.client()
        try:
            await client.request("IDLE", {}, Status.OK)
        except Disconnected as error:
            one.note(error)
        return await one.client()

    async def _is_settled(self) -> bool:
        """Tell whether nobody has a message in ``out``, and as many arrived as were acknowledged at least."""
        arrived = 0
        for one in self.people:
            client = await self._fresh(one)
            owner = one.person.workspace
            if await count_files(client, ServerPath.outgoing(owner)):
                return False
            arrived += await count_files(client, ServerPath.new_messages(owner))
        return arrived >= self.acknowledged
