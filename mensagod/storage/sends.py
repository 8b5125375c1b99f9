"""How many messages a device hands in (spec 04, *Sending*)."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from mensagod.errors import LimitReached
from mensagod.storage import windows
from mensagod.storage.rows import Transaction, changed, maybe
from mensagod.storage.windows import Window
from mensagod.values.identity import DeviceID, WorkspaceID

SEND_WINDOW: Final = Window(timedelta(seconds=60), 60)
"""Over how long messages are counted, in seconds: a message counts for 60 to 61 seconds."""


class TooManyMessages(LimitReached):
    """The device has handed in as many messages as it may.

    :ivar seconds: how soon it may hand in one more; 0 if that is not known.
    """

    def __init__(self, limit: int, seconds: float = 0.0):
        super().__init__(f"At most {limit} messages a minute")
        self.seconds = seconds


_FIRST = (
    "INSERT INTO device_sends AS known (workspace, device, since, counts, message)"
    " SELECT workspace, id, now(), ARRAY[1], %(id)s FROM devices"
    " WHERE workspace = %(sender)s AND id = %(device)s"
)
_HAS_NO_QUOTA = " AND NOT EXISTS (SELECT FROM mailboxes WHERE workspace = %(sender)s AND quota > 0)"
_SET = (
    " ON CONFLICT (workspace, device) DO UPDATE"
    " SET (since, counts, message) = (SELECT since, counted, excluded.message FROM "
)
_IF_LESS = ") WHERE (SELECT total FROM "
_NEXT = _SET + windows.MOVED + _IF_LESS + windows.MOVED + ") < %(rate)s"

COUNT_SEND: Final = _FIRST + _NEXT
"""Changes no row if the device has handed in as many messages as it may."""

COUNT_SEND_WITHOUT_QUOTA: Final = _FIRST + _HAS_NO_QUOTA + _NEXT
"""Like :data:`COUNT_SEND`, but changes no row either if the workspace has a quota."""

IS_COUNTED: Final = (
    " FROM device_sends WHERE workspace = %(sender)s AND device = %(device)s AND message = %(id)s"
)
"""Gives one row after a statement that has counted the message, and none after one that has not."""


def send_parameters(rate: int) -> dict[str, object]:
    """Give what the statements here name beside the columns of a message.

    :param rate: messages within any 60 seconds, at least 1.
    """
    return SEND_WINDOW.parameters | {"rate": rate}


def note_send(txn: Transaction, workspace: WorkspaceID, device: DeviceID, message: UUID, limit: int) -> None:
    """Count a message that a device hands in.

    :param limit: messages within any 60 seconds; 0 is no limit.
    :raises TooManyMessages: if it has handed in as many already.
    """
    if not limit:
        return
    named = {"sender": workspace.uuid, "device": device.uuid, "id": message}
    txn.execute(COUNT_SEND, named | send_parameters(limit))
    if not changed(txn):
        raise TooManyMessages(limit, _seconds_until_room(txn, workspace, device, limit))


def _seconds_until_room(txn: Transaction, workspace: WorkspaceID, device: DeviceID, limit: int) -> float:
    txn.execute(
        "SELECT counts, extract(epoch FROM now() - since) AS age FROM device_sends"
        " WHERE workspace = %s AND device = %s",
        (workspace.uuid, device.uuid),
    )
    seconds = maybe(lambda row: SEND_WINDOW.seconds_until_less(row.counts, float(row.age), limit), txn)
    # There is no row if the device was removed meanwhile, which ends its sessions.
    return 0.0 if seconds is None else seconds
