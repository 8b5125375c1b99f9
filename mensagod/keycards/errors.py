"""The conditions that an entry can raise, each with its status (spec 03, *Keycards*)."""

from mensagod.errors import CommandError
from mensagod.status import Status


class KeycardFault(CommandError):
    """An entry is not what it should be; raised as one of the classes below only."""


class BadKeycardData(KeycardFault):
    """The text cannot be read, a line stands where it must not, or a value is not of its type."""

    status = Status.BAD_KEYCARD_DATA


class NoncompliantKeycard(KeycardFault):
    """The entry is readable, but a line is missing, a value out of its range or a hash or link wrong."""

    status = Status.NONCOMPLIANT_KEYCARD_DATA


class InvalidSignature(KeycardFault):
    """A signature does not verify with the key that should have made it."""

    status = Status.INVALID_SIGNATURE


class RevokedOrganizationKey(InvalidSignature):
    """The organization's signature is genuine, but its key was revoked since (spec 03, *Chain rules*)."""
