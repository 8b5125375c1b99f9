"""Figures and their table."""

import os

from twisted.trial.unittest import SynchronousTestCase

from bench.cpu import Cost, Meter
from bench.figures import Figure, Sample, percentile, table
from bench.rounds import ROUNDS, Round, measure


class FigureTests(SynchronousTestCase):
    """A figure beside its limit."""

    def test_ratio(self) -> None:
        """The ratio compares the medians; it is below 1 if the server is worse."""
        ours, limit = Sample((9.0, 5.0, 1.0)), Sample((10.0, 10.0, 99.0))
        self.assertEqual(Figure("rate", "requests/s", ours, limit).ratio, 0.5)
        self.assertEqual(Figure("memory", "MB", ours, limit, less_is_better=True).ratio, 2.0)
        self.assertIsNone(Figure("time", "ms", ours).ratio)

    def test_table(self) -> None:
        """A row has the spread of the rounds and the CPU time, and a dash for what there is not."""
        figures = [
            Figure(
                "rate", "1/s", Sample((2000, 1000, 3000)), Sample((4000, 4000, 8000)), cost=Cost(12, 3.25)
            ),
            Figure("time", "ms", Sample((7.0,))),
        ]
        rows = [line.split() for line in table(figures).splitlines()[1:]]
        self.assertEqual(
            rows,
            [
                ["rate", "2000", "(1000-3000)", "4000", "(4000-8000)", "1/s", "0.50", "12.0", "3.2"],
                ["time", "7.0", "-", "-", "-", "ms", "-", "-", "-"],
            ],
        )

    def test_document(self) -> None:
        """The file of figures has the medians and all rounds."""
        figure = Figure("rate", "1/s", Sample((2.0, 1.0, 3.0)), Sample((4.0, 4.0, 8.0)), cost=Cost(12, 3.25))
        self.assertEqual(
            figure.document,
            {
                "name": "rate",
                "unit": "1/s",
                "ours": 2.0,
                "limit": 4.0,
                "less_is_better": False,
                "ratio": 0.5,
                "ours_rounds": [2.0, 1.0, 3.0],
                "limit_rounds": [4.0, 4.0, 8.0],
                "cpu_us_server": 12,
                "cpu_us_postgresql": 3.25,
            },
        )
        bare = Figure("time", "ms", Sample((7.0,))).document
        self.assertEqual([bare[name] for name in ("limit", "ratio", "limit_rounds")], [None] * 3)


class PercentileTests(SynchronousTestCase):
    """Percentiles."""

    def test_values(self) -> None:
        """The order of the values does not matter, and the last one is the most."""
        values = [float(value) for value in range(100, 0, -1)]
        self.assertEqual([percentile(values, part) for part in (0, 0.5, 0.99, 1)], [1.0, 51.0, 100.0, 100.0])
        self.assertEqual(percentile([4.0], 0.99), 4.0)


class MeasureTests(SynchronousTestCase):
    """Rounds in turn."""

    def test_turns(self) -> None:
        """The server and the limit run in turn; the warm-up counts for nothing."""
        turns: list[str] = []

        def ours(seconds: float) -> Round:
            turns.append("ours")
            return Round((float(len(turns)), seconds), 10)

        def limit(seconds: float) -> float:
            turns.append("limit")
            return float(len(turns))

        done = measure(Meter([], os.getpid()), ours, limit)
        self.assertEqual(turns, ["ours", "limit"] * (1 + ROUNDS))
        self.assertEqual(done.ours[0].rounds, (3.0, 5.0, 7.0))
        self.assertEqual(done.limit, Sample((4.0, 6.0, 8.0)))

    def test_without_limit(self) -> None:
        """A measurement may have no limit."""
        self.assertIsNone(measure(Meter([], os.getpid()), lambda seconds: Round((seconds,), 1)).limit)
