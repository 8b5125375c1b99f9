"""Access rights to paths (spec 04, *Files*), decided by path elements, never by a string prefix."""

from enum import Flag, auto
from typing import Protocol

from mensagod.errors import Forbidden
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath


class Actor(Protocol):
    """The member that accesses a path."""

    @property
    def workspace(self) -> WorkspaceID:
        """The member's own workspace."""

    @property
    def is_admin(self) -> bool:
        """Whether the member is the administrator."""


class Right(Flag):
    """The rights that a member can have in an area of a workspace."""

    LIST = auto()
    EXISTS = auto()
    DOWNLOAD = auto()
    DELETE = auto()
    SELECT = auto()
    CHANGE = auto()


_RIGHTS = {
    "wsp": Right.LIST | Right.EXISTS | Right.DOWNLOAD | Right.DELETE | Right.SELECT | Right.CHANGE,
    "keys": Right.LIST | Right.EXISTS | Right.DOWNLOAD | Right.DELETE,
    "out": Right.LIST | Right.DELETE,
}


def require(right: Right, path: ServerPath, actor: Actor, *, admin_file_access: bool) -> None:
    """Check that ``actor`` has a right to ``path``, whether or not the path exists.

    :param admin_file_access: whether the administrator also has rights in other workspaces.
    :raises Forbidden: if ``actor`` does not have the right.
    """
    owner = path.workspace
    own = owner == actor.workspace
    if owner is None or path.area is None or not (own or (actor.is_admin and admin_file_access)):
        raise Forbidden("No right to this path")
    if right not in _RIGHTS.get(path.area, Right(0)):
        raise Forbidden("No right to this path")
