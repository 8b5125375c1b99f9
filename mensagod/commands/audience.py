"""Who may use a command: closed by default (spec 04, first paragraph)."""

from enum import Flag, auto

from mensagod.errors import CommandError, Forbidden, LoginRequired, StateMismatch
from mensagod.sessions.who import Member, Operator, PeerServer, Who


class Audience(Flag):
    """The kinds of clients that a command is for; a command is for nobody else."""

    STRANGER = auto()
    """Who is not logged in."""
    MEMBER = auto()
    """Who is logged in to a workspace, the administrator among them."""
    ADMINISTRATOR = auto()
    """Who is logged in as the workspace named ``admin``."""
    SERVER = auto()
    """The server of another organization that has proved itself."""
    OPERATOR = auto()
    """Whoever may open the operator's socket on this machine."""

    CLIENTS = STRANGER | MEMBER
    """Every client, logged in or not."""
    EVERYBODY = CLIENTS | SERVER | OPERATOR
    """Everybody."""


def audience_of(who: Who) -> Audience:
    """Tell as what somebody asks for a command."""
    match who:
        case Member():
            return Audience.MEMBER | Audience.ADMINISTRATOR if who.is_admin else Audience.MEMBER
        case PeerServer():
            return Audience.SERVER
        case Operator():
            return Audience.OPERATOR
    return Audience.STRANGER


def admit(audience: Audience, who: Who) -> None:
    """Let somebody by who may use a command for this audience.

    :raises LoginRequired: to a stranger, where one must be somebody.
    :raises StateMismatch: to whoever is somebody, where only strangers are meant: at a second login.
    :raises Forbidden: to everybody else.
    """
    asking = audience_of(who)
    if not audience & asking:
        raise _refusal(audience, asking)


def _refusal(audience: Audience, asking: Audience) -> CommandError:
    if asking is Audience.STRANGER:
        return LoginRequired()
    if audience is Audience.STRANGER:
        return StateMismatch()
    if Audience.ADMINISTRATOR in audience:
        return Forbidden("Only the administrator may do this")
    return Forbidden("This command is not for you")
