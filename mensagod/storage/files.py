"""Files of workspaces, as the database knows them: the truth about which exist (spec 04, *Files*)."""

from mensagod.identity import DeviceID, WorkspaceID
from mensagod.paths import FileName, ServerPath
from mensagod.storage import folders, updates
from mensagod.storage.rows import Transaction, changed, many


def list_files(txn: Transaction, directory: ServerPath, since: int, most: int) -> list[str] | None:
    """Give the first ``most`` names of a directory's files, sorted; ``None`` if there is no such directory.

    :param since: Unix seconds; files whose name tells an earlier time are left out.
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


def add_delivered(txn: Transaction, workspace: WorkspaceID, name: FileName, device: DeviceID) -> None:
    """Make a file live in a workspace's ``new``, with usage and update record (spec 05, *Local delivery*).

    The workspace's mailbox must be locked.
    """
    directory = ServerPath.new_messages(workspace)
    if not _add(txn, directory, name):
        folders.ensure_top(txn, workspace)
        _add(txn, directory, name)
    txn.execute(
        "UPDATE mailboxes SET used = used + %s, files = files + 1 WHERE workspace = %s",
        (name.size, workspace.uuid),
    )
    updates.record(txn, workspace, "CREATE", str(directory.child(name)), device)


def _add(txn: Transaction, directory: ServerPath, name: FileName) -> bool:
    """Make a file live; tell whether there is such a directory."""
    txn.execute(
        "INSERT INTO files (folder, name, workspace, time, size)"
        " SELECT id, %s, workspace, %s, %s FROM folders WHERE path = %s",
        (name.text, name.time, name.size, str(directory)),
    )
    return changed(txn)
