"""The files of workspaces in the database, which decides which files exist (spec 04, *Files*)."""

from collections.abc import Sequence

from attrs import frozen

from mensagod.storage import folders, updates
from mensagod.storage.rows import Transaction, many
from mensagod.storage.updates import NewUpdate
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.values.paths import FileName, ServerPath


def list_files(txn: Transaction, directory: ServerPath, since: int, most: int) -> list[str] | None:
    """Give the first ``most`` names of a directory's files, sorted; ``None`` if there is no such directory.

    :param since: Unix seconds; files with an earlier time in their name are left out.
    """
    txn.execute(
        "SELECT files.name FROM folders LEFT JOIN files"
        " ON files.folder = folders.id AND files.state = 'live' AND files.time >= %s"
        " WHERE folders.path = %s ORDER BY files.name LIMIT %s",
        (since, str(directory), most),
    )
    names = many(lambda row: row.name, txn)
    if not names:
        return None
    return [] if names == [None] else names


def file_exists(txn: Transaction, path: ServerPath) -> bool:
    """Tell whether there is a file at ``path``."""
    txn.execute(
        "SELECT 1 FROM files JOIN folders ON folders.id = files.folder"
        " WHERE folders.path = %s AND files.name = %s AND files.state = 'live'",
        (str(path.directory), path.name),
    )
    return txn.fetchone() is not None


@frozen
class Arrival:
    """A file that is delivered to the ``new`` directory of a workspace."""

    workspace: WorkspaceID
    name: FileName

    @property
    def directory(self) -> ServerPath:
        """The directory that the file is delivered to."""
        return ServerPath.new_messages(self.workspace)

    @property
    def path(self) -> ServerPath:
        """The path of the file after the delivery."""
        return self.directory.child(self.name)


def add_delivered(txn: Transaction, arrivals: Sequence[Arrival], device: DeviceID) -> None:
    """Add delivered files, their usage and their update records (spec 05, *Local delivery*).

    The caller holds the locks of the workspaces' mailboxes.
    """
    added = _add(txn, arrivals)
    without_folder = [arrival for arrival in arrivals if arrival.name.text not in added]
    if without_folder:
        for workspace in {arrival.workspace for arrival in without_folder}:
            folders.ensure_top(txn, workspace)
        _add(txn, without_folder)
    _add_usage(txn, arrivals)
    changes = [NewUpdate(arrival.workspace, "CREATE", str(arrival.path)) for arrival in arrivals]
    updates.record(txn, changes, device)


def _add(txn: Transaction, arrivals: Sequence[Arrival]) -> set[str]:
    """Add the files whose directories exist; give the names of those files."""
    txn.execute(
        "INSERT INTO files (folder, name, workspace, time, size)"
        " SELECT id, new.name, workspace, new.time, new.size"
        " FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS new (path, name, time, size)"
        " JOIN folders USING (path) RETURNING name",
        (
            [str(arrival.directory) for arrival in arrivals],
            [arrival.name.text for arrival in arrivals],
            [arrival.name.time for arrival in arrivals],
            [arrival.name.size for arrival in arrivals],
        ),
    )
    return set(many(lambda row: row.name, txn))


def _add_usage(txn: Transaction, arrivals: Sequence[Arrival]) -> None:
    """Add the sizes and the number of new files to the usage of their mailboxes."""
    txn.execute(
        "UPDATE mailboxes SET used = used + bytes, files = files + number FROM ("
        "  SELECT workspace, sum(size)::bigint AS bytes, count(*) AS number"
        "  FROM unnest(%s::uuid[], %s::bigint[]) AS new (workspace, size) GROUP BY workspace) AS added"
        " WHERE mailboxes.workspace = added.workspace",
        (
            [arrival.workspace.uuid for arrival in arrivals],
            [arrival.name.size for arrival in arrivals],
        ),
    )
