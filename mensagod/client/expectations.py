"""What a client expects next on its connection: a message or raw bytes (spec 01, *Raw data phases*)."""

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
    """Data that the client expects from the server, after all earlier expectations are complete.

    :ivar done: fires with the data, or fails.
    :ivar deadline: the timeout while the server must send.
    """

    def __init__(self, deadline: Deadline):
        self.done: Deferred[T] = Deferred()
        self.deadline = deadline

    @abstractmethod
    def read(self, decoder: FrameDecoder) -> bool:
        """Read the expected data from ``decoder``; tell whether it is complete."""

    @abstractmethod
    def complete(self) -> None:
        """Fire ``done``, after :meth:`read` has returned true."""

    def fail(self, reason: Failure) -> None:
        """Fail ``done``, because the data will not come."""
        self.deadline.stop()
        if not self.done.called:
            self.done.errback(reason)


class Answer(Expectation[Response]):
    """The answer to a request. Its deadline is for the complete answer."""

    _response: Response

    def read(self, decoder: FrameDecoder) -> bool:
        """Read a message.

        :raises CommandError: if a frame violates the protocol, or announces too much data.
        :raises BadValue: if the message is not a response.
        """
        message = decoder.next_message()
        if message is None:
            return False
        self._response = Response.from_bytes(message)
        return True

    def complete(self) -> None:
        """Fire ``done`` with the response."""
        self.deadline.stop()
        self.done.callback(self._response)


class RawData(Expectation[None]):
    """A known number of raw bytes. The deadline is restarted whenever some arrive."""

    def __init__(self, deadline: Deadline, size: int, sink: Sink, producer: IPushProducer):
        super().__init__(deadline)
        self._missing = size
        self._sink = sink
        self._producer = producer
        self._registered = False

    def read(self, decoder: FrameDecoder) -> bool:
        """Pass the bytes that have arrived to the sink.

        :raises ClientError: if the sink fails; ``done`` fails with the error of the sink.
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
        """Fire ``done``: the sink has all bytes."""
        self._unregister()
        self.deadline.stop()
        self.done.callback(None)

    def fail(self, reason: Failure) -> None:
        """Fail ``done``, because the rest will not come."""
        self._unregister()
        super().fail(reason)

    def _register(self) -> None:
        """Register the transport with the sink before the first byte, so that it can slow the server down."""
        if not self._registered and IConsumer.providedBy(self._sink):
            self._registered = True
            self._sink.registerProducer(self._producer, True)

    def _unregister(self) -> None:
        if self._registered and IConsumer.providedBy(self._sink):
            self._registered = False
            self._sink.unregisterProducer()
