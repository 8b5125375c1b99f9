"""One conversation with a client: who that is, and which command is being performed.

A session knows nothing of transports and nothing of commands: those are the protocol's and the dispatch's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from attrs import define, field

from mensagod.errors import LoginRequired
from mensagod.sessions.exchange import Exchange
from mensagod.sessions.login import Event, Login
from mensagod.sessions.outcomes import NoAnswer
from mensagod.sessions.parts import Server
from mensagod.sessions.who import Member, Stranger, Who
from mensagod.storage import strangers
from mensagod.wire.fields import Fields
from mensagod.wire.messages import Response
from mensagod.wire.raw_data import ISink, ISource

F = TypeVar("F", bound=Fields)


def _nothing_to_close() -> None:
    """Have no connection to close."""


@define(eq=False)
class Session:
    """The state of one connection's conversation.

    :ivar server: the parts of the server that commands work with.
    :ivar host: the peer's address, for logs and records.
    :ivar source: by what the peer is counted, see :func:`mensagod.server.admission.source_of`.
    :ivar id: names the session in the log.
    :ivar who: who the client is.
    :ivar close: ends the connection as soon as the running command is answered.
    :ivar gone: whether the client's connection has ended, so that nobody waits for answers.
    :ivar ended: why somebody else ended the session, if that was so.
    :ivar malformed: how many requests in a row were none.
    :ivar exchange: the command that is being performed, or was performed last.
    :ivar running: the exchange whose step runs at this moment.
    """

    server: Server
    host: str
    source: str
    id: str = field(factory=lambda: uuid4().hex[:12])
    who: Who = field(factory=Stranger)
    close: Callable[[], None] = field(default=_nothing_to_close)
    gone: bool = field(default=False, init=False)
    ended: str | None = field(default=None, init=False)
    malformed: int = field(default=0, init=False)
    exchange: Exchange | None = field(default=None, init=False)
    running: Exchange | None = field(default=None, init=False)

    @property
    def max_message(self) -> int:
        """The largest message that the client may send now, in bytes (spec 01, *Frames*)."""
        return self.who.max_message(self.server.config)

    @property
    def idle_timeout(self) -> int:
        """After how many seconds of silence the session ends; 0 is never (spec 01, *Timeouts and limits*)."""
        return self.who.idle_timeout(self.server.config)

    @property
    def member(self) -> Member | None:
        """Who is logged in, if somebody is."""
        return self.who if isinstance(self.who, Member) else None

    @property
    def stranger(self) -> strangers.Stranger | None:
        """For whom the database works as long as nobody is logged in."""
        return strangers.Stranger(self.source) if self.member is None else None

    @property
    def login(self) -> Login:
        """How far the login of a stranger has come; nobody else has one."""
        return self.who.login if isinstance(self.who, Stranger) else Login()

    def enter(self, member: Member) -> None:
        """Become the session of ``member``."""
        self.who = member
        self.server.sessions.enter(self)

    def end(self, reason: str) -> None:
        """Have the connection closed once the running command is answered: somebody else ended the session.

        :param reason: why, for whoever asks; the client is not told, for there is no word for it.
        """
        self.ended = reason
        self.close()

    def advance(self, login: Login) -> None:
        """Have the login come further, or begin anew."""
        if isinstance(self.who, Stranger):
            self.who = Stranger(login)

    def restart_login(self) -> None:
        """Let a login on its way begin anew; somebody who is logged in stays so."""
        self.advance(self.login.after(Event.CANCELLED))

    def give_up(self) -> None:
        """Give up the command that waits for a further request, if one does."""
        if self.exchange is not None:
            self.exchange.give_up()

    def leave(self) -> None:
        """Become as after connecting: nobody logged in, nothing pending."""
        self.give_up()
        if isinstance(self.who, Member):
            self.server.sessions.leave(self)
        self.who = Stranger()

    # What the running command may ask of its client.

    async def again(self, response: Response, fields: type[F]) -> F:
        """Answer, and give the client's next request; see :meth:`.Exchange.again`."""
        return await self._performed().again(response, fields)

    async def receive(self, response: Response, size: int, sink: ISink) -> None:
        """Answer, and take raw data; see :meth:`.Exchange.receive`."""
        await self._performed().receive(response, size, sink)

    async def send(self, source: ISource, size: int) -> NoAnswer:
        """Send raw data; see :meth:`.Exchange.send`."""
        return await self._performed().send(source, size)

    def _performed(self) -> Exchange:
        if self.running is None:
            raise RuntimeError("only a command that is being performed can ask something of its client")
        return self.running


def member_of(session: Session) -> Member:
    """Give who is logged in.

    :raises LoginRequired: if nobody is.
    """
    member = session.member
    if member is None:
        raise LoginRequired
    return member


if TYPE_CHECKING:
    from mensagod.sessions.exchange import Conversation

    def _is_conversation(session: Session) -> Conversation:
        return session
