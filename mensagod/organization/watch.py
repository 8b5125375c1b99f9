"""The organization's keys in a running server: loaded, followed, watched (spec 03, *The server's duties*).

The stored keys are so few that reading them twice a second costs no more than reading a mark of their change
would, and cannot miss one: neither a rotation, nor a revocation, nor the day on which an old key has to go.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import DeferredLock, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import ServerUnavailable
from mensagod.organization import keycard
from mensagod.organization.keycard import Change, ChangeStep
from mensagod.organization.keyring import KEEP_DAYS, Keyring, KeyringFault, choose_master
from mensagod.sharing.follower import ChangeWatch
from mensagod.storage import keys
from mensagod.storage.database import Database
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.keys import StoredKey

POLL_SECONDS = 0.5
"""How often the stored keys are looked at; a change must be known everywhere within a second."""

WARN_SECONDS = 24 * 3600
"""How often the end of the organization's entry is looked at."""


@define(eq=False)
class KeyWatch(Service):
    """Keeps the keys of one process as the database has them.

    :ivar changes: told of the organization's card when this process changes it.
    :ivar masters: the keys that ``organization.key`` has, and those it had since the start.
    :ivar read_masters: reads it again; blocks, and raises :class:`KeyringFault` if it cannot be used.
    :ivar keyring: what the process works with; ``None`` until it is loaded, and while there is none that
        may be used.
    """

    reactor: IReactorTime
    database: Database
    changes: ChangeWatch
    masters: tuple[SecretKey, ...] = field(repr=False)
    read_masters: Callable[[], tuple[SecretKey, ...]]
    keyring: Keyring | None = field(default=None, init=False)
    _stored: Sequence[StoredKey] = field(factory=list, init=False)
    _complaints: dict[str, str] = field(factory=dict, init=False)
    _loops: list[LoopingCall] = field(factory=list, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)

    _log = Logger(namespace="mensagod.keys")

    async def load(self) -> None:
        """Load the keys for the first time.

        :raises KeyringFault: if ``organization.key`` does not open them.
        """
        stored = await self.database.read(keys.usable_keys, KEEP_DAYS)
        self.keyring, self._stored = Keyring.from_stored(stored, *self.masters), stored

    async def refresh(self) -> None:
        """Take over what has changed in the database.

        Sessions go on. A keyring whose current keys are not to be had any more is given up rather than
        used: clients are told 303 until the right ``organization.key`` is there.
        """
        async with self._turn:
            stored = await self.database.read(keys.usable_keys, KEEP_DAYS)
            if stored != self._stored:
                await self._take_over(stored)

    async def change(self, step: ChangeStep, expected: CryptoString) -> Change:
        """Rotate or revoke here, and work with the new keys at once.

        What was done stands, so a database that goes away right after it does not spoil the answer.

        :param step: :func:`mensagod.organization.keycard.rotate` or ``revoke``; what they raise is raised.
        :param expected: the hash of the entry that is to be followed.
        """
        now = datetime.now(UTC)
        try:
            change = await self.database.run(step, self.masters, expected, now)
        finally:
            # Somebody else may have been faster, or nobody knows whether it was done.
            self.changes.tell(frozenset({ORGANIZATION}))
        await self._guard(self.refresh)
        return change

    async def warn(self) -> None:
        """Log what the operator must know: that the entry ends soon, or that organization.key is lost.

        This daily turn also erases the private keys whose time is over, should nobody have done it.
        """
        entry = await self.database.read(keycard.current_entry)
        warning = keycard.expiry_warning(entry, datetime.now(UTC))
        if warning is not None:
            days = keycard.days_left(entry, datetime.now(UTC))
            self._log.warn("{text}", text=warning, event="organization_expires", days=days)
        fault = await self._read_masters_again(self._stored)
        if self.keyring is not None:
            self._tell_of_file(fault)
        await self.database.run(keys.erase_retired, KEEP_DAYS)

    def startService(self) -> None:
        """Begin to follow the database; the keys are loaded already."""
        super().startService()
        self._every(POLL_SECONDS, self.refresh)
        self._every(WARN_SECONDS, self.warn)

    def stopService(self) -> None:
        """Follow it no longer."""
        super().stopService()
        for loop in self._loops:
            loop.stop()
        self._loops.clear()

    async def _take_over(self, stored: Sequence[StoredKey]) -> None:
        fault = await self._read_masters_again(stored)
        try:
            self.keyring = Keyring.from_stored(stored, *self.masters, known=self.keyring)
        except KeyringFault as error:
            self.keyring = None
            self._complain(
                "keys", f"the organization's keys have changed, and cannot be used: {fault or error}"
            )
            return
        self._complain("keys", None)
        self._tell_of_file(fault)
        self._stored = stored
        self._log.info("the organization's keys have changed", event="keys_changed")
        await self.database.run(keys.erase_retired, KEEP_DAYS)

    async def _read_masters_again(self, stored: Sequence[StoredKey]) -> KeyringFault | None:
        """Read ``organization.key`` anew, and give what would let the next start fail with it.

        What is wrong with it does not take away what was read before.
        """
        try:
            found = await deferToThread(self.read_masters)
            self.masters = tuple(dict.fromkeys((*found, *self.masters)))
            choose_master(stored, found)
        except KeyringFault as fault:
            return fault
        return None

    def _tell_of_file(self, fault: KeyringFault | None) -> None:
        complaint = f"the server goes on, but could not start again: {fault}"
        self._complain("file", None if fault is None else complaint)

    def _complain(self, kind: str, complaint: str | None) -> None:
        """Log a complaint, unless the last one of its kind was the same; ``None`` settles it."""
        if complaint is None:
            self._complaints.pop(kind, None)
        elif self._complaints.get(kind) != complaint:
            self._complaints[kind] = complaint
            self._log.critical("{complaint}", complaint=complaint, event="keys_faulty")

    def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        loop = LoopingCall(lambda: ensureDeferred(self._guard(work)))
        loop.clock = self.reactor
        loop.start(seconds).addErrback(self._broken)
        self._loops.append(loop)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Let nothing stop the loops: what failed is tried again at the next turn."""
        try:
            await work()
        except ServerUnavailable:
            return
        except Exception:
            self._log.failure("the organization's keys could not be looked at")

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the organization's keys are no longer watched", failure)
