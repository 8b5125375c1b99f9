"""Raw bytes from a client to its server (spec 01, *Raw data phases*)."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IProducer, ITransport
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from mensagod.client.errors import ClientError


class WrongSize(ClientError):
    """A source gave another number of bytes than was announced to the server."""


@implementer(IConsumer)
class Upload:
    """Passes the bytes of a producer to the transport, and never one more than announced.

    :param progress: called whenever some bytes have been passed on.
    """

    def __init__(self, transport: ITransport, size: int, source: IBodyProducer, progress: Callable[[], None]):
        self._transport = transport
        self._missing = size
        self._source = source
        self._progress = progress
        self.running = False

    def start(self) -> Deferred[None]:
        """Begin; the Deferred fires once all bytes are with the transport.

        It fails with :class:`WrongSize` if the source has another number of bytes, and as the source fails.
        """
        self.running = True
        self.registerProducer(self._source, True)
        produced: Deferred[None] = self._source.startProducing(self)
        return produced.addBoth(self._ended)

    def stop(self) -> None:
        """End before all bytes were given."""
        if self.running:
            self.running = False
            self.unregisterProducer()
            self._source.stopProducing()

    def write(self, data: bytes) -> None:
        """Take bytes from the source."""
        if len(data) > self._missing:
            raise WrongSize("The source has more bytes than announced")
        self._missing -= len(data)
        self._transport.write(data)
        self._progress()

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the transport slow down the source."""
        IConsumer(self._transport).registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The transport and the source part."""
        IConsumer(self._transport).unregisterProducer()

    def _ended(self, result: Failure | None) -> Failure | None:
        if self.running:
            self.running = False
            self.unregisterProducer()
        if self._missing and not isinstance(result, Failure):
            raise WrongSize("The source has fewer bytes than announced")
        return result
