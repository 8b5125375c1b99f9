"""One performance of a command: a coroutine that may wait for further requests and transfer raw data.

How it works. The coroutine runs in steps; a step ends where the coroutine waits for a Deferred. Usually it
waits for the database or a thread, and the connection does not notice. In three methods it waits for its
client: in :meth:`Exchange.again` for a further request, in :meth:`Exchange.receive` and :meth:`Exchange.send`
for raw data. There the exchange gives an instruction to the connection, which carries it out and then resumes
the exchange. So the connection always sees a single next instruction: that is what :meth:`Exchange.begin`,
:meth:`Exchange.go_on` and the ``resume`` of a raw data phase return.

Why the steps are run here and not by Twisted's ``Deferred.fromCoroutine``. First, most commands never wait;
they end in a single step, without any Deferred. Second, while a step runs, ``session.running`` is its
exchange. What a command asks of its client therefore always belongs to that command: a command that was
given up and is still cleaning up cannot reach the client any more, and cannot take the request that the next
command waits for.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mensagod.sessions.outcomes import Instruction, NextInstruction, NoAnswer, Outcome, ReceiveRaw, SendRaw
from mensagod.storage.strangers import Stranger, begin_step, end_step
from mensagod.wire.fields import Fields
from mensagod.wire.messages import Request, Response
from mensagod.wire.raw_data import ISink, ISource

F = TypeVar("F", bound=Fields)

NEXT_REQUEST_SECONDS = 60
"""How long a command waits for its next request, in seconds (spec 01, *Multi-step commands*)."""


class GivenUp(Exception):
    """The client does not continue the command: it sent another command, was too slow, or has disconnected.

    An outcome after that is discarded. The exception exists so that ``finally`` blocks run.
    """


class Interrupted(Exception):
    """The client stopped sending raw data; the connection closes after the answer to that."""


class Conversation(Protocol):
    """The part of a session that an exchange needs.

    :ivar running: the exchange whose step runs at this moment.
    """

    running: "Exchange | None"

    @property
    def stranger(self) -> Stranger | None:
        """Who has the conversation, as long as that is nobody who has logged in."""


class Exchange:
    """One performance of one command.

    :param action: the command's name, which is also the action of its further requests.
    :ivar is_given_up: whether the client does not continue the command, so that its outcome is discarded.
    """

    if TYPE_CHECKING:
        _coroutine: Coroutine[Any, None, Outcome]

    def __init__(self, clock: IReactorTime, conversation: Conversation, action: str):
        self._clock = clock
        self._conversation = conversation
        self._action = action
        self._ready: Instruction | Failure | None = None
        self._listener: Deferred[Instruction] | None = None
        self._expected: type[Fields] | None = None
        self._request: Deferred[Request] | None = None
        self._timeout: IDelayedCall | None = None
        self._transfer: Deferred[None] | None = None
        self._is_over = False
        self.is_given_up = False

    # Called by the dispatch.

    def begin(self, coroutine: Coroutine[Any, None, Outcome]) -> NextInstruction:
        """Begin the command; give its first instruction."""
        self._coroutine = coroutine
        self._step()
        return self._next_instruction()

    @property
    def is_waiting(self) -> bool:
        """Whether the command is waiting for a further request."""
        return self._request is not None

    def fits(self, request: Request) -> bool:
        """Tell whether a request is the awaited one: it has the right action and every required field."""
        if self._expected is None:
            return False
        return request.action == (self._expected.action or self._action) and self._expected.fits(request)

    def go_on(self, request: Request) -> NextInstruction:
        """Pass the awaited request to the command; give its next instruction."""
        self._fire_request(request)
        return self._next_instruction()

    def give_up(self) -> None:
        """End the wait for a further request, and discard all further instructions of the command."""
        if self._request is not None:
            self.is_given_up = True
            self._fire_request(Failure(GivenUp()))

    # Called by the command.

    async def again(self, response: Response, fields: type[F]) -> F:
        """Send an answer, and wait for the client's next request.

        :raises GivenUp: if the client does not send it, see :data:`NEXT_REQUEST_SECONDS`.
        :raises mensagod.errors.CommandError: if one of its fields is malformed.
        """
        self._require_free()
        _require_answer(response)
        if not isinstance(fields, type) or not issubclass(fields, Fields):
            raise TypeError(f"the fields of a further request are a subclass of Fields, not {fields!r}")
        self._expected = fields
        self._request = waiting = Deferred[Request]()
        self._timeout = self._clock.callLater(NEXT_REQUEST_SECONDS, self.give_up)
        self._give(response)
        return fields.read(await waiting)

    async def receive(self, response: Response, size: int, sink: ISink) -> None:
        """Send an answer, and write the raw data that follows to ``sink``.

        :raises Interrupted: if the client stops sending; the connection closes after the command's answer.
        :raises Exception: what ``sink`` raised, after the rest of the data was read and discarded.
        """
        self._require_free()
        _require_answer(response)
        _require_size(size)
        await self._raw(lambda resume: ReceiveRaw(response, size, sink, resume))

    async def send(self, source: ISource, size: int) -> NoAnswer:
        """Send raw data; give the outcome that the command must return, because no answer follows.

        :raises GivenUp: if not all of it could be sent; the connection is then closed.
        """
        self._require_free()
        _require_size(size)
        await self._raw(lambda resume: SendRaw(source, size, resume))
        return NoAnswer()

    async def _raw(self, phase: Any) -> None:
        self._transfer = done = Deferred[None]()
        self._give(phase(self._resume_raw))
        await done

    def _require_free(self) -> None:
        """Make sure that the command may wait for its client now.

        :raises GivenUp: if the client does not continue it.
        :raises RuntimeError: if it waits already, or has ended.
        """
        if self.is_given_up:
            raise GivenUp
        if self._is_over or self._request is not None or self._transfer is not None:
            raise RuntimeError("a command waits for its client once at a time, until it ends")

    def _resume_raw(self, fault: Failure | None) -> NextInstruction:
        done, self._transfer = self._transfer, None
        if fault is not None and fault.check(GivenUp):
            self.is_given_up = True
        if done is not None:
            done.callback(fault)
        return self._next_instruction()

    def _fire_request(self, result: Request | Failure) -> None:
        waiting = self._stop_waiting()
        if waiting is not None:
            waiting.callback(result)

    def _stop_waiting(self) -> Deferred[Request] | None:
        """Wait for no further request; give the Deferred of the wait, if there was one."""
        waiting, self._request = self._request, None
        self._expected = None
        if self._timeout is not None:
            if self._timeout.active():
                self._timeout.cancel()
            self._timeout = None
        return waiting

    # Steps.

    def _step(self, result: object = None) -> None:
        """Run the coroutine until it waits for a Deferred or ends.

        :param result: the result of the Deferred that it waited for.
        """
        before, self._conversation.running = self._conversation.running, self
        step = begin_step(self._conversation.stranger)
        try:
            if isinstance(result, Failure):
                waiting = result.throwExceptionIntoGenerator(self._coroutine)
            else:
                waiting = self._coroutine.send(None)
        except StopIteration as end:
            self._end(end.value)
        except BaseException:
            self._end(Failure())
        else:
            if not isinstance(waiting, Deferred):
                waiting = fail(TypeError(f"a command can only wait for a Deferred, not for {waiting!r}"))
            waiting.addBoth(self._step)
        finally:
            end_step(step)
            self._conversation.running = before

    def _end(self, instruction: Instruction | Failure) -> None:
        """Give the last instruction; a wait that the command began but did not await ends unheard."""
        self._is_over = True
        if self._request is not None:
            self._stop_waiting()
        self._transfer = None
        self._give(instruction)

    def _give(self, instruction: Instruction | Failure) -> None:
        listener, self._listener = self._listener, None
        if self.is_given_up:
            return
        if listener is None:
            self._ready = instruction
        else:
            listener.callback(instruction)

    def _next_instruction(self) -> NextInstruction:
        """Give the next instruction, or a Deferred that fires with it; raise if the command failed."""
        instruction, self._ready = self._ready, None
        if instruction is None:
            self._listener = Deferred()
            return self._listener
        if isinstance(instruction, Failure):
            instruction.raiseException()
        return instruction


def _require_answer(response: object) -> None:
    """Refuse what cannot be sent, before the command waits for what follows it."""
    if not isinstance(response, Response) or any(type(text) is not str for text in response.data.values()):
        raise TypeError("the answer before a wait is a Response whose data are texts")


def _require_size(size: object) -> None:
    if not isinstance(size, int) or size < 0:
        raise ValueError(f"raw data has a size in bytes, not {size!r}")
