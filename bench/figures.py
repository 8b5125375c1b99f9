"""Figures, each beside its limit."""

from collections.abc import Sequence

from attrs import frozen

AIM = 0.5
"""The ratio to the limit that is wanted at least."""

RESIDENT_AIM = 75.0
"""What the idle process may take at most, in MB."""


@frozen
class Figure:
    """What was measured.

    :ivar ours: the server's figure,
    :ivar limit: and that of the least that could do the same.
    :ivar less_is_better: whether it is a cost.
    """

    name: str
    unit: str
    ours: float
    limit: float
    less_is_better: bool = False

    @property
    def ratio(self) -> float:
        """How near the limit we are; 1 is there."""
        return self.limit / self.ours if self.less_is_better else self.ours / self.limit

    @property
    def row(self) -> tuple[str, str, str, str, str]:
        """The figure as a line of the table."""
        return (self.name, _short(self.ours), _short(self.limit), self.unit, f"{self.ratio:.2f}")


def table(figures: Sequence[Figure]) -> str:
    """Write figures for a person."""
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
