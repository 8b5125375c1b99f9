"""What can become of a message that a route was given (spec 05, *The queue*)."""

from typing import ClassVar, TypeAlias

from attrs import frozen

from mensagod.status import Status
from mensagod.values.identity import WorkspaceID


@frozen
class Delivered:
    """The message has arrived, and the route has taken it out of the queue.

    :ivar workspace: where it has arrived, if that is one of ours.
    """

    workspace: WorkspaceID | None = None


@frozen
class MailboxHeld:
    """Another transaction has locked the recipient's mailbox: worth another try in a moment."""


class DeliveryError(Exception):
    """A message was not delivered; its file is where it was before.

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
    """The domain cannot be reached for now."""

    status = Status.DESTINATION_CURRENTLY_UNAVAILABLE
    final = False


class OwnFault(DeliveryError):
    """Something went wrong here."""

    status = Status.INTERNAL_SERVER_ERROR
    final = False


Result: TypeAlias = Delivered | MailboxHeld | Exception
"""The result of one try to deliver one message.

Of the exceptions, :class:`DeliveryError` tells what to report, :class:`mensagod.storage.queue.Overtaken` that
another worker has the message now, and :class:`mensagod.errors.ServerUnavailable` that nothing could be done.
Any other is a fault of ours.
"""
