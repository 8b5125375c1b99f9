"""The errors of entries, each with its status (spec 03, *Keycards*)."""

from mensagod.errors import CommandError
from mensagod.status import Status


class KeycardFault(CommandError):
    """The base of the errors of entries; only its subclasses are raised."""


class BadKeycardData(KeycardFault):
    """The text is malformed, a line is not allowed in its place, or a value is not of its type."""

    status = Status.BAD_KEYCARD_DATA


class NoncompliantKeycard(KeycardFault):
    """The entry can be parsed, but a line is missing, a value is out of range, or a hash or link is wrong."""

    status = Status.NONCOMPLIANT_KEYCARD_DATA


class InvalidSignature(KeycardFault):
    """A signature does not verify with the key that should have made it."""

    status = Status.INVALID_SIGNATURE


class RevokedOrganizationKey(InvalidSignature):
    """The organization's signature is genuine, but its key was revoked since (spec 03, *Chain rules*)."""
