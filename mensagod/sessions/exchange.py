"""One command being performed: a coroutine that may ask its client for further requests and for raw data.

How it works. The coroutine runs in steps, from one thing that it waits for to the next. Most of what it
waits for is its own business: the database, a thread. In three places it waits for its client, and there the
exchange hands something to the connection: an answer after which it needs a further request
(:meth:`Exchange.again`), or one of the two raw data phases. The connection does that, and comes back with
what the client sent. So the connection sees one thing at a time, whichever command it belongs to:
:meth:`Exchange.begin`, :meth:`Exchange.go_on` and the ``resume`` of a raw data phase all give what the
command says next.

Why the steps are made here and not by Twisted's own driver of coroutines. First, most commands never wait:
they are then done in one step, without a single Deferred. Second, while a step runs, ``session.running``
names its exchange. What a command asks of its client therefore always belongs to that very command: one that
was given up and is still cleaning up cannot reach the client any more, and never meets the request that the
next one waits for.
"""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mensagod.sessions.outcomes import NoAnswer, Outcome, ReceiveRaw, Said, SendRaw, Turn
from mensagod.storage.strangers import Stranger, step_of
from mensagod.wire.fields import Fields
from mensagod.wire.messages import Request, Response
from mensagod.wire.raw_data import ISink, ISource

F = TypeVar("F", bound=Fields)

NEXT_REQUEST_SECONDS = 60
"""How long the next request of a command is waited for (spec 01, *Multi-step commands*)."""


class GivenUp(Exception):
    """The client does not go on with the command: it sent another one, let the time pass, or has gone.

    Nobody hears what the command answers to it. It is there for ``finally``.
    """


class Interrupted(Exception):
    """The bytes of a raw data phase stopped coming; the connection closes after the answer to it."""


class Conversation(Protocol):
    """What an exchange is a part of.

    :ivar running: the exchange whose step runs now.
    """

    running: "Exchange | None"

    @property
    def stranger(self) -> Stranger | None:
        """Who has the conversation, as long as that is nobody who has logged in."""


class Exchange:
    """One performance of one command.

    :param action: the command's name, which its further requests bear too.
    """

    if TYPE_CHECKING:
        _coroutine: Coroutine[Any, None, Outcome]

    def __init__(self, clock: IReactorTime, conversation: Conversation, action: str):
        self._clock = clock
        self._conversation = conversation
        self._action = action
        self._said: Turn | Failure | None = None
        self._listener: Deferred[Turn] | None = None
        self._expected: type[Fields] | None = None
        self._request: Deferred[Request] | None = None
        self._forget: IDelayedCall | None = None
        self._transfer: Deferred[None] | None = None
        self._given_up = False

    # What the connection's side calls.

    def begin(self, coroutine: Coroutine[Any, None, Outcome]) -> Said:
        """Perform the command until it says something, or has to wait."""
        self._coroutine = coroutine
        self._step()
        return self._listen()

    @property
    def is_waiting(self) -> bool:
        """Whether the command waits for a further request."""
        return self._request is not None

    def fits(self, request: Request) -> bool:
        """Tell whether a request is the one that is waited for: the right command with its fields."""
        if self._expected is None:
            return False
        return request.action == (self._expected.action or self._action) and self._expected.fits(request)

    def go_on(self, request: Request) -> Said:
        """Give the command the request that it waits for; give what it says next."""
        self._fire_request(request)
        return self._listen()

    def give_up(self) -> None:
        """End the wait for a further request; what the command still says goes nowhere."""
        if self._request is not None:
            self._given_up = True
            self._fire_request(Failure(GivenUp()))

    # What the command's side calls.

    async def again(self, response: Response, fields: type[F]) -> F:
        """Answer, and wait for the client's next request.

        :raises GivenUp: if it does not come.
        :raises mensagod.errors.CommandError: if a field of it is malformed.
        """
        if self._given_up:
            raise GivenUp
        self._expected = fields
        self._request = waiting = Deferred[Request]()
        self._forget = self._clock.callLater(NEXT_REQUEST_SECONDS, self.give_up)
        self._say(response)
        return fields.read(await waiting)

    async def receive(self, response: Response, size: int, sink: ISink) -> None:
        """Answer, and let the raw data that follows go to ``sink``.

        :raises Interrupted: if it stops coming; the connection closes after the command's answer.
        :raises Exception: what ``sink`` raised, once the rest of the data was passed over.
        """
        await self._raw(lambda resume: ReceiveRaw(response, size, sink, resume))

    async def send(self, source: ISource, size: int) -> NoAnswer:
        """Send raw data; give the outcome to return, for nothing follows it.

        :raises GivenUp: if it could not be sent to its end; the connection is closed.
        """
        await self._raw(lambda resume: SendRaw(source, size, resume))
        return NoAnswer()

    async def _raw(self, phase: Any) -> None:
        if self._given_up:
            raise GivenUp
        self._transfer = done = Deferred[None]()
        self._say(phase(self._resume_raw))
        await done

    def _resume_raw(self, fault: Failure | None) -> Said:
        done, self._transfer = self._transfer, None
        if fault is not None and fault.check(GivenUp):
            self._given_up = True
        if done is not None:
            done.callback(fault)
        return self._listen()

    def _fire_request(self, result: Request | Failure) -> None:
        waiting, self._request = self._request, None
        self._expected = None
        if self._forget is not None:
            if self._forget.active():
                self._forget.cancel()
            self._forget = None
        if waiting is not None:
            waiting.callback(result)

    # Steps.

    def _step(self, result: object = None) -> None:
        """Run the command until it waits for something, or ends.

        :param result: of what it has waited for.
        """
        before, self._conversation.running = self._conversation.running, self
        try:
            with step_of(self._conversation.stranger):
                if isinstance(result, Failure):
                    waiting = result.throwExceptionIntoGenerator(self._coroutine)
                else:
                    waiting = self._coroutine.send(None)
        except StopIteration as end:
            self._say(end.value)
        except BaseException:
            self._say(Failure())
        else:
            if not isinstance(waiting, Deferred):
                waiting = fail(TypeError(f"a command waits for a Deferred, not for {waiting!r}"))
            waiting.addBoth(self._step)
        finally:
            self._conversation.running = before

    def _say(self, said: Turn | Failure) -> None:
        listener, self._listener = self._listener, None
        if self._given_up:
            return
        if listener is None:
            self._said = said
        else:
            listener.callback(said)

    def _listen(self) -> Said:
        """Give what the command said, or will say."""
        said, self._said = self._said, None
        if said is None:
            self._listener = Deferred()
            return self._listener
        if isinstance(said, Failure):
            said.raiseException()
        return said
