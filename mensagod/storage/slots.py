"""A limit over a sliding window, in a row whose size and cost are bounded.

There are as many *slots* as things may happen within the window. Each thing takes the next slot, around and
around, and a slot can be taken again once its last use is a whole window ago. So within any time of that
length each slot is used once, and no more happens than there are slots. That is exact, and looks at one slot.

With more than :data:`MOST_SLOTS` things a slot holds several of them, which it gets one after the other, and
counts as used when it got its last one. The limit is never exceeded then either; the price is that the first
things in a slot count for as long as its last one does.

A row has ``slot``, which was used last; ``used``, how many things it holds; and ``times``, when each slot got
its last one. The SQL here is for an ``UPDATE`` of a row ``known``, or the ``DO UPDATE`` of an ``INSERT``. So
counting is one statement, and the lock on the row puts all that count in order.

A time that lies further ahead than a window was written before the clock was set back: its slot is free (spec
06, *Clocks lie*).
"""

from datetime import timedelta
from typing import Final

from attrs import frozen

MOST_SLOTS: Final = 100
"""No row has more."""


@frozen
class Slots:
    """How much may happen within a window.

    :ivar most: how many things; at least 1 for one to fit.
    :ivar window: within any time of this length.
    """

    most: int
    window: timedelta

    @property
    def parameters(self) -> dict[str, object]:
        """What the SQL of this module names."""
        each = max(-(-self.most // MOST_SLOTS), 1)
        return {
            "room": self.most,
            "each": each,
            "slots": max(-(-self.most // each), 1),
            "window": self.window,
        }


HAS_ROOM: Final = "known.used < least(%(each)s, %(room)s - %(each)s * (known.slot - 1))"
"""Whether the slot used last holds one more: each holds the same number, and the last slot what is left."""

NEXT: Final = "(known.slot %% %(slots)s + 1)"
"""The slot after it."""

_NEXT_TIME: Final = "known.times[" + NEXT + "]"

FITS: Final = (
    "(%(room)s > 0 AND (" + HAS_ROOM + " OR coalesce(" + _NEXT_TIME + " <= now() - %(window)s"
    " OR " + _NEXT_TIME + " > now() + %(window)s, true)))"
)
"""Whether one more thing may happen now."""

SLOT: Final = "(CASE WHEN " + HAS_ROOM + " THEN known.slot ELSE " + NEXT + " END)"
"""The slot that it takes."""

USED: Final = "(CASE WHEN " + HAS_ROOM + " THEN known.used + 1 ELSE 1 END)"
"""How many that slot holds then."""

TIMES: Final = "(known.times[:" + SLOT + " - 1] || now() || known.times[" + SLOT + " + 1:])"
"""The times, with the present for that slot, which is one of them or the one behind them."""
