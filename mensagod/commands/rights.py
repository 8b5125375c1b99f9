"""Who may do what with a path (spec 04, *Files*): decided by its elements, never by a string prefix."""

from enum import Flag, auto

from mensagod.errors import Forbidden
from mensagod.sessions.session import Member
from mensagod.values.paths import ServerPath


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


def require(right: Right, path: ServerPath, member: Member, admin_file_access: bool) -> None:
    """Refuse what ``member`` has no right to do, whether or not there is anything at ``path``.

    :param admin_file_access: whether the administrator has rights in others' workspaces.
    :raises Forbidden: if so.
    """
    owner = path.workspace
    own = owner == member.workspace
    if owner is None or path.area is None or not (own or (member.is_admin and admin_file_access)):
        raise Forbidden("No right to this path")
    if right not in _RIGHTS.get(path.area, Right(0)):
        raise Forbidden("No right to this path")
