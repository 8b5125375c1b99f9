"""A sliding window as counters: how often something happened lately, in a row of fixed size.

The window is divided into equal parts. A row has ``since``, the begin of the newest part, and ``counts``, a
counter for each part, the newest first. One counter more than there are parts is kept, so nothing is dropped
before it is a whole window old: what happened counts for the length of the window and at most one part more.
A limit over such counters is never exceeded within any time of that length; its price is a refusal that ends
up to one part late.

Whoever counts first moves the row on: for each part that has passed a zero is put in front, and the oldest
counters fall off the end. This is written in SQL, on the row ``known`` of an ``INSERT`` with ``ON CONFLICT DO
UPDATE`` whose proposed row has the present as its ``since``. So counting is one statement, and the lock on
the row puts all that count in order.

A row whose ``since`` lies further ahead than a window was written before the clock was set back: it is empty.
One that lies ahead by less counts on where it is (spec 06, *Clocks lie*).
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from attrs import frozen


@frozen
class Window:
    """How long things count.

    :ivar length: for how long each counts at least.
    :ivar parts: into how many parts that is divided.
    """

    length: timedelta
    parts: int

    @property
    def part_seconds(self) -> float:
        """The length of one part."""
        return self.length.total_seconds() / self.parts

    @property
    def parameters(self) -> dict[str, object]:
        """What the SQL of this module names."""
        return {
            "window": self.length,
            "part": timedelta(seconds=self.part_seconds),
            "part_seconds": self.part_seconds,
            "places": self.parts + 1,
        }

    def seconds_until_less(self, counts: Sequence[int], age: float, most: int) -> float:
        """Tell how soon fewer than ``most`` count, if nothing happens meanwhile.

        :param counts: the newest first.
        :param age: how many seconds ago the newest part began.
        """
        total = sum(counts)
        parts_left = self.parts + 2 - len(counts)
        for count in reversed(counts):
            total -= count
            if total < most:
                break
            parts_left += 1
        return max(parts_left * self.part_seconds - age, 0.0)


MOVED: Final = (
    "(SELECT since, (SELECT coalesce(sum(count), 0) FROM unnest(counts) AS count) AS total,"
    " (coalesce(counts[1], 0) + 1) || counts[2:%(places)s] AS counted"
    " FROM (SELECT (array_fill(0, ARRAY[steps]) || known.counts)[1:%(places)s] AS counts,"
    " CASE WHEN steps < %(places)s THEN known.since + steps * %(part)s ELSE excluded.since END AS since"
    " FROM (SELECT CASE WHEN known.since > excluded.since + %(window)s THEN %(places)s"
    " ELSE least(greatest(floor(extract(epoch FROM excluded.since - known.since) / %(part_seconds)s), 0),"
    " %(places)s)::integer END AS steps) AS passed) AS present) AS moved"
)
"""The row ``known`` at the present: ``since``, ``total``, and ``counted``, its counters with one more."""
