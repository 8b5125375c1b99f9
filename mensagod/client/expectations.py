"""What a client waits for next on its connection: a message, or raw bytes (spec 01, *Raw data phases*)."""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure

from mensagod.client.deadline import Deadline
from mensagod.client.errors import ClientError
from mensagod.wire.frames import FrameDecoder
from mensagod.wire.messages import Response

T = TypeVar("T")
CHUNK = 64 * 1024


class Sink(Protocol):
    """Takes the bytes of a download; an :class:`IConsumer` can slow down the server."""

    def write(self, data: bytes, /) -> object:
        """Take some bytes."""


class Expectation(ABC, Generic[T]):
    """What comes next, once all that was expected before has come.

    :ivar done: fires with what came, or fails.
    :ivar deadline: runs while the server is expected to send.
    """

    def __init__(self, deadline: Deadline):
        self.done: Deferred[T] = Deferred()
        self.deadline = deadline

    @abstractmethod
    def read(self, decoder: FrameDecoder) -> bool:
        """Take what was expected from ``decoder``; tell whether all of it was there."""

    @abstractmethod
    def complete(self) -> None:
        """Pass on what came, once :meth:`read` has said that all of it was there."""

    def fail(self, reason: Failure) -> None:
        """It will not come."""
        self.deadline.stop()
        if not self.done.called:
            self.done.errback(reason)


class Answer(Expectation[Response]):
    """The answer to a request. Its deadline is for the whole of it."""

    _response: Response

    def read(self, decoder: FrameDecoder) -> bool:
        """Take a message.

        :raises CommandError: if a frame breaks the rules or announces too much.
        :raises BadValue: if the message is not a response.
        """
        message = decoder.next_message()
        if message is None:
            return False
        self._response = Response.from_bytes(message)
        return True

    def complete(self) -> None:
        """Give the response."""
        self.deadline.stop()
        self.done.callback(self._response)


class RawData(Expectation[None]):
    """Raw bytes of a known number. The deadline begins anew whenever some have come."""

    def __init__(self, deadline: Deadline, size: int, sink: Sink, producer: IPushProducer):
        super().__init__(deadline)
        self._missing = size
        self._sink = sink
        self._producer = producer
        self._registered = False

    def read(self, decoder: FrameDecoder) -> bool:
        """Pass on what has come.

        :raises ClientError: if the sink fails; what waits for it then fails as the sink did.
        """
        try:
            self._register()
            while self._missing:
                data = decoder.take_raw(min(self._missing, CHUNK))
                if not data:
                    return False
                self._missing -= len(data)
                self._sink.write(data)
                self.deadline.restart()
        except Exception as error:
            self.fail(Failure())
            raise ClientError("The data of a download could not be written") from error
        return True

    def complete(self) -> None:
        """Tell that the sink has all."""
        self._unregister()
        self.deadline.stop()
        self.done.callback(None)

    def fail(self, reason: Failure) -> None:
        """The rest will not come."""
        self._unregister()
        super().fail(reason)

    def _register(self) -> None:
        """From the first of our bytes on let the sink slow down the server."""
        if not self._registered and IConsumer.providedBy(self._sink):
            self._registered = True
            self._sink.registerProducer(self._producer, True)

    def _unregister(self) -> None:
        if self._registered and IConsumer.providedBy(self._sink):
            self._registered = False
            self._sink.unregisterProducer()
