"""The state of one client's connection above the transport: who the client is, and its running command.

How it works and why. :class:`mensagod.server.protocol.MensagoProtocol` makes one session for each connection.
It passes every message with the session to :class:`mensagod.commands.dispatch.Dispatch`, which finds the
command and begins an :class:`.Exchange` for it. The session only holds state, of two kinds:

* Who the client is (:attr:`Session.who`): a stranger at some stage of a login, a member, a peer server or the
  operator. That decides which commands the client may use, and the limits of message size and idle time.
* The exchange that is being performed. A command reaches its client only through the session
  (:meth:`Session.again`, :meth:`Session.receive`, :meth:`Session.send`), which passes the call to the
  exchange whose step runs at that moment, so that a command that was given up cannot reach the client any
  more.

A session knows neither transports nor commands, so commands are tested without sockets. While a member is
logged in, the session is registered with the live sessions of the process
(:class:`mensagod.sessions.live.LiveSessions`), through which other sessions and processes notify it and end
it.
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


_NEW = Stranger()
"""Every client that has just connected: values that never change are shared, as most connections are idle."""


def _nothing_to_close() -> None:
    """Do nothing: there is no connection."""


@define(eq=False)
class Session:
    """The state of one client's connection.

    :ivar server: the parts of the server that commands work with.
    :ivar host: the client's address, for the log and for the records of devices.
    :ivar source: the source that the client is counted under, see
        :func:`mensagod.server.admission.source_of`.
    :ivar id: identifies the session in the log.
    :ivar who: who the client is.
    :ivar close: closes the connection as soon as the running command is answered.
    :ivar gone: whether the client has disconnected, so that answers cannot be sent any more.
    :ivar ended: the reason why another session or the operator ended this one; ``None`` if it was not ended.
    :ivar malformed: the number of malformed requests in a row.
    :ivar exchange: the exchange of the command that is being performed or was performed last.
    :ivar running: the exchange whose step runs at this moment; ``None`` between steps.
    """

    server: Server
    host: str
    source: str
    id: str = field(factory=lambda: uuid4().hex[:12])
    who: Who = _NEW
    close: Callable[[], None] = field(default=_nothing_to_close)
    gone: bool = field(default=False, init=False)
    ended: str | None = field(default=None, init=False)
    malformed: int = field(default=0, init=False)
    exchange: Exchange | None = field(default=None, init=False)
    running: Exchange | None = field(default=None, init=False)
    _as_stranger: strangers.Stranger | None = field(default=None, init=False)

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
        """The member that is logged in; ``None`` if the client is not one."""
        return self.who if isinstance(self.who, Member) else None

    @property
    def stranger(self) -> strangers.Stranger | None:
        """For whom the database works as long as nobody is logged in."""
        if isinstance(self.who, Member):
            return None
        if self._as_stranger is None:
            self._as_stranger = strangers.Stranger(self.source)
        return self._as_stranger

    @property
    def login(self) -> Login:
        """The login in progress of a stranger; a fresh one for all other clients."""
        return self.who.login if isinstance(self.who, Stranger) else Login()

    def enter(self, member: Member) -> None:
        """Log ``member`` in, and register the session as live."""
        self.who = member
        self.server.sessions.enter(self)

    def end(self, reason: str) -> None:
        """End the session for another session or the operator: close once the running command is answered.

        :param reason: why, for :attr:`ended`; the protocol has no message that could tell the client.
        """
        self.ended = reason
        self.close()

    def advance(self, login: Login) -> None:
        """Set how far the login of a stranger has come; do nothing for other clients."""
        if isinstance(self.who, Stranger):
            self.who = Stranger(login)

    def restart_login(self) -> None:
        """Restart a login in progress; a member stays logged in."""
        self.advance(self.login.after(Event.CANCELLED))

    def give_up(self) -> None:
        """Give up the running command if it waits for a further request."""
        if self.exchange is not None:
            self.exchange.give_up()

    def leave(self) -> None:
        """Return to the state after connecting: a stranger, and no running command that waits."""
        self.give_up()
        if isinstance(self.who, Member):
            self.server.sessions.leave(self)
        self.who = _NEW

    # Called by the running command.

    async def again(self, response: Response, fields: type[F]) -> F:
        """Send an answer, and wait for the client's next request; see :meth:`.Exchange.again`."""
        return await self._running_exchange().again(response, fields)

    async def receive(self, response: Response, size: int, sink: ISink) -> None:
        """Send an answer, and receive raw data; see :meth:`.Exchange.receive`."""
        await self._running_exchange().receive(response, size, sink)

    async def send(self, source: ISource, size: int) -> NoAnswer:
        """Send raw data; see :meth:`.Exchange.send`."""
        return await self._running_exchange().send(source, size)

    def _running_exchange(self) -> Exchange:
        if self.running is None:
            raise RuntimeError("only the command whose step is running can reach the client")
        return self.running


def member_of(session: Session) -> Member:
    """Give the member that is logged in.

    :raises LoginRequired: if the client is not logged in.
    """
    member = session.member
    if member is None:
        raise LoginRequired
    return member


if TYPE_CHECKING:
    from mensagod.sessions.exchange import Conversation

    def _is_conversation(session: Session) -> Conversation:
        return session
