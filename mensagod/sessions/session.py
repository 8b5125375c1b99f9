"""One client's conversation: who is logged in, what is pending, and how a request becomes an answer.

A session knows nothing of transports. The protocol hands it one message at a time and writes what it
gives back; commands read and change it.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from mensagod.errors import CommandError, ServerUnavailable, StateMismatch, Terminated
from mensagod.process.open_files import are_exhausted
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import ServerPath
from mensagod.wire.messages import LongResponse, MalformedRequest, Request, Response
from mensagod.wire.raw_data import ISink, ISource
from mensagod.wire.status import Status

if TYPE_CHECKING:
    from mensagod.server.parts import Server

STEP_SECONDS = 60
"""How long the second step of a command is waited for (spec 01, *Multi-step commands*)."""

MAX_MESSAGE_LOGGED_IN = 26_000_000
"""The largest message of a logged-in session, in bytes (spec 01, *Frames*)."""


@frozen
class Hangup:
    """The connection ends, after ``response`` if there is one."""

    response: Response | None = None


@frozen
class SendRaw:
    """Exactly ``size`` bytes of ``source`` go out without a frame, and nothing after them."""

    source: ISource
    size: int


@frozen
class ReceiveRaw:
    """After ``response`` exactly ``size`` bytes come in without a frame and go to ``sink``, which answers."""

    response: Response
    size: int
    sink: ISink


Outcome = Response | LongResponse | Hangup | SendRaw | ReceiveRaw


def no_loss() -> None:
    """Nothing is lost when the step is given up."""


def no_connection() -> None:
    """There is nothing to close."""


@frozen
class Step:
    """The second request that a command waits for.

    :ivar action: the command that goes on.
    :ivar fields: what that request must have.
    :ivar perform: what it does.
    :ivar abandon: called instead of ``perform`` when the step is given up.
    """

    action: str
    fields: tuple[str, ...]
    perform: Callable[[Request, "Session"], Awaitable[Outcome]]
    abandon: Callable[[], None] = no_loss

    def fits(self, request: Request) -> bool:
        """Whether ``request`` is the one that was waited for."""
        return request.action == self.action and all(request.has(name) for name in self.fields)


@define(eq=False)
class Attempt:
    """A login on its way: the workspace, and whether its password was right."""

    workspace: WorkspaceID
    domain: Domain
    password_checked: bool = False


@define(eq=False)
class Member:
    """Who is logged in.

    :ivar directory: the current directory.
    :ivar session: the ID of the row that tells other processes of the session.
    :ivar seen: the number of the last update record that this session was told of.
    :ivar stale: whether there may be records after that one.
    :ivar last_event: the number of the newest event at the login; what ended sessions until then does not end
        this one.
    """

    workspace: WorkspaceID
    domain: Domain
    device: DeviceID
    is_admin: bool
    directory: ServerPath
    session: UUID
    seen: int = 0
    stale: bool = False
    last_event: int = 0


@define(eq=False)
class Session:
    """The state of one connection's conversation.

    :ivar host: the peer's address, for logs and records.
    :ivar source: by what the peer is counted, see :func:`mensagod.server.admission.source_of`.
    :ivar id: names the session in the log.
    :ivar gone: whether the client's connection has ended, so that nobody waits for answers.
    :ivar ended: whether somebody else ended the session: the connection closes once the running command is
        answered.
    :ivar hang_up: closes the connection as soon as no command runs.
    """

    server: "Server"
    host: str
    source: str
    id: str = field(factory=lambda: uuid4().hex[:12])
    member: Member | None = None
    attempt: Attempt | None = None
    gone: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    hang_up: Callable[[], None] = field(default=no_connection, init=False)
    _step: Step | None = field(default=None, init=False)
    _forget: IDelayedCall | None = field(default=None, init=False)
    _malformed: int = field(default=0, init=False)

    _log = Logger(namespace="mensagod.session")

    @property
    def max_message(self) -> int:
        """The largest message that this session may send now, in bytes (spec 01, *Frames*)."""
        if self.member is None:
            return self.server.config.network.max_request_size or MAX_MESSAGE_LOGGED_IN
        return MAX_MESSAGE_LOGGED_IN

    @property
    def idle_timeout(self) -> int:
        """After how many seconds of silence the session ends; 0 is never (spec 01, *Timeouts and limits*)."""
        network = self.server.config.network
        return network.login_timeout if self.member is None else network.idle_timeout

    async def respond(self, message: bytes) -> Outcome:
        """Answer one message. Every failure but a cancellation becomes an answer here and nowhere else."""
        action = ""
        try:
            request = Request.from_bytes(message)
            self._malformed = 0
            action = request.action
            outcome = await self._dispatch(request)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"{action} gave no outcome but {type(outcome).__name__}")
        except CancelledError:
            raise
        except MalformedRequest as error:
            return self._refuse_malformed(error)
        except CommandError as error:
            response = Response.from_error(error)
            return Hangup(response) if error.close else response
        except Exception:
            return self.report_incident(action)
        if isinstance(outcome, Response):
            return await self.add_update_count(outcome)
        if isinstance(outcome, LongResponse):
            return evolve(outcome, response=await self.add_update_count(outcome.response))
        return outcome

    def expect(self, step: Step) -> None:
        """Wait for the second request of a command."""
        self.give_up_step()
        self._step = step
        self._forget = self.server.reactor.callLater(STEP_SECONDS, self.give_up_step)

    def give_up_step(self) -> None:
        """Forget the second request that was waited for, if any."""
        step = self._take_step()
        if step is not None:
            step.abandon()

    def enter(self, member: Member) -> None:
        """Become the session of ``member``."""
        self.attempt = None
        self.member = member
        self.server.sessions.enter(self)

    def end(self, reason: str) -> None:
        """Have the connection closed once the running command is answered: somebody else ended the session.

        :param reason: for a last word, which there is none of yet.
        """
        self.ended = True
        self.hang_up()

    def leave(self) -> None:
        """Become as after connecting: nobody logged in, nothing pending."""
        self.give_up_step()
        self.attempt = None
        if self.member is not None:
            self.server.sessions.leave(self)
            self.member = None

    async def _dispatch(self, request: Request) -> Outcome:
        """Find what the request means in the state of the session, and do it."""
        step = self._take_step()
        if step is not None:
            if step.fits(request):
                return await step.perform(request, self)
            step.abandon()
            if request.action not in {"CANCEL", "QUIT"}:
                raise StateMismatch
        command = self.server.commands.find(request.action)
        for demand in command.demands:
            demand.check(self)
        return await command.perform(request, self)

    def _take_step(self) -> Step | None:
        step, self._step = self._step, None
        if self._forget is not None:
            if self._forget.active():
                self._forget.cancel()
            self._forget = None
        return step

    def _refuse_malformed(self, error: MalformedRequest) -> Outcome:
        """Answer what is no request; who sends nothing else is sent away (spec 01, *Requests*)."""
        self._malformed += 1
        limit = self.server.config.security.max_bad_requests
        if limit and self._malformed >= limit:
            return Hangup(Response.from_error(Terminated("Too many malformed requests")))
        return Response.from_error(error)

    def report_incident(self, action: str) -> Response:
        """Log the current exception, which only a fault of ours can have raised; give the answer to it.

        The client hears no more than the number to quote. That no more files can be opened is nobody's
        fault, and passes.
        """
        if are_exhausted(sys.exc_info()[1]):
            self._log.error("{action}: no more files can be opened", action=action, session=self.id)
            return Response.from_error(ServerUnavailable())
        incident = uuid4().hex[:16]
        self._log.failure(
            "{action} failed, incident {incident}",
            action=action,
            incident=incident,
            session=self.id,
            workspace=str(self.member.workspace) if self.member else None,
        )
        return Response(Status.INTERNAL_SERVER_ERROR, f"Internal error, incident {incident}")

    async def add_update_count(self, response: Response) -> Response:
        """Add how much other devices changed, if they did (spec 04, *Update notification*).

        What the command did stands, so nothing that goes wrong here may spoil its answer.
        """
        member = self.member
        if member is None or not member.stale:
            return response
        if response.status is not Status.OK or "UpdateCount" in response.data:
            return response
        try:
            count = await self.server.sessions.count_updates(member)
        except CancelledError:
            raise
        except ServerUnavailable:
            return response
        except Exception:
            self._log.failure("updates cannot be counted", session=self.id)
            return response
        if not count:
            return response
        return evolve(response, data={**response.data, "UpdateCount": str(count)})
