"""The kinds of clients, with their limits of message size and idle time (spec 01)."""

from typing import ClassVar, TypeAlias
from uuid import UUID

from attrs import define, frozen

from mensagod.config import Config
from mensagod.sessions.login import Login
from mensagod.storage.sessions import SessionKey
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import ServerPath

MAX_MESSAGE: int = 26_000_000
"""The largest message that a member may send, in bytes (spec 01, *Frames*)."""

MAX_SERVER_MESSAGE: int = 1_200_000
"""The largest message that a peer server may send, in bytes."""

LOOK_SECONDS: int = 30
"""After how many seconds a member looks for changes that no hint told of (spec 06, *Running many*)."""


_FRESH = Login()


@frozen
class Stranger:
    """A client that is not logged in.

    :ivar login: its login in progress.
    """

    login: Login = _FRESH

    def max_message(self, config: Config) -> int:
        """Give the largest message that the client may send, in bytes."""
        return config.network.max_request_size or MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give the idle time in seconds after which the connection is closed; 0 means never."""
        return config.network.login_timeout


@define(eq=False)
class Member:
    """A client that is logged in: a device of a workspace.

    :ivar directory: the current directory.
    :ivar session: the ID of the session's row in the database.
    :ivar seen: the number of the last update record that the client was told of.
    :ivar stale: whether there may be update records after that one.
    :ivar looked: when the database was last asked for such records, in seconds of the reactor.
    :ivar last_event: the number of the newest event at the login; events up to it do not end this session.
    """

    workspace: WorkspaceID
    domain: Domain
    device: DeviceID
    is_admin: bool
    directory: ServerPath
    session: UUID
    seen: int = 0
    stale: bool = False
    looked: float = 0.0
    last_event: int = 0

    @property
    def row(self) -> SessionKey:
        """The key of the session's row in the database."""
        return (self.workspace, self.session)

    def must_look(self, now: float) -> bool:
        """Tell whether to look for changes: there was a hint, or none for so long that one may be lost."""
        return self.stale or now - self.looked >= LOOK_SECONDS

    def max_message(self, config: Config) -> int:
        """Give the largest message that the client may send, in bytes."""
        return MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give the idle time in seconds after which the connection is closed; 0 means never."""
        return config.network.idle_timeout


@frozen
class PeerServer:
    """The authenticated server of another organization (spec 05, *Server to server*)."""

    domain: Domain

    def max_message(self, config: Config) -> int:
        """Give the largest message that the client may send, in bytes."""
        return MAX_SERVER_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give the idle time in seconds after which the connection is closed; 0 means never."""
        return config.network.idle_timeout


@frozen
class Operator:
    """The operator: a client on the operator's Unix socket."""

    NEVER: ClassVar[int] = 0

    def max_message(self, config: Config) -> int:
        """Give the largest message that the client may send, in bytes."""
        return MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give the idle time in seconds after which the connection is closed; 0 means never."""
        return self.NEVER


Who: TypeAlias = Stranger | Member | PeerServer | Operator
