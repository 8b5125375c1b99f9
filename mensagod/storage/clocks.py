"""Whether clocks can be trusted with what cannot be undone (spec 06, *Clocks lie*).

Theory of operation
-------------------

A clock that is set wrong makes things look old: keys, messages, garbage. Most of what a server does then is
undone once the clock is right. What cannot be undone (a private key erased, a message given up) needs
:meth:`ClockAgreement.confirmed`, which is true only if

* the database's clock and this machine's agree, within :data:`TOLERANCE`, by a reading that is not older than
  :data:`TRUST_SECONDS`;
* the same thing was found due :data:`CONFIRM_SECONDS` ago or earlier, measured on a clock that nobody can
  set; and
* since then the two clocks were never read to disagree, and neither was set.

The last one is for a database on the same machine: there both clocks are one, and always agree. It was set if
between two readings it went further than the clock that nobody can set. (It does so while a machine sleeps,
too.) All that was found due before is forgotten then.

:class:`ClockWatch` reads the database's clock every :data:`LOOK_SECONDS`. Who reads it anyway, together with
what is due, can pass the time on.
"""

import time
from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mensagod.lifecycle.periodic import Periodic
from mensagod.storage.database import Database
from mensagod.storage.rows import Row, Transaction, one

H = TypeVar("H", bound=Hashable)

TOLERANCE: Final = timedelta(seconds=60)
"""By so much two clocks that agree may differ. More than a reading of the database's clock can take."""

CONFIRM_SECONDS: Final = 600
"""For so many seconds a thing must have been due."""

LOOK_SECONDS: Final = 60
"""The interval in seconds at which the database's clock is read."""

TRUST_SECONDS: Final = 180
"""For so many seconds a reading of the database's clock counts."""

MOST: Final = 50_000
"""How many things are remembered. Further ones have to come again when others have been confirmed."""

MEMORY_SECONDS: Final = 86_400
"""For so many seconds a thing is remembered that is not asked for again."""


def read_clock(txn: Transaction) -> datetime:
    """Read the database's clock."""
    txn.execute("SELECT now() AS now")
    return one(_now, txn)


def _now(row: Row) -> datetime:
    found: datetime = row.now
    return found


def _machine_clock() -> datetime:
    return datetime.now(UTC)


@frozen
class _Reading:
    """What three clocks said at once; ``at`` is in seconds, and its clock cannot be set."""

    at: float
    machine: datetime
    database: datetime

    @property
    def difference(self) -> timedelta:
        return abs(self.database - self.machine)


@define(eq=False)
class ClockAgreement:
    """Whether the database's clock and this machine's agree, and which things were due before.

    Logs once when they begin to disagree, and once when they agree again.

    :ivar steady: gives seconds of a clock that nobody can set.
    :ivar machine: gives the time of this machine.
    """

    steady: Callable[[], float] = time.monotonic
    machine: Callable[[], datetime] = _machine_clock
    most: int = MOST
    _last: _Reading | None = field(default=None, init=False)
    _agree: bool = field(default=True, init=False)
    _since: dict[Hashable, float] = field(factory=dict, init=False)

    _log = Logger(namespace="mensagod.clocks")

    def note(self, database_now: datetime) -> bool:
        """Take note of what the database's clock says just now; tell whether this machine's agrees.

        :param database_now: read at most half a minute ago.
        """
        reading = _Reading(self.steady(), self.machine(), database_now)
        if self._last is not None and (
            _was_set(self._last.machine, reading.machine, reading.at - self._last.at)
            or _was_set(self._last.database, reading.database, reading.at - self._last.at)
        ):
            self._since.clear()
        self._last = reading
        self._compare(reading)
        return self._agree

    @property
    def now(self) -> datetime | None:
        """The time, if both clocks agree on it; ``None`` if they do not, or if that is not known."""
        if self._last is None or not self._agree:
            return None
        passed = self.steady() - self._last.at
        machine = self.machine()
        if _was_set(self._last.machine, machine, passed):
            self._since.clear()
            return None
        return machine if passed <= TRUST_SECONDS else None

    def confirmed(self, subject: Hashable, *, due: bool = True, database_now: datetime | None = None) -> bool:
        """Tell whether what cannot be undone may be done to a thing. It is asked once for each try to do it.

        The first answer is no; the thing is remembered, and has to be found due again. After a yes it is
        forgotten, so a try that fails has to wait again.

        :param subject: the thing, and what is found of it: other callers must not mean something else by it.
        :param due: whether it is found due now.
        :param database_now: what the database's clock said when it was found due, if that is known.
        """
        if database_now is not None:
            self.note(database_now)
        if self.now is None:
            return False
        if not due:
            self._since.pop(subject, None)
            return False
        return self._was_due(subject)

    def confirmed_of(self, subjects: Iterable[H], database_now: datetime) -> list[H]:
        """Give those of some things that are due for which :meth:`confirmed` says yes."""
        self.note(database_now)
        return [subject for subject in subjects if self.confirmed(subject)]

    def _was_due(self, subject: Hashable) -> bool:
        """Tell whether a thing has been due for long enough, and remember it otherwise."""
        now = self.steady()
        self._forget_before(now - MEMORY_SECONDS)
        since = self._since.get(subject)
        if since is None:
            if len(self._since) < self.most:
                self._since[subject] = now
            return False
        if now - since < CONFIRM_SECONDS:
            return False
        del self._since[subject]
        return True

    def _forget_before(self, oldest: float) -> None:
        # They stand in the order in which they were remembered.
        while self._since:
            subject, since = next(iter(self._since.items()))
            if since >= oldest:
                return
            del self._since[subject]

    def _compare(self, reading: _Reading) -> None:
        # The limit is lower for those that disagreed, so that a difference around it is not logged again and
        # again.
        limit = TOLERANCE if self._agree else TOLERANCE / 2
        agree = reading.difference <= limit
        if not agree:
            self._since.clear()
        if agree == self._agree:
            return
        self._agree = agree
        texts = {"database": _text(reading.database), "machine": _text(reading.machine)}
        if agree:
            self._log.info(
                "the clocks agree again: the database's says {database}, this machine's {machine}",
                event="clocks_agree",
                **texts,
            )
        else:
            self._log.warn(
                "the clocks disagree: the database's says {database}, this machine's {machine}. Until they"
                " agree, no old key is erased and no message is given up for its age: set the clock that is"
                " wrong, and have both machines keep time by NTP",
                event="clocks_disagree",
                **texts,
            )


class ClockWatch(Periodic):
    """Reads the database's clock again and again, for a :class:`ClockAgreement`."""

    def __init__(self, reactor: IReactorTime, database: Database, clocks: ClockAgreement):
        super().__init__(reactor, LOOK_SECONDS, self.look, "the database's clock cannot be read")
        self._database = database
        self._clocks = clocks

    async def look(self) -> None:
        """Read it once.

        :raises mensagod.errors.ServerUnavailable: while the database is away.
        """
        self._clocks.note(await self._database.read(read_clock))


def _was_set(before: datetime, after: datetime, passed: float) -> bool:
    """Tell whether a clock was set between two readings, with ``passed`` seconds between them."""
    return abs(after - before - timedelta(seconds=passed)) > TOLERANCE


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="seconds")
