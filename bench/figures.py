"""Measured figures, each with its limit if it has one."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from attrs import frozen

from bench.cpu import Cost

AIM = 0.5
"""The lowest ratio to the limit that is wanted."""

RESIDENT_AIM = 75.0
"""The most memory that is wanted for the idle process, in MB."""

NONE = "-"
HEADINGS = (
    "",
    "mensagod",
    "(min-max)",
    "limit",
    "(min-max)",
    "unit",
    "ratio",
    "server",
    "PostgreSQL",
)
LEFT = {0, 5}
"""The columns that are aligned left: names and units."""


@frozen
class Sample:
    """The values of several rounds."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value that counts."""
        return median(self.rounds)

    @property
    def cells(self) -> tuple[str, str]:
        """The median and the spread, for the table."""
        if len(self.rounds) == 1:
            return short(self.median), NONE
        return short(self.median), f"({short(min(self.rounds))}-{short(max(self.rounds))})"


@frozen
class Figure:
    """A measured figure.

    :ivar ours: the values of the server.
    :ivar limit: the values of the minimal program that does the same work, if there is one.
    :ivar less_is_better: whether a lower value is better, as for memory.
    :ivar cost: the CPU time of one operation, if that was measured.
    """

    name: str
    unit: str
    ours: Sample
    limit: Sample | None = None
    less_is_better: bool = False
    cost: Cost | None = None

    @property
    def ratio(self) -> float | None:
        """The ratio of the server to the limit; 1 means equal, less means worse."""
        if self.limit is None:
            return None
        ours, limit = self.ours.median, self.limit.median
        return limit / ours if self.less_is_better else ours / limit

    @property
    def row(self) -> tuple[str, ...]:
        """The figure as a row of the table."""
        limit = (NONE, NONE) if self.limit is None else self.limit.cells
        ratio = NONE if self.ratio is None else f"{self.ratio:.2f}"
        cost = (NONE, NONE) if self.cost is None else (short(self.cost.server), short(self.cost.postgresql))
        return (self.name, *self.ours.cells, *limit, self.unit, ratio, *cost)

    @property
    def document(self) -> dict[str, Any]:
        """The figure for the file of figures."""
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours.median,
            "limit": None if self.limit is None else self.limit.median,
            "less_is_better": self.less_is_better,
            "ratio": self.ratio,
            "ours_rounds": list(self.ours.rounds),
            "limit_rounds": None if self.limit is None else list(self.limit.rounds),
            "cpu_us_server": None if self.cost is None else self.cost.server,
            "cpu_us_postgresql": None if self.cost is None else self.cost.postgresql,
        }


def table(figures: Sequence[Figure]) -> str:
    """Format figures as a table."""
    rows = [HEADINGS, *(figure.row for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in LEFT else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], part: float) -> float:
    """Give the value that the given part of all values does not exceed.

    :param part: from 0 to 1; 0.5 gives the median, or the value just above the middle.
    """
    return sorted(values)[min(int(part * len(values)), len(values) - 1)]


def short(value: float) -> str:
    """Write a value with the digits that tell something."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"
