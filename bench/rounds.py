"""Rounds: the server and its limit are measured alternately, under the same conditions."""

from collections.abc import Callable

from attrs import frozen

from bench.cpu import Cost, Meter, Usage
from bench.figures import Sample

ROUNDS = 3
"""How often each is measured."""

SECONDS = 2.0
"""How long each round lasts, in seconds."""

WARM_UP = 0.7
"""How long each runs before it is measured, in seconds."""


@frozen
class Round:
    """What one round of the server gave.

    :ivar values: what was measured, each for a figure of its own.
    :ivar operations: how many operations used the CPU time of this round.
    """

    values: tuple[float, ...]
    operations: int


@frozen
class Measured:
    """All rounds.

    :ivar ours: a sample for each value of a round.
    :ivar limit: the rounds of the limit, if there is one.
    :ivar cost: the CPU time of one operation of the server, as the average of all rounds.
    """

    ours: tuple[Sample, ...]
    limit: Sample | None
    cost: Cost


def measure(
    meter: Meter, ours: Callable[[float], Round], limit: Callable[[float], float] | None = None
) -> Measured:
    """Measure the server, and its limit if there is one, in turn.

    :param ours: runs one round of so many seconds; when it returns, all work of that round is done.
    """
    ours(WARM_UP)
    if limit is not None:
        limit(WARM_UP)
    rounds, limits = [], []
    used = Usage()
    for _ in range(ROUNDS):
        before = meter.read()
        rounds.append(ours(SECONDS))
        used += meter.read() - before
        if limit is not None:
            limits.append(limit(SECONDS))
    samples = zip(*(each.values for each in rounds), strict=True)
    return Measured(
        tuple(map(Sample, samples)),
        Sample(tuple(limits)) if limits else None,
        used.per(sum(each.operations for each in rounds)),
    )
