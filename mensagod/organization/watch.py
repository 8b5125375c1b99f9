"""The organization's keys in a running server: loaded, followed, watched (spec 03, *The server's duties*).

The follower says when they have changed. They are looked at now and then all the same, for nobody changes
anything on the day on which an old key has to go.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.organization import keycard
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import KEEP_DAYS, Keyring, KeyringFault, choose_master
from mensagod.sharing.follower import Follower
from mensagod.storage import keys
from mensagod.storage.database import Database
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.keys import StoredKey
from mensagod.values.identity import WorkspaceID

REFRESH_SECONDS = 15
"""How often the stored keys are looked at without being told to."""

RETRY_SECONDS = 0.5
"""How often they are looked at while that fails, or while there are none that may be used."""

WARN_SECONDS = 24 * 3600
"""How often the end of the organization's entry is looked at."""


@define(eq=False)
class KeyWatch(Service):
    """Keeps the keys of one process as the database has them.

    :ivar changes: tells that the organization's card or keys changed, and is told when this process changes
        them.
    :ivar masters: the keys that ``organization.key`` has, and those it had since the start.
    :ivar read_masters: reads it again; blocks, and raises :class:`KeyringFault` if it cannot be used.
    :ivar keyring: what the process works with; ``None`` until it is loaded, and while there is none that
        may be used.
    """

    reactor: IReactorTime
    database: Database
    changes: Follower
    masters: tuple[SecretKey, ...] = field(repr=False)
    read_masters: Callable[[], tuple[SecretKey, ...]]
    keyring: Keyring | None = field(default=None, init=False)
    _stored: Sequence[StoredKey] = field(factory=list, init=False)
    _complaints: dict[str, str] = field(factory=dict, init=False)
    _is_behind: bool = field(default=False, init=False)
    _looked: float = field(default=0.0, init=False)
    _readings: int = field(default=0, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _following: Periodic = field(init=False)
    _warning: Periodic = field(init=False)

    _log = Logger(namespace="mensagod.keys")

    def __attrs_post_init__(self) -> None:
        complaint = "the organization's keys could not be looked at"
        self._following = Periodic(self.reactor, RETRY_SECONDS, self._follow, complaint)
        self._warning = Periodic(self.reactor, WARN_SECONDS, self.warn, complaint)
        self.changes.watch(self._hear)

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
            await self._refresh()

    async def newer(self, used: Keyring) -> Keyring | None:
        """Take over what has changed, and give the keyring if it is another one than ``used``.

        It is for who could not open something with ``used``: that may be sealed to a key which another
        process made just now. Whoever asks while others wait shares their reading of the database.

        :raises mensagod.errors.ServerUnavailable: while the database is away, or there are no keys to use.
        """
        known = self._readings
        async with self._turn:
            if self._readings == known:
                await self._refresh()
        if self.keyring is None:
            raise ServerUnavailable
        return None if self.keyring is used else self.keyring

    async def apply(self, step: ReplacementStep, expected: CryptoString) -> Replacement:
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
        await self._following.run()
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
        self._following.startService()
        self._warning.startService()

    def stopService(self) -> None:
        """Follow it no longer."""
        super().stopService()
        self._following.stopService()
        self._warning.stopService()

    def _hear(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Look at the stored keys if they may have changed."""
        if owners is None or ORGANIZATION in owners:
            self._is_behind = True
            if self.running:
                Deferred.fromCoroutine(self._following.run())

    async def _follow(self) -> None:
        """Look at them if there is a reason to."""
        async with self._turn:
            is_due = self.reactor.seconds() - self._looked >= REFRESH_SECONDS
            if self._is_behind or is_due or self.keyring is None:
                await self._refresh()

    async def _refresh(self) -> None:
        # Cleared first: what changes while the keys are read may or may not be among what is read.
        self._is_behind = False
        self._readings += 1
        try:
            stored = await self.database.read(keys.usable_keys, KEEP_DAYS)
            if stored != self._stored or self.keyring is None:
                await self._take_over(stored)
        except BaseException:
            self._is_behind = True
            raise
        self._looked = self.reactor.seconds()

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
