"""Who may do what with a path (spec 04, *Files*): decided by its elements, never by a string prefix."""

from enum import Flag, auto
from typing import Protocol

from mensagod.errors import Forbidden
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import ServerPath


class Actor(Protocol):
    """Who does something with files."""

    @property
    def workspace(self) -> WorkspaceID:
        """Whose they are first of all."""

    @property
    def is_admin(self) -> bool:
        """Whether it is the administrator."""


class Right(Flag):
    """What can be done below a directory."""

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
    """Refuse what ``actor`` has no right to do, whether or not there is anything at ``path``.

    :param admin_file_access: whether the administrator has rights in others' workspaces.
    :raises Forbidden: if so.
    """
    owner = path.workspace
    own = owner == actor.workspace
    if owner is None or path.area is None or not (own or (actor.is_admin and admin_file_access)):
        raise Forbidden("No right to this path")
    if right not in _RIGHTS.get(path.area, Right(0)):
        raise Forbidden("No right to this path")
