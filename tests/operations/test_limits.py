"""What a process remembers of limits."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mensagod.operations.limits import Memory, Shares, TooManyLookups
from mensagod.storage.lookups import Share

SOURCE = "192.0.2.1"


class MemoryTests(SynchronousTestCase):
    """A value is known for its time."""

    def setUp(self) -> None:
        """Two values fit."""
        self.clock = Clock()
        self.clock.advance(1000)
        self.memory: Memory[str, int] = Memory(self.clock, 2)

    def test_time(self) -> None:
        """It is gone when its time is over, which begins when the caller says."""
        self.memory.keep("a", 1, 10)
        self.memory.keep("b", 2, 10, 995.0)
        for seconds, found in ((4.9, (1, 2)), (0.1, (1, None)), (4.9, (1, None)), (0.2, (None, None))):
            self.clock.advance(seconds)
            self.assertEqual((self.memory.find("a"), self.memory.find("b")), found)

    def test_forget(self) -> None:
        """It can be forgotten, also if it is not known."""
        self.memory.keep("a", 1, 10)
        for _ in range(2):
            self.memory.forget("a")
            self.assertIsNone(self.memory.find("a"))

    def test_bounded(self) -> None:
        """What was not asked for longest makes room."""
        for name in ("a", "b"):
            self.memory.keep(name, 1, 10)
        self.memory.find("a")
        self.memory.keep("c", 1, 10)
        self.assertEqual([self.memory.find(name) for name in ("a", "b", "c")], [1, None, 1])

    def test_clock_set_back(self) -> None:
        """What was remembered before the clock was set back is forgotten."""
        self.memory.keep("a", 1, 10)
        self.clock.rightNow = 500.0
        self.assertIsNone(self.memory.find("a"))
        self.clock.rightNow = 1001.0
        self.assertIsNone(self.memory.find("a"))


class SharesTests(SynchronousTestCase):
    """A share is spent one by one."""

    def setUp(self) -> None:
        """Nothing is taken yet."""
        self.clock = Clock()
        self.shares = Shares(self.clock)

    def test_spending(self) -> None:
        """The first lookup of a share is used up with the taking of it."""
        self.assertFalse(self.shares.spend(SOURCE))
        self.shares.take(SOURCE, Share(3, 30.0), 0.0)
        self.assertEqual([self.shares.spend(SOURCE) for _ in range(4)], [True, True, False, False])
        self.assertFalse(self.shares.spend("192.0.2.2"))

    def test_window(self) -> None:
        """What is left when the window ends is lost."""
        self.shares.take(SOURCE, Share(3, 30.0), 0.0)
        self.clock.advance(30)
        self.assertFalse(self.shares.spend(SOURCE))

    def test_nothing_left(self) -> None:
        """Who gets nothing is refused until the window is over."""
        with self.assertRaises(TooManyLookups):
            self.shares.take(SOURCE, Share(0, 30.0), 0.0)
        with self.assertRaises(TooManyLookups):
            self.shares.spend(SOURCE)
        self.clock.advance(30)
        self.assertFalse(self.shares.spend(SOURCE))

    def test_one_lock(self) -> None:
        """Those who take for the same source at the same time wait for each other."""
        lock = self.shares.taking(SOURCE)
        self.assertIs(self.shares.taking(SOURCE), lock)
        self.assertIsNot(self.shares.taking("192.0.2.2"), lock)
