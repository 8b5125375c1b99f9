"""A fair queue: a bounded number of slots, shared round-robin between source addresses."""

from collections import Counter, OrderedDict
from typing import Protocol

from twisted.internet.defer import Deferred

from mensagod.errors import ServerUnavailable


class Client(Protocol):
    """The client that asked for some work."""

    @property
    def source(self) -> str:
        """The source that the client is counted under, see :func:`mensagod.server.admission.source_of`."""

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected, so that its work need not be done."""


class FairQueue:
    """Slots, and a FIFO queue of waiting clients for each source; the queues are served round-robin.

    However much one source asks for, another source waits only until one of the slots in use is released and
    its own turn comes. The server's own work (no client) is one more source, which has no limits.

    :param slots: how many slots there are.
    :param running: the most slots that one source may use at once.
    :param waiting: the most clients that may wait in the queue of one source.
    :param total: the most clients that may wait in all queues together.
    """

    def __init__(self, slots: int, *, running: int = 2, waiting: int = 16, total: int = 1024):
        self._free_slots = slots
        self._max_running = running
        self._max_waiting = waiting
        self._max_total = total
        self._total_waiting = 0
        self._is_granting = False
        self._running: Counter[str | None] = Counter()
        # For each source its waiting clients in order of arrival; the source served least recently is first.
        self._queues: OrderedDict[str | None, dict[Deferred[None], Client | None]] = OrderedDict()

    def acquire(self, client: Client | None = None) -> Deferred[None]:
        """Fire once ``client`` has a slot; :meth:`release` must be called when its work has ended.

        The Deferred may be cancelled before it fires. It is cancelled if the client is gone when its turn
        comes.

        :raises ServerUnavailable: if too many clients wait already.
        """
        source = _source(client)
        if client is not None:
            self._check_room(source)
        granted: Deferred[None] = Deferred(lambda granted: self._remove(source, granted))
        self._queues.setdefault(source, {})[granted] = client
        self._total_waiting += 1
        self._grant_free_slots()
        return granted

    def release(self, client: Client | None = None) -> None:
        """Return the slot that ``client`` had acquired."""
        source = _source(client)
        self._free_slots += 1
        self._running[source] -= 1
        if not self._running[source]:
            del self._running[source]
        self._move_to_end(source)
        self._grant_free_slots()

    def cancel_all(self) -> None:
        """Cancel the Deferred of every waiting client."""
        for queue in tuple(self._queues.values()):
            for granted in tuple(queue):
                granted.cancel()

    def _check_room(self, source: str | None) -> None:
        """Refuse a client if the queue of its source is full; clients that are gone do not count.

        :raises ServerUnavailable: if it is still full then.
        """
        if self._is_full(source):
            for granted, client in tuple(self._queues.get(source, {}).items()):
                if client is not None and client.gone:
                    granted.cancel()
        if self._is_full(source):
            raise ServerUnavailable

    def _is_full(self, source: str | None) -> bool:
        return (
            len(self._queues.get(source, ())) >= self._max_waiting or self._total_waiting >= self._max_total
        )

    def _grant_free_slots(self) -> None:
        """Grant the free slots to waiting clients, one source after the other."""
        if self._is_granting:
            # The work of a client that was just granted a slot is over already: the loop below goes on.
            return
        self._is_granting = True
        try:
            self._grant_all()
        finally:
            self._is_granting = False

    def _grant_all(self) -> None:
        while self._free_slots and (queue := self._next_queue()) is not None:
            granted, client = next(iter(queue.items()))
            if client is not None and client.gone:
                granted.cancel()
                continue
            source = _source(client)
            self._remove(source, granted)
            self._move_to_end(source)
            self._free_slots -= 1
            self._running[source] += 1
            granted.callback(None)

    def _next_queue(self) -> dict[Deferred[None], Client | None] | None:
        """Give the queue to serve next: the first one whose source is below its limit of slots."""
        for source, queue in self._queues.items():
            if source is None or self._running[source] < self._max_running:
                return queue
        return None

    def _move_to_end(self, source: str | None) -> None:
        """Serve the queues of all other sources before that of ``source``."""
        if source in self._queues:
            self._queues.move_to_end(source)

    def _remove(self, source: str | None, granted: Deferred[None]) -> None:
        """Remove a waiting client from the queue of its source."""
        queue = self._queues[source]
        del queue[granted]
        self._total_waiting -= 1
        if not queue:
            del self._queues[source]


def _source(client: Client | None) -> str | None:
    return None if client is None else client.source
