"""A connection to a server, for requests one at a time or pipelined (spec 01)."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from mensagod.client.answers import expect, required
from mensagod.client.errors import RequestRefused, ServerRefused
from mensagod.client.expectations import Sink
from mensagod.client.protocol import ClientProtocol
from mensagod.status import Status
from mensagod.threads.lock import Lock
from mensagod.values.times import parse_integer
from mensagod.wire.fields import Fields
from mensagod.wire.messages import Request, Response

TIMEOUT = 60.0
MAX_ANSWER = 17 * 1024 * 1024
"""Bytes; a little more than the server's largest answer (spec 04, *Files*)."""

Asked = Fields | Mapping[str, object]
"""The fields of a request: an instance of a class of :mod:`mensagod.requests`, or names and values for a
command that this server does not have. Values that are ``None`` are left out; others are sent as text."""


@define(eq=False)
class Turn:
    """The exclusive right to send requests, for the steps of a command."""

    _connection: "ClientConnection"
    _protocol: ClientProtocol

    def ask(self, action: str, fields: Asked | None = None) -> Deferred[Response]:
        """Send a request; the Deferred fires with the answer, whatever its status."""
        request = _request(action, fields)
        return self._protocol.ask(request).addCallback(self._connection.note, request)

    async def request(self, action: str, fields: Asked | None = None, *statuses: Status) -> Response:
        """Send a request and wait for an answer with one of ``statuses`` (none given: any below 300).

        :raises RequestRefused: if the status is another.
        :raises ClientError: if there is no answer.
        """
        return expect(await self.ask(action, fields), *statuses)

    async def receive(self, action: str, fields: Asked | None, size: int, sink: Sink) -> None:
        """Send a request whose answer is ``size`` raw bytes, and wait until ``sink`` has them."""
        await self._protocol.receive(_request(action, fields), size, sink)

    async def transfer(self, size: int, source: bytes | IBodyProducer, *statuses: Status) -> Response:
        """Send the ``size`` raw bytes of ``source`` and wait for the answer, as :meth:`request` does."""
        return expect(await self._protocol.transfer(size, source), *statuses)


@define(eq=False)
class ClientConnection:
    """A connection whose greeting has been read.

    :ivar update_count: the last number of changes by others that the server sent; the owner may reset it.
    :ivar on_update_count: called with each such number.
    """

    _protocol: ClientProtocol
    on_update_count: Callable[[int], object] | None = None
    update_count: int | None = field(default=None, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    _log = Logger()

    def request(self, action: str, fields: Asked | None = None, *statuses: Status) -> Deferred[Response]:
        """Send a request; the Deferred fires with an answer of one of ``statuses`` (none: any below 300).

        Several may be sent without waiting. It fails with :class:`RequestRefused` if the status is another,
        and with another :class:`ClientError` if there is no answer.
        """
        return Deferred.fromCoroutine(self._request(action, fields, *statuses))

    async def _request(self, action: str, fields: Asked | None, *statuses: Status) -> Response:
        async with self.turn() as turn:
            answer = turn.ask(action, fields)
        return expect(await answer, *statuses)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        """Keep other requests waiting during the steps of a command (spec 01, *Multi-step commands*).

        After a refusal the connection can be used. Any other exception, including a cancellation, ends the
        connection, because the server would take the next request for the missing step.
        """
        await self._lock.acquire()
        try:
            yield Turn(self, self._protocol)
        except RequestRefused:
            raise
        except BaseException:
            self._protocol.abort()
            raise
        finally:
            self._lock.release()

    def note(self, response: Response, request: Request) -> Response:
        """Process the update notification in an answer, if it has one, and give the answer back.

        :raises mensagod.client.errors.UnexpectedAnswer: if its ``UpdateCount`` is not a number.
        """
        # For these two the count is the requested result, not a notification (spec 04, *Update
        # notification*).
        asked = request.action == "GETUPDATES" or request.has("CountUpdates")
        if response.status == Status.OK and "UpdateCount" in response.data and not asked:
            self.update_count = required(response, "UpdateCount", parse_integer)
            self._tell(self.update_count)
        return response

    def _tell(self, count: int) -> None:
        """Call ``on_update_count``; its exceptions are logged, and do not fail the request."""
        if self.on_update_count is None:
            return
        try:
            self.on_update_count(count)
        except Exception:
            self._log.failure("Callback for an update count failed")

    async def close(self) -> None:
        """Wait until no command is between its steps, send QUIT, and wait until the connection has ended."""
        async with self.turn():
            ended = self._protocol.quit()
        await ended

    def abort(self) -> None:
        """End the connection at once; waiting requests fail with :class:`.Disconnected`."""
        self._protocol.abort()

    def wait_closed(self) -> Deferred[None]:
        """Give a Deferred that fires once the connection has ended, for whatever reason."""
        return self._protocol.wait_lost()


def connect(
    endpoint: IStreamClientEndpoint,
    *,
    clock: IReactorTime | None = None,
    timeout: float = TIMEOUT,
    max_answer: int = MAX_ANSWER,
    on_update_count: Callable[[int], object] | None = None,
) -> Deferred[ClientConnection]:
    """Connect and read the greeting.

    The Deferred fires with the connection. It fails with the error of the endpoint, with
    :class:`ServerRefused` if the server does not accept connections now, or with another :class:`ClientError`
    if it is not a Mensago server.

    :param clock: measures the timeouts; default: the reactor.
    :param timeout: seconds to wait for the greeting, for each answer, and for progress of raw data.
    :param max_answer: the largest accepted answer in bytes.
    :param on_update_count: called with the number of changes by others whenever the server sends it.
    """
    if clock is None:
        from twisted.internet import reactor  # noqa: PLC0415  importing it installs one

        clock = IReactorTime(reactor)
    protocol = ClientProtocol(clock, timeout, max_answer)
    return Deferred.fromCoroutine(_connect(endpoint, protocol, on_update_count))


async def _connect(
    endpoint: IStreamClientEndpoint, protocol: ClientProtocol, on_update_count: Callable[[int], object] | None
) -> ClientConnection:
    await endpoint.connect(Factory.forProtocol(lambda: protocol))
    try:
        greeting = await protocol.greeting
        if greeting.status != Status.OK:
            raise ServerRefused(greeting)
    except BaseException:
        protocol.abort()
        raise
    return ClientConnection(protocol, on_update_count)


def _request(action: str, fields: Asked | None) -> Request:
    """Make a request of the fields that have a value."""
    if isinstance(fields, Fields):
        return Request(action, fields.to_data())
    return Request(action, {name: str(value) for name, value in (fields or {}).items() if value is not None})
