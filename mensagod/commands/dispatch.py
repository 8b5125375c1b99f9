"""From a message to what is answered: the one place where every failure becomes an answer (spec 04).

The checks come in this order: the action is known; who asks belongs to the command's audience; the command's
demands; its fields, in their order; then what the command itself asks.
"""

import sys
from typing import Protocol
from uuid import uuid4

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from mensagod.commands.audience import admit
from mensagod.commands.interfaces import ICommand, IDemand
from mensagod.errors import CommandError, ServerUnavailable, StateMismatch, Terminated
from mensagod.process.open_files import are_exhausted
from mensagod.sessions.exchange import Exchange, GivenUp
from mensagod.sessions.outcomes import Hangup, Outcome, Said
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.messages import LongResponse, MalformedRequest, Request, Response

_log = Logger(namespace="mensagod.session")


class Commands(Protocol):
    """The commands that clients may ask for."""

    def find(self, action: str) -> ICommand:
        """Give the command of this name; :class:`mensagod.errors.BadRequest` if there is none."""


@frozen
class Dispatch:
    """Has commands performed for sessions, one at a time for each."""

    commands: Commands

    def take(self, session: Session, message: bytes) -> Said:
        """Take one message of a client; give what is answered, or a Deferred that fires with it.

        :raises CancelledError: as the only failure; the connection is of no more use.
        """
        try:
            request = Request.from_bytes(message)
        except MalformedRequest as error:
            return _refuse_malformed(session, error)
        session.malformed = 0
        exchange = session.exchange
        if exchange is not None and exchange.is_waiting:
            if exchange.fits(request):
                return exchange.go_on(request)
            exchange.give_up()
            if request.action not in {"CANCEL", "QUIT"}:
                return Response.from_error(StateMismatch())
        exchange = session.exchange = Exchange(session.server.reactor, session, request.action)
        return exchange.begin(self._answer(request, session))

    async def _answer(self, request: Request, session: Session) -> Outcome:
        """Answer a request. Every failure but a cancellation becomes an answer here and nowhere else."""
        try:
            outcome = await self._perform(request, session)
            if not isinstance(outcome, Outcome):
                raise TypeError(f"{request.action} gave no outcome but {type(outcome).__name__}")
        except (CancelledError, GivenUp):
            raise
        except CommandError as error:
            response = Response.from_error(error)
            return Hangup(response) if error.close else response
        except Exception:
            return report_incident(session, request.action)
        member, now = session.member, session.server.reactor.seconds()
        if member is None or not member.must_look(now):
            return outcome
        member.looked = now
        if isinstance(outcome, Response):
            return await _add_update_count(session, outcome)
        if isinstance(outcome, LongResponse):
            return evolve(outcome, response=await _add_update_count(session, outcome.response))
        return outcome

    async def _perform(self, request: Request, session: Session) -> Outcome:
        command = self.commands.find(request.action)
        admit(command.audience, session.who)
        if command.demands:
            return await _perform_guarded(command, command.demands, request, session)
        return await command.perform(command.fields.read(request), session)


async def _perform_guarded(
    command: ICommand, demands: tuple[IDemand, ...], request: Request, session: Session
) -> Outcome:
    """Perform a command inside its demands: each is asked before it, and told how it ended."""
    if not demands:
        return await command.perform(command.fields.read(request), session)
    demand, *others = demands
    await demand.require(session)
    fault: CommandError | None = None
    try:
        outcome = await _perform_guarded(command, tuple(others), request, session)
    except CommandError as error:
        fault = error
    fault = await demand.conclude(session, fault)
    if fault is not None:
        raise fault
    return outcome


def _refuse_malformed(session: Session, error: MalformedRequest) -> Outcome:
    """Answer what is no request; who sends nothing else is sent away (spec 01, *Requests*)."""
    session.malformed += 1
    limit = session.server.config.security.max_bad_requests
    if limit and session.malformed >= limit:
        return Hangup(Response.from_error(Terminated("Too many malformed requests")))
    return Response.from_error(error)


def report_incident(session: Session, action: str) -> Response:
    """Log the current exception, which only a fault of ours can have raised; give the answer to it.

    The client hears no more than the number to quote. That no more files can be opened is nobody's fault, and
    passes.
    """
    if are_exhausted(sys.exc_info()[1]):
        _log.error("{action}: no more files can be opened", action=action, session=session.id)
        return Response.from_error(ServerUnavailable())
    incident = uuid4().hex[:16]
    _log.failure(
        "{action} failed, incident {incident}",
        action=action,
        incident=incident,
        session=session.id,
        workspace=str(session.member.workspace) if session.member else None,
    )
    return Response(Status.INTERNAL_SERVER_ERROR, f"Internal error, incident {incident}")


async def _add_update_count(session: Session, response: Response) -> Response:
    """Add how much other devices changed, if they did (spec 04, *Update notification*).

    What the command did stands, so nothing that goes wrong here may spoil its answer.
    """
    member = session.member
    if member is None or response.status is not Status.OK or "UpdateCount" in response.data:
        return response
    try:
        count = await session.server.sessions.count_updates(member)
    except CancelledError:
        raise
    except ServerUnavailable:
        return response
    except Exception:
        _log.failure("updates cannot be counted", session=session.id)
        return response
    return evolve(response, data={**response.data, "UpdateCount": str(count)}) if count else response
