"""Who is at the other end of a connection, and what limits of size and silence that brings (spec 01)."""

from typing import ClassVar, TypeAlias
from uuid import UUID

from attrs import define, field, frozen

from mensagod.config import Config
from mensagod.sessions.login import Login
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from mensagod.values.paths import ServerPath

MAX_MESSAGE: int = 26_000_000
"""The largest message of a logged-in session, in bytes (spec 01, *Frames*)."""

MAX_SERVER_MESSAGE: int = 1_200_000
"""The largest message of another server, in bytes."""

LOOK_SECONDS: int = 30
"""After how many seconds a member looks for changes that no hint told of (spec 06, *Running many*)."""


@frozen
class Stranger:
    """A client that is not logged in.

    :ivar login: how far its login has come.
    """

    login: Login = field(factory=Login)

    def max_message(self, config: Config) -> int:
        """Give the largest message that it may send, in bytes."""
        return config.network.max_request_size or MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give after how many seconds of silence its connection ends; 0 is never."""
        return config.network.login_timeout


@define(eq=False)
class Member:
    """A device of a workspace that is logged in.

    :ivar directory: the current directory.
    :ivar session: the ID of the row that tells other processes of the session.
    :ivar seen: the number of the last update record that this session was told of.
    :ivar stale: whether there may be records after that one.
    :ivar looked: when it was last looked whether there are, in seconds of the reactor.
    :ivar last_event: the number of the newest event at the login; what ended sessions until then does not end
        this one.
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

    def must_look(self, now: float) -> bool:
        """Tell whether to look for changes: there was a hint, or none for so long that one may be lost."""
        return self.stale or now - self.looked >= LOOK_SECONDS

    def max_message(self, config: Config) -> int:
        """Give the largest message that it may send, in bytes."""
        return MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give after how many seconds of silence its connection ends; 0 is never."""
        return config.network.idle_timeout


@frozen
class PeerServer:
    """The server of another organization that has proved itself (spec 05, *Server to server*)."""

    domain: Domain

    def max_message(self, config: Config) -> int:
        """Give the largest message that it may send, in bytes."""
        return MAX_SERVER_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give after how many seconds of silence its connection ends; 0 is never."""
        return config.network.idle_timeout


@frozen
class Operator:
    """Whoever may open the operator's socket on this machine."""

    NEVER: ClassVar[int] = 0

    def max_message(self, config: Config) -> int:
        """Give the largest message that it may send, in bytes."""
        return MAX_MESSAGE

    def idle_timeout(self, config: Config) -> int:
        """Give after how many seconds of silence its connection ends; 0 is never."""
        return self.NEVER


Who: TypeAlias = Stranger | Member | PeerServer | Operator
