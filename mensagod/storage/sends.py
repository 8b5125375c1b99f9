"""How many messages a device hands in (spec 04, *Sending*)."""

from collections.abc import Collection
from datetime import timedelta
from typing import Final, TypeAlias

from mensagod.errors import LimitReached
from mensagod.storage import slots
from mensagod.storage.rows import Transaction, changed, many, maybe
from mensagod.storage.slots import Slots
from mensagod.values.identity import DeviceID, WorkspaceID

SEND_WINDOW: Final = timedelta(seconds=60)
"""Over how long messages are counted."""

Device: TypeAlias = tuple[WorkspaceID, DeviceID]
"""A device, and the workspace that it belongs to."""


class TooManyMessages(LimitReached):
    """The device has handed in as many messages as it may.

    :ivar seconds: how soon it may hand in one more; 0 if that is not known.
    """

    def __init__(self, limit: int, seconds: float = 0.0):
        super().__init__(f"At most {limit} messages a minute")
        self.seconds = seconds


_FIRST_OR_NEXT = (
    "INSERT INTO device_sends AS known (workspace, device, slot, used, times)"
    " SELECT workspace, id, 1, 1, ARRAY[now()] FROM devices WHERE workspace = %(sender)s AND id = %(device)s"
    " ON CONFLICT (workspace, device) DO "
)
_TAKE = " SET slot = " + slots.SLOT + ", used = " + slots.USED + ", times = " + slots.TIMES
_COUNT_FIRST_OR_NEXT = _FIRST_OR_NEXT + "UPDATE" + _TAKE + " WHERE " + slots.FITS
_COUNT_NEXT = (
    "UPDATE device_sends AS known"
    + _TAKE
    + " FROM unnest(%(senders)s::uuid[], %(devices)s::uuid[]) AS sending (workspace, device)"
    " WHERE known.workspace = sending.workspace AND known.device = sending.device AND "
    + slots.FITS
    + " RETURNING known.workspace, known.device"
)


def note_sends(txn: Transaction, devices: Collection[Device], limit: int) -> set[Device]:
    """Count one message of each of several devices, if it has sent one before and has not reached its limit.

    :param limit: messages within any 60 seconds, at least 1.
    :returns: the devices whose messages were counted.
    """
    named: dict[str, object] = {
        "senders": [workspace.uuid for workspace, _ in devices],
        "devices": [device.uuid for _, device in devices],
    }
    txn.execute(_COUNT_NEXT, named | Slots(limit, SEND_WINDOW).parameters)
    return set(many(lambda row: (WorkspaceID(row.workspace), DeviceID(row.device)), txn))


def note_send(txn: Transaction, sender: Device, limit: int) -> None:
    """Count one message of a device.

    :param limit: messages within any 60 seconds, at least 1.
    :raises TooManyMessages: if it has sent as many already.
    """
    workspace, device = sender
    named: dict[str, object] = {"sender": workspace.uuid, "device": device.uuid}
    txn.execute(_COUNT_FIRST_OR_NEXT, named | Slots(limit, SEND_WINDOW).parameters)
    if not changed(txn):
        raise TooManyMessages(limit, _seconds_until_room(txn, workspace, device, limit))


def _seconds_until_room(txn: Transaction, workspace: WorkspaceID, device: DeviceID, limit: int) -> float:
    """Tell how soon the next slot can be taken.

    There is no row if the device was removed meanwhile, which ends its sessions.
    """
    txn.execute(
        "SELECT extract(epoch FROM times[slot %% %(slots)s + 1] + %(window)s - now()) AS seconds"
        " FROM device_sends WHERE workspace = %(sender)s AND device = %(device)s",
        Slots(limit, SEND_WINDOW).parameters | {"sender": workspace.uuid, "device": device.uuid},
    )
    return maybe(lambda row: float(row.seconds), txn) or 0.0
