"""Audiences: which kinds of clients may use a command (spec 04, first paragraph)."""

from enum import Flag, auto

from mensagod.errors import CommandError, Forbidden, LoginRequired, StateMismatch
from mensagod.sessions.who import Member, Operator, PeerServer, Who


class Audience(Flag):
    """A set of kinds of clients. A command must name its audience; all other clients are refused."""

    STRANGER = auto()
    """Clients that are not logged in."""
    MEMBER = auto()
    """Clients that are logged in to a workspace, including the administrator."""
    ADMINISTRATOR = auto()
    """Clients that are logged in to the workspace named ``admin``."""
    SERVER = auto()
    """Authenticated servers of other organizations."""
    OPERATOR = auto()
    """The operator, on the operator's Unix socket."""

    CLIENTS = STRANGER | MEMBER
    """Strangers and members."""
    EVERYBODY = CLIENTS | SERVER | OPERATOR
    """All kinds of clients."""


def audience_of(who: Who) -> Audience:
    """Give the audience that a client belongs to."""
    match who:
        case Member():
            return Audience.MEMBER | Audience.ADMINISTRATOR if who.is_admin else Audience.MEMBER
        case PeerServer():
            return Audience.SERVER
        case Operator():
            return Audience.OPERATOR
    return Audience.STRANGER


def admit(audience: Audience, who: Who) -> None:
    """Return if a client belongs to the audience of a command.

    :raises LoginRequired: if the client is a stranger.
    :raises StateMismatch: if the command is only for strangers, as in a second login.
    :raises Forbidden: in all other cases.
    """
    client = audience_of(who)
    if not audience & client:
        raise _refusal(audience, client)


def _refusal(audience: Audience, client: Audience) -> CommandError:
    if client is Audience.STRANGER:
        return LoginRequired()
    if audience is Audience.STRANGER:
        return StateMismatch()
    if Audience.ADMINISTRATOR in audience:
        return Forbidden("Only the administrator may do this")
    return Forbidden("This command is not for you")
