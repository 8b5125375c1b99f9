"""Whose turn it is: places that many want, given out fairly among where they come from."""

from collections import Counter, OrderedDict
from typing import Protocol

from twisted.internet.defer import Deferred

from mensagod.errors import ServerUnavailable


class Client(Protocol):
    """For whom something is done."""

    @property
    def source(self) -> str:
        """By what clients are counted, see :func:`mensagod.server.admission.source_of`."""

    @property
    def gone(self) -> bool:
        """Whether nobody waits for what is done any more."""


class FairQueue:
    """Some places, and those who wait for one: a line for each source, and the lines are served in turn.

    What a source asks for delays another's by no more than it has in places already. The server's own work
    (no client) is one source more, which has no limits.

    :param places: how many may be taken at once.
    :param running: the most places of one source.
    :param waiting: the most that wait in the line of one source.
    :param total: the most that wait in all.
    """

    def __init__(self, places: int, *, running: int = 2, waiting: int = 16, total: int = 1024):
        self._free = places
        self._most_running = running
        self._most_waiting = waiting
        self._most_in_all = total
        self._in_all = 0
        self._running: Counter[str | None] = Counter()
        # Who waits in each line, first come first; the line that was served longest ago is the first.
        self._lines: OrderedDict[str | None, dict[Deferred[None], Client | None]] = OrderedDict()

    def wait(self, client: Client | None = None) -> Deferred[None]:
        """Fire once a place is taken for ``client``, which :meth:`end` gives back.

        It may be cancelled before; it is, if the client is gone when its turn comes.

        :raises ServerUnavailable: if too much waits already.
        """
        source = _source(client)
        if client is not None:
            self._check_room(source)
        turn: Deferred[None] = Deferred(lambda turn: self._take(source, turn))
        self._lines.setdefault(source, {})[turn] = client
        self._in_all += 1
        self._serve()
        return turn

    def end(self, client: Client | None = None) -> None:
        """Give back the place that was taken for ``client``."""
        source = _source(client)
        self._free += 1
        self._running[source] -= 1
        if not self._running[source]:
            del self._running[source]
        self._put_last(source)
        self._serve()

    def cancel(self) -> None:
        """Cancel whatever waits."""
        for line in tuple(self._lines.values()):
            for turn in tuple(line):
                turn.cancel()

    def _check_room(self, source: str | None) -> None:
        """Refuse more of what is too much, once those that are gone have made room."""
        if self._is_full(source):
            for turn, client in tuple(self._lines.get(source, {}).items()):
                if client is not None and client.gone:
                    turn.cancel()
        if self._is_full(source):
            raise ServerUnavailable

    def _is_full(self, source: str | None) -> bool:
        return len(self._lines.get(source, ())) >= self._most_waiting or self._in_all >= self._most_in_all

    def _serve(self) -> None:
        """Give out the places that are free."""
        while self._free and (line := self._next_line()) is not None:
            turn, client = next(iter(line.items()))
            if client is not None and client.gone:
                turn.cancel()
                continue
            source = _source(client)
            self._take(source, turn)
            self._put_last(source)
            self._free -= 1
            self._running[source] += 1
            turn.callback(None)

    def _next_line(self) -> dict[Deferred[None], Client | None] | None:
        """Give the line that is to be served next, if anybody waits who may have a place."""
        for source, line in self._lines.items():
            if source is None or self._running[source] < self._most_running:
                return line
        return None

    def _put_last(self, source: str | None) -> None:
        """Serve every other line first."""
        if source in self._lines:
            self._lines.move_to_end(source)

    def _take(self, source: str | None, turn: Deferred[None]) -> None:
        """Take a turn out of its line."""
        line = self._lines[source]
        del line[turn]
        self._in_all -= 1
        if not line:
            del self._lines[source]


def _source(client: Client | None) -> str | None:
    return None if client is None else client.source
