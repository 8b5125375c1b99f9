"""The files of workspaces in the database, which decides which files exist (spec 04, *Files*)."""

from collections import Counter
from collections.abc import Sequence
from uuid import uuid4

from attrs import frozen

from mensagod.storage import folders
from mensagod.storage.contents import Content
from mensagod.storage.listings import Listing
from mensagod.storage.rows import Transaction, many, maybe
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.values.paths import FileName, ServerPath


def list_files(txn: Transaction, directory: ServerPath, since: int, most: int) -> Listing | None:
    """List the first ``most`` names of a directory's files; ``None`` if there is no such directory.

    :param since: Unix seconds; files with an earlier time in their name are left out.
    """
    if directory.workspace is None:
        return None
    txn.execute(
        "SELECT listed.count, listed.names FROM folders, LATERAL ("
        "SELECT count(*) AS count, string_agg(name, ',' ORDER BY name) AS names FROM ("
        "SELECT name FROM files WHERE files.workspace = folders.workspace AND files.folder = folders.id"
        " AND files.time >= %s ORDER BY name LIMIT %s) AS first) AS listed"
        " WHERE folders.workspace = %s AND folders.path = %s",
        (since, most, directory.workspace.uuid, str(directory)),
    )
    return maybe(Listing.from_row, txn)


_FILES = " FROM files JOIN folders ON folders.workspace = files.workspace AND folders.id = files.folder"
_CONTENTS = " JOIN contents ON contents.workspace = files.workspace AND contents.key = files.content"
_AT = " WHERE files.workspace = %(workspace)s AND folders.path = %(directory)s AND files.name = %(name)s"


def file_exists(txn: Transaction, path: ServerPath) -> bool:
    """Tell whether there is a file at ``path``."""
    if path.workspace is None:
        return False
    txn.execute("SELECT 1" + _FILES + _AT, _parameters(path, path.workspace))
    return txn.fetchone() is not None


def find_content(txn: Transaction, path: ServerPath) -> Content | None:
    """Find the content of the file at ``path``."""
    if path.workspace is None:
        return None
    txn.execute(
        "SELECT files.content, contents.size, contents.hash, contents.day, contents.data"
        + _FILES
        + _CONTENTS
        + _AT,
        _parameters(path, path.workspace),
    )
    return maybe(Content.from_row, txn)


def _parameters(path: ServerPath, workspace: WorkspaceID) -> dict[str, object]:
    return {"workspace": workspace.uuid, "directory": str(path.directory), "name": path.name}


@frozen
class Arrival:
    """A content that is to be a file in the ``new`` directory of a workspace."""

    workspace: WorkspaceID
    name: FileName
    content: Content

    @property
    def path(self) -> ServerPath:
        """The path of the file after the delivery."""
        return ServerPath.new_messages(self.workspace).child(self.name)


def place(txn: Transaction, arrivals: Sequence[Arrival], device: DeviceID, *, wait: bool) -> set[WorkspaceID]:
    """Make contents live, with their usage and their update records (spec 05, *Local delivery*).

    The mailboxes are locked in the order of their IDs, until the transaction ends.

    :param device: the device that makes the change.
    :param wait: whether to wait for locked mailboxes; the transaction's ``lock_timeout`` bounds that.
    :returns: the workspaces whose contents are live; all of the others are unchanged: there is no such
        mailbox, it has no room for all of them, or another transaction has locked it and ``wait`` is false.
    """
    outcomes = _place(txn, arrivals, device, wait=wait)
    without_folder = {workspace for workspace, outcome in outcomes.items() if outcome == "no folder"}
    if without_folder:
        for workspace in without_folder:
            folders.ensure_top(txn, workspace)
        left = [arrival for arrival in arrivals if arrival.workspace in without_folder]
        outcomes |= _place(txn, left, device, wait=wait)
    return {workspace for workspace, outcome in outcomes.items() if outcome == "placed"}


def _place(
    txn: Transaction, arrivals: Sequence[Arrival], device: DeviceID, *, wait: bool
) -> dict[WorkspaceID, str]:
    arrivals = sorted(arrivals, key=lambda arrival: arrival.workspace.uuid)
    counts = Counter(arrival.workspace for arrival in arrivals)
    contents = [arrival.content for arrival in arrivals]
    txn.execute(
        "SELECT target, outcome FROM place_arrivals(%s::uuid[], %s::integer[], %s, %s, %s::text[],"
        " %s::bigint[], %s::bigint[], %s::uuid[], %s::date[], %s::bytea[], %s::bytea[], %s::uuid[])",
        (
            [workspace.uuid for workspace in counts],
            list(counts.values()),
            wait,
            device.uuid,
            [arrival.name.text for arrival in arrivals],
            [arrival.name.time for arrival in arrivals],
            [content.size for content in contents],
            [content.id for content in contents],
            [content.day for content in contents],
            [content.hash for content in contents],
            [content.data for content in contents],
            [uuid4() for _ in contents],
        ),
    )
    return dict(many(lambda row: (WorkspaceID(row.target), row.outcome), txn))
