"""Turns: the time of the reactor is shared between source addresses (spec 01, *Timeouts and limits*).

How it works and why. Twisted calls every connection that has received bytes once in each iteration of the
reactor. If each one worked then, an address with a hundred connections would get a hundred times the time of
an address with one. So a connection only buffers what it receives, and asks :class:`Turns` before it reads
requests out of that:

* While the reactor has time to spare, the connection begins at once, and no other iteration is needed.
* Otherwise it waits in the queue of its source. Sources take turns: in its turn, a source has one of its
  connections work for at most :data:`TURN_SECONDS`. A connection that has more to do then waits again.
* Turns are given for :data:`ROUND_SECONDS`, then the reactor does its other work: it sends and receives, and
  takes results of threads. The turns continue in its next iteration.
* Members and the operator come before all other clients, of whom each fifth turn is one, if any wait: a
  member that never stops asking cannot keep others from logging in.

So a client that asks for one thing at a time waits for a round in progress, and then for a turn of each other
source, however many connections these have. Work in threads is shared in the same way
(:mod:`mensagod.threads.fair_queue`).
"""

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

TURN_SECONDS = 0.0005
"""How long a connection works in its turn, in seconds; the request that it then works on is finished."""

ROUND_SECONDS = 0.002
"""How long turns are given before the reactor does its other work, in seconds."""

MAX_TURNS = 64
"""How many turns are given before that at most: the clock of the system may be set back meanwhile."""

REST_SECONDS = 0.0001
"""After how long a pause of the work the reactor must have done its other work, in seconds."""

FIRST_IN_A_ROW = 4
"""How many turns of members there are in a row while other clients wait."""


class Client(Protocol):
    """A connection that works in turns."""

    @property
    def source(self) -> str:
        """The source that it is counted under, see :func:`mensagod.server.admission.source_of`."""

    @property
    def comes_first(self) -> bool:
        """Whether its turn comes before those of clients that are not logged in."""

    def take_turn(self) -> None:
        """Work until :attr:`Turns.is_over`; then call :meth:`Turns.wait` if there is more to do."""


class _Queues:
    """A FIFO queue of waiting clients for each source; the queues are served round-robin."""

    def __init__(self) -> None:
        # The source whose turn is next is first.
        self._queues: OrderedDict[str, dict[Client, None]] = OrderedDict()

    def __contains__(self, source: str) -> bool:
        return source in self._queues

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, client: Client) -> None:
        self._queues.setdefault(client.source, {})[client] = None

    def remove(self, client: Client) -> None:
        queue = self._queues[client.source]
        del queue[client]
        if not queue:
            del self._queues[client.source]

    def next(self) -> Client:
        """Remove and give the client whose turn is next."""
        source, queue = next(iter(self._queues.items()))
        client = next(iter(queue))
        self.remove(client)
        if source in self._queues:
            self._queues.move_to_end(source)
        return client


class Turns:
    """Shares the time of the reactor between the sources of the connections of one process."""

    def __init__(self, reactor: IReactorTime):
        self._reactor = reactor
        self._seconds = reactor.seconds
        self._first, self._others = _Queues(), _Queues()
        self._where: dict[Client, _Queues] = {}
        self._first_in_a_row = 0
        self._next_round: IDelayedCall | None = None
        self._is_round = False  # whether turns are being given at this moment
        self._is_working = False  # whether a client works at this moment
        self._began = 0.0  # since when clients have worked without a pause, in reactor seconds
        self._ended = 0.0  # when a client worked last
        self._end_of_turn = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the turn of the client that works now is over."""
        return self._seconds() >= self._end_of_turn

    def ask(self, client: Client) -> bool:
        """Have a client work, now if the reactor has the time, otherwise in its turn; tell whether it did."""
        if self._is_working or (self._where and self._must_wait(client)):
            self.wait(client)
            return False
        now = self._seconds()
        if not 0 <= now - self._ended < REST_SECONDS:
            self._began = now
        if now - self._began >= ROUND_SECONDS:
            self.wait(client)
            return False
        self._end_of_turn = now + TURN_SECONDS
        self._is_working = True
        try:
            client.take_turn()
        finally:
            self._is_working = False
            self._ended = self._seconds()
        return True

    def wait(self, client: Client) -> None:
        """Have a client work in its turn, if it does not wait for one already."""
        if client in self._where:
            return
        queues = self._where[client] = self._first if client.comes_first else self._others
        queues.add(client)
        if not self._is_round:
            self._schedule_round()

    def is_waiting(self, client: Client) -> bool:
        """Tell whether a client waits for its turn."""
        return client in self._where

    def leave(self, client: Client) -> None:
        """Stop waiting: the client has disconnected."""
        queues = self._where.pop(client, None)
        if queues is not None:
            queues.remove(client)
        if not self._where and self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None

    def _must_wait(self, client: Client) -> bool:
        """Tell whether one of the waiting clients comes before ``client``."""
        if client.comes_first:
            return client.source in self._first
        return bool(self._first) or client.source in self._others

    def _give_turns(self) -> None:
        """Give turns until nobody waits or the round is over; the next round is in the next iteration."""
        self._next_round = None
        self._is_round = True
        now = self._seconds()
        end, turns = now + ROUND_SECONDS, 0
        try:
            while self._where and now < end and turns < MAX_TURNS:
                self._end_of_turn = now + TURN_SECONDS
                self._is_working = True
                self._next().take_turn()
                now = self._seconds()
                turns += 1
        finally:
            self._is_working = self._is_round = False
            # A client of whose source nobody waits may begin at once until the next round.
            self._began = self._ended = now
            self._schedule_round()

    def _schedule_round(self) -> None:
        if self._where and self._next_round is None:
            self._next_round = self._reactor.callLater(0, self._give_turns)

    def _next(self) -> Client:
        """Give the client whose turn is next."""
        others_turn = self._others and self._first_in_a_row >= FIRST_IN_A_ROW
        queues = self._first if self._first and not others_turn else self._others
        self._first_in_a_row = self._first_in_a_row + 1 if queues is self._first else 0
        client = queues.next()
        del self._where[client]
        return client
