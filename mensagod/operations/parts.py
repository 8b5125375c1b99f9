"""The parts of a running server that operations use, each by an interface.

Some parts are in packages above this one, others need a database or threads and are replaced by fakes in
tests. The type checker verifies that both the parts and the fakes provide the interfaces.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from mensagod.config import Config
from mensagod.contents.interfaces import IContentStore
from mensagod.contents.room import Room
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import PasswordHasher
from mensagod.delivery.placing import Accepted, Submission
from mensagod.errors import ServerUnavailable
from mensagod.operations.limits import Limits
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import Keyring
from mensagod.storage.interfaces import Interactions
from mensagod.storage.keycards import Extent, StoredEntry
from mensagod.threads.interfaces import FairThreads
from mensagod.values.identity import Domain, WorkspaceID


class IDatabase(Interactions, Protocol):
    """Interactions with the database, see :class:`mensagod.storage.database.Database`."""

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked."""


class IAcceptor(Protocol):
    """Accepts messages, see :class:`mensagod.delivery.accepting.Acceptor`."""

    async def accept(self, message: Submission) -> Accepted:
        """Accept a message, durably; deliver it at once if that is possible."""


class IKeys(Protocol):
    """The organization's keys, see :class:`mensagod.organization.watch.KeyWatch`.

    :ivar keyring: the keys in use; ``None`` until they are loaded, and while there are none that may be used.
    """

    keyring: Keyring | None

    async def refresh(self) -> None:
        """Load the keys from the database if they have changed."""

    async def newer(self, used: Keyring) -> Keyring | None:
        """Take over what has changed, and give the keyring if it is another one than ``used``."""

    async def apply(self, step: ReplacementStep, expected: CryptoString) -> Replacement:
        """Rotate or revoke the keys; this process uses the new ones at once."""


class IFollower(Protocol):
    """Distributes changes of cards, see :class:`mensagod.sharing.follower.Follower`."""

    def tell(self, owners: frozenset[WorkspaceID] | None) -> None:
        """Report a change that this process made; ``None`` means that any card may have changed."""


class IResolver(Protocol):
    """Finds keycards, see :class:`mensagod.operations.resolver.LocalResolver`."""

    async def is_in(self, workspace: WorkspaceID, domain: Domain | None) -> bool:
        """Tell whether a workspace is registered, not archived, and in a domain."""

    async def current(self, owner: WorkspaceID) -> StoredEntry | None:
        """Give the newest entry of a card, if it has any."""

    async def excerpt(
        self, owner: WorkspaceID, start: int, end: int | None
    ) -> Sequence[StoredEntry] | Extent | None:
        """Give entries of a card, or their extent if the card is large; ``None`` if there are none."""

    def texts(self, owner: WorkspaceID, extent: Extent) -> AsyncIterator[str]:
        """Read the texts of many entries, a few at a time."""


@define(eq=False)
class Parts:
    """The parts of a running server that operations use.

    :ivar config: the configuration; replaced as a whole when it is reloaded.
    :ivar room: the free space of the content store.
    :ivar files: the worker pool for the content store.
    :ivar password_checks: the worker pool for password hashes of existing accounts and of the administrator.
    :ivar code_checks: the worker pool for registration codes of strangers, who thus cannot delay logins.
    :ivar keys: the organization's keys.
    :ivar follower: distributes changes of cards.
    :ivar resolver: finds the cards of the server's domains.
    :ivar limits: what this process remembers of limits that refused somebody.
    """

    reactor: IReactorTime
    config: Config
    database: IDatabase
    store: IContentStore
    room: Room
    files: FairThreads
    password_checks: FairThreads
    code_checks: FairThreads
    acceptor: IAcceptor
    keys: IKeys
    follower: IFollower
    resolver: IResolver
    limits: Limits

    @property
    def ready(self) -> bool:
        """Whether clients can be served now: the keys are loaded, and the database is available."""
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
        """Tell whether a domain is one of the server's."""
        return domain in self.config.global_.domains

    @property
    def hasher(self) -> PasswordHasher:
        """The password hasher with the configured costs; its methods block, so call them in a worker pool."""
        security = self.config.security
        return PasswordHasher(security.argon2_memory, security.argon2_time, security.argon2_parallelism)
