"""The organization's keys in a running server (spec 03, *The server's duties*).

The server reloads the keys when the follower reports a change. It also reads them periodically, because no
change is reported when an old key is erased (:mod:`mensagod.organization.retention`).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.errors import ServerUnavailable
from mensagod.lifecycle.periodic import Periodic
from mensagod.organization import keycard
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import Keyring, KeyringFault, choose_master
from mensagod.sharing.follower import Follower
from mensagod.storage import keys
from mensagod.storage.database import Database
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.keys import StoredKey
from mensagod.threads.lock import Lock
from mensagod.values.identity import WorkspaceID

REFRESH_SECONDS = 15
"""The interval in seconds at which the stored keys are read without a reported change."""

RETRY_SECONDS = 0.5
"""The interval in seconds at which they are read while reading fails, or while there are no usable keys."""

WARN_SECONDS = 24 * 3600
"""The interval in seconds at which the expiry of the organization's entry is checked."""


@define(eq=False)
class KeyWatch(Service):
    """Keeps the keys of one process equal to those in the database.

    :ivar changes: reports changes of the organization's card or keys, and is told of those that this process
        makes.
    :ivar masters: the present key in ``organization.key``, and those that it contained since the start.
    :ivar read_masters: reads ``organization.key``; blocks, and raises :class:`KeyringFault` if it cannot be
        used.
    :ivar keyring: the keys in use; ``None`` until they are loaded, and while there are no usable ones.
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
    _turn: Lock = field(factory=Lock, init=False)
    _following: Periodic = field(init=False)
    _warning: Periodic = field(init=False)

    _log = Logger(namespace="mensagod.keys")

    def __attrs_post_init__(self) -> None:
        complaint = "the organization's keys cannot be read from the database"
        self._following = Periodic(self.reactor, RETRY_SECONDS, self._follow, complaint)
        self._warning = Periodic(self.reactor, WARN_SECONDS, self.warn, complaint)
        self.changes.watch(self._hear)

    async def load(self) -> None:
        """Load the keys for the first time.

        :raises KeyringFault: if ``organization.key`` does not decrypt them.
        """
        stored = await self.database.read(keys.usable_keys)
        self.keyring, self._stored = Keyring.from_stored(stored, *self.masters), stored

    async def refresh(self) -> None:
        """Reload the keys if they have changed in the database.

        Sessions continue. If the current keys cannot be decrypted, the old ones are no longer used, and
        clients are answered 303 until the right ``organization.key`` is there.
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
        """Rotate or revoke the keys from this process, and use the new ones at once.

        If the database becomes unavailable after the commit, the change still succeeds.

        :param step: :func:`mensagod.organization.keycard.rotate` or ``revoke``; their exceptions are passed
            on.
        :param expected: the hash of the entry that the caller saw as the current one.
        """
        now = datetime.now(UTC)
        try:
            change = await self.database.run(step, self.masters, expected, now)
        finally:
            # Also after a failure: another process may have made a change, or the commit may have succeeded.
            self.changes.tell(frozenset({ORGANIZATION}))
        await self._following.run()
        return change

    async def warn(self) -> None:
        """Warn the operator if the entry expires soon, or if ``organization.key`` cannot be used; daily."""
        entry = await self.database.read(keycard.current_entry)
        warning = keycard.expiry_warning(entry, datetime.now(UTC))
        if warning is not None:
            days = keycard.days_left(entry, datetime.now(UTC))
            self._log.warn("{text}", text=warning, event="organization_expires", days=days)
        fault = await self._read_masters_again(self._stored)
        if self.keyring is not None:
            self._tell_of_file(fault)

    def startService(self) -> None:
        """Start to follow the database; the keys must be loaded."""
        super().startService()
        self._following.startService()
        self._warning.startService()

    def stopService(self) -> None:
        """Stop to follow the database."""
        super().stopService()
        self._following.stopService()
        self._warning.stopService()

    def _hear(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Read the stored keys if the organization's card or keys may have changed."""
        if owners is None or ORGANIZATION in owners:
            self._is_behind = True
            if self.running:
                Deferred.fromCoroutine(self._following.run())

    async def _follow(self) -> None:
        """Read the stored keys if a change was reported, if the interval is over, or if there are none."""
        async with self._turn:
            is_due = self.reactor.seconds() - self._looked >= REFRESH_SECONDS
            if self._is_behind or is_due or self.keyring is None:
                await self._refresh()

    async def _refresh(self) -> None:
        # Cleared before reading: a change that is reported meanwhile may not be in what is read.
        self._is_behind = False
        self._readings += 1
        try:
            stored = await self.database.read(keys.usable_keys)
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
                "keys",
                f"the organization's keys in the database have changed and cannot be used: {fault or error}",
            )
            return
        self._complain("keys", None)
        self._tell_of_file(fault)
        self._stored = stored
        self._log.info("the organization's keys have changed", event="keys_changed")

    async def _read_masters_again(self, stored: Sequence[StoredKey]) -> KeyringFault | None:
        """Read ``organization.key`` again, and give the fault with which the next start would fail.

        After a fault, the keys that were read before stay in use.
        """
        try:
            found = await deferToThread(self.read_masters)
            self.masters = tuple(dict.fromkeys((*found, *self.masters)))
            choose_master(stored, found)
        except KeyringFault as fault:
            return fault
        return None

    def _tell_of_file(self, fault: KeyringFault | None) -> None:
        complaint = f"the server keeps running, but its next start would fail: {fault}"
        self._complain("file", None if fault is None else complaint)

    def _complain(self, kind: str, complaint: str | None) -> None:
        """Log a complaint, unless it repeats the last one of its kind; ``None`` if there is none any more."""
        if complaint is None:
            self._complaints.pop(kind, None)
        elif self._complaints.get(kind) != complaint:
            self._complaints[kind] = complaint
            self._log.critical("{complaint}", complaint=complaint, event="keys_faulty")
