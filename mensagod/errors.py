"""The conditions that a client can hear of, each with its status, and the refusal of a malformed value.

What escapes a command and is not one of these is a fault of the server (spec 01, *Responses*).
"""

from collections.abc import Mapping
from typing import ClassVar

from mensagod.status import Status


class BadValue(ValueError):
    """A text is not of the type it should be (spec 02).

    Raised by every parser of a value, with a sentence that says what is wrong and
    never quotes more than a few characters of the input.
    """


class UnsupportedAlgorithm(BadValue):
    """A well-formed CryptoString names an algorithm that is not in the table of spec 02."""


class CommandError(Exception):
    """A condition that ends a command with a status of its own.

    :ivar info: one sentence for the client's ``Info``.
    :ivar data: members for the client's ``Data``.
    :ivar close: whether the connection ends once the answer is sent.
    """

    status: ClassVar[Status]
    default_info: ClassVar[str] = ""

    def __init__(
        self, info: str | None = None, data: Mapping[str, str] | None = None, *, close: bool = False
    ):
        super().__init__(self.default_info if info is None else info)
        self.info = self.default_info if info is None else info
        self.data: Mapping[str, str] = data or {}
        self.close = close


class BadRequest(CommandError):
    """The request is not one that the command can take."""

    status = Status.BAD_REQUEST


class StateMismatch(BadRequest):
    """The command does not fit the state of the session (spec 01, *Multi-step commands*)."""

    default_info = "Session state mismatch"


class AlgorithmNotSupported(CommandError):
    """A value names an algorithm that the server does not know; Info lists what it knows."""

    status = Status.ALGORITHM_NOT_SUPPORTED


class LoginRequired(CommandError):
    """The command needs a login."""

    status = Status.UNAUTHORIZED
    default_info = "Login required"


class Unauthorized(CommandError):
    """A proof of identity failed."""

    status = Status.UNAUTHORIZED


class AuthenticationFailure(CommandError):
    """The password is wrong."""

    status = Status.AUTHENTICATION_FAILURE


class Forbidden(CommandError):
    """The session has no right to do this."""

    status = Status.FORBIDDEN


class NotFound(CommandError):
    """What the command names does not exist."""

    status = Status.NOT_FOUND


class Terminated(CommandError):
    """Too many faults: the connection ends."""

    status = Status.TERMINATED

    def __init__(self, info: str | None = None, data: Mapping[str, str] | None = None):
        super().__init__(info, data, close=True)


class ResourceExists(CommandError):
    """What the command would make is there already."""

    status = Status.RESOURCE_EXISTS


class QuotaExceeded(CommandError):
    """The workspace has no room for this."""

    status = Status.QUOTA_INSUFFICIENT
    default_info = "Workspace quota exceeded"


class LimitReached(CommandError):
    """The request goes over a limit of size or rate."""

    status = Status.LIMIT_REACHED


class KeyFailure(CommandError):
    """The challenge does not open."""

    status = Status.KEY_FAILURE


class ServerUnavailable(CommandError):
    """The server cannot do this now; the same request may succeed later."""

    status = Status.SERVER_UNAVAILABLE
    default_info = "The server is temporarily unavailable"


class NotImplementedHere(CommandError):
    """The server does not offer this."""

    status = Status.NOT_IMPLEMENTED
