"""Dispatch: a message becomes a request, and the command that it names is performed (spec 04).

How it works and why. This is the only place where exceptions become answers, so commands and operations
simply raise. A :class:`mensagod.errors.CommandError` is answered with its status. A Deferred that was
cancelled and a command that was given up have no answer. Every other exception is a bug: it is logged with
its traceback under an incident ID, and answered 300 with that ID.

The checks come in this order:

1. The message is a well-formed request.
2. If a command waits for a further request, the request is that one; otherwise the waiting command is given
up. 3. The action is the name of a command.
4. The client belongs to the command's audience.
5. The command's demands are met, in their order.
6. The command's fields are present and well-formed, in their order.
7. The conditions of the command itself.

An answer 200 to a member also gets ``UpdateCount`` if other devices have changed something.
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
from mensagod.sessions.outcomes import Hangup, NextInstruction, Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.messages import LongResponse, MalformedRequest, Request, Response

_log = Logger(namespace="mensagod.session")


class Commands(Protocol):
    """The commands that are installed."""

    def find(self, action: str) -> ICommand:
        """Give the command of this name; :class:`mensagod.errors.BadRequest` if there is none."""


@frozen
class Dispatch:
    """Performs the commands that clients request, one at a time for each session."""

    commands: Commands

    def take(self, session: Session, message: bytes) -> NextInstruction:
        """Begin the command in a message, or resume the one that waits for it; give the next instruction.

        :raises CancelledError: the only exception; the connection must then be aborted.
        """
        try:
            request = Request.from_bytes(message)
        except MalformedRequest as error:
            return self.refuse(session, error)
        return self.perform(session, request)

    def perform(self, session: Session, request: Request) -> NextInstruction:
        """Begin or resume the command of a request that was read already; see :meth:`take`."""
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

    def refuse(self, session: Session, error: MalformedRequest) -> Outcome:
        """Answer a malformed request; after too many in a row the connection closes (spec 01, *Requests*)."""
        session.malformed += 1
        limit = session.server.config.security.max_bad_requests
        if limit and session.malformed >= limit:
            return Hangup(Response.from_error(Terminated("Too many malformed requests")))
        return Response.from_error(error)

    async def _answer(self, request: Request, session: Session) -> Outcome:
        """Perform a request; every exception but a cancellation becomes an answer here and nowhere else."""
        before = session.member
        try:
            outcome = await self._perform(request, session)
            if not isinstance(outcome, Outcome):
                raise TypeError(
                    f"{request.action} returned {type(outcome).__name__}, which is not an outcome"
                )
        except CommandError as error:
            response = Response.from_error(error)
            return Hangup(response) if error.close else response
        except GeneratorExit:
            raise
        except BaseException as error:
            if isinstance(error, CancelledError | GivenUp) and _is_left(session):
                raise
            return report_incident(session, request.action)
        member, now = session.member, session.server.reactor.seconds()
        # Who has logged in just now was told everything by that.
        if member is None or member is not before or not member.must_look(now):
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
    """Perform a command inside its demands: each is checked before it, and told its result afterwards."""
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


def _is_left(session: Session) -> bool:
    """Tell whether the client of the running command has disconnected, or does not continue the command."""
    return session.gone or session.running is None or session.running.is_given_up


def report_incident(session: Session, action: str) -> Response:
    """Log the exception being handled, which is a bug in the server; give the answer to it.

    The answer has nothing but the incident ID. An exhausted limit of open files is no bug and temporary: it
    is answered 303.
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
    """Add ``UpdateCount`` if other devices have changed something (spec 04, *Update notification*).

    The command has taken effect, so a failure here must not change its answer.
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
