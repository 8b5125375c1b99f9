"""Sending raw bytes to the server (spec 01, *Raw data phases*)."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mensagod.client.errors import ClientError


class WrongSize(ClientError):
    """A source has more or fewer bytes than were announced to the server."""


@implementer(IConsumer, IPushProducer)
class Upload:
    """Passes the bytes of a producer to the transport, at most as many as announced.

    It is the consumer of the source and the producer of the transport, so that the source is stopped only
    once, by whichever side.

    :param progress: called whenever some bytes have been passed on.
    """

    def __init__(self, transport: ITransport, size: int, source: IBodyProducer, progress: Callable[[], None]):
        self._transport = transport
        self._missing = size
        self._source = source
        self._progress = progress
        self.running = False

    def start(self) -> Deferred[None]:
        """Start; the Deferred fires once all bytes have been passed to the transport.

        It fails with :class:`WrongSize` if the source has another number of bytes, or with the source's
        error.
        """
        self.running = True
        self.registerProducer(self, True)
        produced: Deferred[None] = self._source.startProducing(self)
        return produced.addBoth(self._ended)

    def stop(self) -> None:
        """Stop before all bytes were sent."""
        if self.running:
            self.running = False
            self.unregisterProducer()
            self._source.stopProducing()

    def stopProducing(self) -> None:
        """Stop, because the transport accepts no more data."""
        self.stop()

    def pauseProducing(self) -> None:
        """Pause the source."""
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume the source."""
        self._source.resumeProducing()

    def write(self, data: bytes) -> None:
        """Take bytes from the source."""
        if len(data) > self._missing:
            raise WrongSize("The source has more bytes than announced")
        self._missing -= len(data)
        self._transport.write(data)
        self._progress()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Register with the transport, which can then slow the source down."""
        IConsumer(self._transport).registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """Unregister from the transport."""
        IConsumer(self._transport).unregisterProducer()

    def _ended(self, result: Failure | None) -> Failure | None:
        if self.running:
            self.running = False
            self.unregisterProducer()
        if self._missing and not isinstance(result, Failure):
            raise WrongSize("The source has fewer bytes than announced")
        return result
