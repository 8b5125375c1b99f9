"""What all sessions of one server process share."""

from typing import Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from mensagod.commands.interfaces import ICommand
from mensagod.config import Config
from mensagod.crypto.passwords import PasswordHasher
from mensagod.delivery.service import DeliveryService
from mensagod.errors import ServerUnavailable
from mensagod.operations.resolver import LocalResolver
from mensagod.organization.keyring import Keyring
from mensagod.organization.watch import KeyWatch
from mensagod.sessions.live import LiveSessions
from mensagod.sharing.follower import Follower
from mensagod.storage.database import Database
from mensagod.storage.interfaces import IMailboxStore
from mensagod.threads.pool import Crew
from mensagod.values.identity import Domain


class Commands(Protocol):
    """The commands that sessions may ask for."""

    def find(self, action: str) -> ICommand:
        """Give the command of this name; :class:`mensagod.errors.BadRequest` if there is none."""


@define(eq=False)
class Server:
    """The parts of a running server, as commands see them.

    :ivar config: replaced as a whole when it is read again.
    :ivar files: threads for work on the store.
    :ivar password_checks: threads for the passwords of those who have an account, and for the administrator.
    :ivar code_checks: threads for strangers' codes, so that they cannot starve logins.
    :ivar keys: follows the organization's keys, and changes them.
    :ivar changes: tells of what other processes changed.
    :ivar resolver: finds the cards of our own domains.
    """

    reactor: IReactorTime
    config: Config
    database: Database
    store: IMailboxStore
    files: Crew
    password_checks: Crew
    code_checks: Crew
    commands: Commands
    sessions: LiveSessions
    delivery: DeliveryService
    keys: KeyWatch
    changes: Follower
    resolver: LocalResolver

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

    @keyring.setter
    def keyring(self, keyring: Keyring) -> None:
        self.keys.keyring = keyring

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
