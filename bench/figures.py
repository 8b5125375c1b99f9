"""Measured figures, each with its limit."""

from collections.abc import Sequence

from attrs import frozen

AIM = 0.5
"""The lowest ratio to the limit that is wanted."""

RESIDENT_AIM = 75.0
"""The most memory that is wanted for the idle process, in MB."""


@frozen
class Figure:
    """A measured figure.

    :ivar ours: the value of the server.
    :ivar limit: the value of the minimal program that does the same work.
    :ivar less_is_better: whether a lower value is better, as for memory.
    """

    name: str
    unit: str
    ours: float
    limit: float
    less_is_better: bool = False

    @property
    def ratio(self) -> float:
        """The ratio of the server to the limit; 1 means equal, less means worse."""
        return self.limit / self.ours if self.less_is_better else self.ours / self.limit

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """The figure as a row of the table."""
        return (self.name, _short(self.ours), _short(self.limit), self.unit, f"{self.ratio:.2f}")


def table(figures: Sequence[Figure]) -> str:
    """Format figures as a table."""
    rows = [("", "mensagod", "limit", "unit", "ratio"), *(figure.row for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in {0, 3} else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"
