"""The parts of a running server, by what is needed of each to do what the server does.

The parts themselves stand higher up, or need a database and threads, for which the fakes of the tests stand
in. Both provide the interfaces here, which the type checker makes sure of.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import PasswordHasher
from mensagod.errors import ServerUnavailable
from mensagod.operations.limits import Limits
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import Keyring
from mensagod.storage.interfaces import IMailboxStore, Interactions
from mensagod.storage.keycards import Extent, StoredEntry
from mensagod.threads.interfaces import FairThreads
from mensagod.values.identity import Domain, WorkspaceID


class IDatabase(Interactions, Protocol):
    """Interactions with the database, see :class:`mensagod.storage.database.Database`."""

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked."""


class IDelivery(Protocol):
    """The delivery of messages, see :class:`mensagod.delivery.service.DeliveryService`."""

    def wake(self) -> None:
        """Look at the queue soon: something was put there."""


class IKeys(Protocol):
    """The organization's keys, followed and changed, see :class:`mensagod.organization.watch.KeyWatch`.

    :ivar keyring: what the process works with; ``None`` until it is loaded, and while there is none that may
        be used.
    """

    keyring: Keyring | None

    async def refresh(self) -> None:
        """Take over what has changed in the database."""

    async def apply(self, step: ReplacementStep, expected: CryptoString) -> Replacement:
        """Rotate or revoke here, and work with the new keys at once."""


class IFollower(Protocol):
    """What changes cards, see :class:`mensagod.sharing.follower.ChangeWatch`."""

    def tell(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Tell at once of a change that this process made itself."""


class IResolver(Protocol):
    """Finds keycards, see :class:`mensagod.operations.resolver.LocalResolver`."""

    async def is_in(self, workspace: WorkspaceID, domain: Domain | None) -> bool:
        """Tell whether a workspace is registered, not archived, and in a domain."""

    async def current(self, owner: WorkspaceID) -> StoredEntry | None:
        """Give the newest entry of a card, if it has any."""

    async def excerpt(
        self, owner: WorkspaceID, start: int, end: int | None
    ) -> Sequence[StoredEntry] | Extent | None:
        """Give entries of a card, or how much they are if the card is large; ``None`` if there are none."""

    def texts(self, owner: WorkspaceID, extent: Extent) -> AsyncIterator[str]:
        """Read the texts of many entries, a few at a time."""


@define(eq=False)
class Parts:
    """The parts of a running server, as operations see them.

    :ivar config: replaced as a whole when it is read again.
    :ivar files: threads for work on the store.
    :ivar password_checks: threads for the passwords of those who have an account, and for the administrator.
    :ivar code_checks: threads for strangers' codes, so that they cannot starve logins.
    :ivar keys: follows the organization's keys, and changes them.
    :ivar follower: tells of cards that other processes changed.
    :ivar resolver: finds the cards of our own domains.
    :ivar limits: what this process remembers of limits.
    """

    reactor: IReactorTime
    config: Config
    database: IDatabase
    store: IMailboxStore
    files: FairThreads
    password_checks: FairThreads
    code_checks: FairThreads
    delivery: IDelivery
    keys: IKeys
    follower: IFollower
    resolver: IResolver
    limits: Limits

    @property
    def ready(self) -> bool:
        """Whether clients can be served now."""
        return self.keys.keyring is not None and self.database.available

    @property
    def keyring(self) -> Keyring:
        """The organization's keys.

        :raises ServerUnavailable: until they are loaded, and while there are none that may be used.
        """
        if self.keys.keyring is None:
            raise ServerUnavailable
        return self.keys.keyring

    @property
    def domain(self) -> Domain:
        """The main domain."""
        return self.config.global_.domain

    def is_local(self, domain: Domain) -> bool:
        """Tell whether a domain is served here."""
        return domain in self.config.global_.domains

    @property
    def hasher(self) -> PasswordHasher:
        """What turns passwords into what is stored; its methods belong into threads."""
        security = self.config.security
        return PasswordHasher(security.argon2_memory, security.argon2_time, security.argon2_parallelism)
