"""What can become of a message that is on its way (spec 05, *The queue*)."""

from typing import ClassVar

from mensagod.wire.status import Status


class DeliveryError(Exception):
    """A message was not delivered.

    :cvar status: the code in the report to its sender.
    :cvar final: whether trying again is of no use.
    """

    status: ClassVar[Status]
    final: ClassVar[bool] = True


class UnreadableReceiver(DeliveryError):
    """The receiver part does not open."""

    status = Status.UNREADABLE_RECIPIENT_ADDRESS


class BadRecipient(DeliveryError):
    """The address is malformed or not in that domain, or the sender's domain is not the sender's."""

    status = Status.BAD_RECIPIENT_ADDRESS


class NoSuchRecipient(DeliveryError):
    """No such workspace, or one that is archived, pending or preregistered."""

    status = Status.ADDRESS_NOT_FOUND


class Refused(DeliveryError):
    """The recipient is disabled, suspended or unpaid, or the message is of a kind that only servers send."""

    status = Status.DELIVERY_REFUSED


class MailboxFull(DeliveryError):
    """The recipient's workspace has no room."""

    status = Status.QUOTA_INSUFFICIENT


class Unreachable(DeliveryError):
    """The way to the domain is closed for now."""

    status = Status.DESTINATION_CURRENTLY_UNAVAILABLE
    final = False


class OwnFault(DeliveryError):
    """Something went wrong here."""

    status = Status.INTERNAL_SERVER_ERROR
    final = False
