"""How many messages a device hands in (spec 04, *Sending*)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from mensagod.errors import LimitReached
from mensagod.storage import slots
from mensagod.storage.rows import Transaction, changed, maybe
from mensagod.storage.slots import Slots
from mensagod.values.identity import DeviceID, WorkspaceID

SEND_WINDOW: Final = timedelta(seconds=60)
"""Over how long messages are counted."""


class TooManyMessages(LimitReached):
    """The device has handed in as many messages as it may.

    :ivar seconds: how soon it may hand in one more; 0 if that is not known.
    """

    def __init__(self, limit: int, seconds: float = 0.0):
        super().__init__(f"At most {limit} messages a minute")
        self.seconds = seconds


_FIRST = (
    "INSERT INTO device_sends AS known (workspace, device, slot, used, times, message)"
    " SELECT workspace, id, 1, 1, ARRAY[now()], %(id)s FROM devices"
    " WHERE workspace = %(sender)s AND id = %(device)s"
    " ON CONFLICT (workspace, device) DO "
)
_TAKE = (
    " SET slot = " + slots.SLOT + ", used = " + slots.USED + ", times = " + slots.TIMES + ", message = %(id)s"
)
_COUNT_FIRST_OR_NEXT = _FIRST + "UPDATE" + _TAKE + " WHERE " + slots.FITS

_KNOWN = "UPDATE device_sends AS known"
_OF_DEVICE = (
    " WHERE workspace = %(sender)s AND device = %(device)s"
    " AND NOT EXISTS (SELECT FROM mailboxes WHERE workspace = %(sender)s AND quota > 0) AND "
)
COUNT_NEXT: Final = _KNOWN + _TAKE + _OF_DEVICE + slots.FITS
"""Changes no row for the first message of a device, for one too many, and if the workspace has a quota."""

IS_COUNTED: Final = (
    " FROM device_sends WHERE workspace = %(sender)s AND device = %(device)s AND message = %(id)s"
)
"""Gives one row after a statement that has counted the message, and none after one that has not."""


def send_parameters(rate: int) -> dict[str, object]:
    """Give what the statements here name beside the columns of a message.

    :param rate: messages within any 60 seconds, at least 1.
    """
    return Slots(rate, SEND_WINDOW).parameters


def note_send(txn: Transaction, workspace: WorkspaceID, device: DeviceID, message: UUID, limit: int) -> None:
    """Count a message that a device hands in.

    :param limit: messages within any 60 seconds; 0 is no limit.
    :raises TooManyMessages: if it has handed in as many already.
    """
    if not limit:
        return
    named = {"sender": workspace.uuid, "device": device.uuid, "id": message}
    txn.execute(_COUNT_FIRST_OR_NEXT, named | send_parameters(limit))
    if not changed(txn):
        raise TooManyMessages(limit, _seconds_until_room(txn, workspace, device, limit))


def _seconds_until_room(txn: Transaction, workspace: WorkspaceID, device: DeviceID, limit: int) -> float:
    """Tell how soon the next slot can be taken.

    There is no row if the device was removed meanwhile, which ends its sessions.
    """
    txn.execute(
        "SELECT extract(epoch FROM times[slot %% %(slots)s + 1] + %(window)s - now()) AS seconds"
        " FROM device_sends WHERE workspace = %(sender)s AND device = %(device)s",
        send_parameters(limit) | {"sender": workspace.uuid, "device": device.uuid},
    )
    return maybe(lambda row: float(row.seconds), txn) or 0.0
