"""For whom the database works: strangers get at most half of its connections (spec 06, *Database*).

Whoever runs a step of somebody's command says whose it is (:func:`begin_step`). All that the step asks of the
database, through however many functions, then counts as that client's. So no operation has to pass on for
whom it works, and none can forget it.
"""

from contextvars import ContextVar, Token
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


def begin_step(stranger: Stranger | None) -> Token[Stranger | None]:
    """Have what is asked of the database count as a stranger's, or as nobody's, until :func:`end_step`.

    These are two functions and no context manager, which would cost each command a microsecond.
    """
    return _asking.set(stranger)


def end_step(step: Token[Stranger | None]) -> None:
    """End what :func:`begin_step` began."""
    _asking.reset(step)


def strangers_queue(connections: int) -> FairQueue:
    """Make the queue of the strangers for half of so many connections; half of those for one source at most.

    How many wait is bounded by the number of sessions, and how long by the limit of every call.
    """
    places = max(1, connections // 2)
    return FairQueue(places, running=(places + 1) // 2, waiting=_NO_LIMIT, total=_NO_LIMIT)
