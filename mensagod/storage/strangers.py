"""For whom the database works: strangers get at most half of its connections (spec 06, *Database*).

Whoever runs a step of somebody's command says whose it is (:func:`step_of`). All that the step asks of the
database, through however many functions, then counts as that client's. So no operation has to pass on for
whom it works, and none can forget it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from attrs import frozen

from mensagod.threads.fair_queue import FairQueue

_NO_LIMIT: Final = 1_000_000


@frozen
class Stranger:
    """A client that has not logged in, as far as the database is concerned.

    :ivar source: by what it is counted.
    :ivar gone: never, for what was begun for it, such as to count its failure, is done all the same.
    """

    source: str
    gone: bool = False


_asking: ContextVar[Stranger | None] = ContextVar("mensagod_stranger", default=None)


def stranger_asking() -> Stranger | None:
    """Give the stranger whose command is just being performed, if it is one's."""
    return _asking.get()


@contextmanager
def step_of(stranger: Stranger | None) -> Iterator[None]:
    """Have what is asked of the database within count as a stranger's, or as nobody's."""
    token = _asking.set(stranger)
    try:
        yield
    finally:
        _asking.reset(token)


def strangers_queue(connections: int) -> FairQueue:
    """Make the queue of the strangers for half of so many connections; half of those for one source at most.

    How many wait is bounded by the number of sessions, and how long by the limit of every call.
    """
    places = max(1, connections // 2)
    return FairQueue(places, running=(places + 1) // 2, waiting=_NO_LIMIT, total=_NO_LIMIT)
