"""The files of workspaces in the database, which decides which files exist (spec 04, *Files*)."""

from collections.abc import Sequence

from attrs import frozen

from mensagod.storage import contents, folders, updates
from mensagod.storage.contents import Content
from mensagod.storage.rows import Transaction, many, maybe
from mensagod.storage.updates import NewUpdate
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.values.paths import FileName, ServerPath


def list_files(txn: Transaction, directory: ServerPath, since: int, most: int) -> list[str] | None:
    """Give the first ``most`` names of a directory's files, sorted; ``None`` if there is no such directory.

    :param since: Unix seconds; files with an earlier time in their name are left out.
    """
    if directory.workspace is None:
        return None
    txn.execute(
        "SELECT files.name FROM folders LEFT JOIN files"
        " ON files.workspace = folders.workspace AND files.folder = folders.id AND files.time >= %s"
        " WHERE folders.workspace = %s AND folders.path = %s ORDER BY files.name LIMIT %s",
        (since, directory.workspace.uuid, str(directory), most),
    )
    names = many(lambda row: row.name, txn)
    if not names:
        return None
    return [] if names == [None] else names


_FILES = " FROM files JOIN folders ON folders.workspace = files.workspace AND folders.id = files.folder"
_CONTENTS = " JOIN contents ON contents.workspace = files.workspace AND contents.key = files.content"
_AT = " WHERE files.workspace = %(workspace)s AND folders.path = %(directory)s AND files.name = %(name)s"


def file_exists(txn: Transaction, path: ServerPath) -> bool:
    """Tell whether there is a file at ``path``."""
    if path.workspace is None:
        return False
    txn.execute("SELECT 1" + _FILES + _AT, _place(path, path.workspace))
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
        _place(path, path.workspace),
    )
    return maybe(Content.from_row, txn)


def _place(path: ServerPath, workspace: WorkspaceID) -> dict[str, object]:
    return {"workspace": workspace.uuid, "directory": str(path.directory), "name": path.name}


@frozen
class Arrival:
    """A file that is delivered to the ``new`` directory of a workspace.

    :ivar number: that of its update record, see :func:`mensagod.storage.mailboxes.change`.
    """

    workspace: WorkspaceID
    name: FileName
    content: Content
    number: int

    @property
    def directory(self) -> ServerPath:
        """The directory that the file is delivered to."""
        return ServerPath.new_messages(self.workspace)

    @property
    def path(self) -> ServerPath:
        """The path of the file after the delivery."""
        return self.directory.child(self.name)


def add_delivered(txn: Transaction, arrivals: Sequence[Arrival], device: DeviceID) -> None:
    """Add delivered files, their contents and their update records (spec 05, *Local delivery*).

    Their mailboxes were changed before, in this transaction.
    """
    contents.add(txn, [(arrival.workspace, arrival.content) for arrival in arrivals])
    added = _add(txn, arrivals)
    without_folder = [arrival for arrival in arrivals if arrival.name.text not in added]
    if without_folder:
        for workspace in {arrival.workspace for arrival in without_folder}:
            folders.ensure_top(txn, workspace)
        _add(txn, without_folder)
    changes = [
        NewUpdate(arrival.workspace, arrival.number, "CREATE", str(arrival.path)) for arrival in arrivals
    ]
    updates.record(txn, changes, device)


def _add(txn: Transaction, arrivals: Sequence[Arrival]) -> set[str]:
    """Add the files whose directories exist; give the names of those files."""
    txn.execute(
        "INSERT INTO files (workspace, folder, name, time, size, content)"
        " SELECT workspace, folders.id, new.name, new.time, new.size, new.content"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[])"
        " AS new (workspace, path, name, time, size, content)"
        " JOIN folders USING (workspace, path) RETURNING name",
        (
            [arrival.workspace.uuid for arrival in arrivals],
            [str(arrival.directory) for arrival in arrivals],
            [arrival.name.text for arrival in arrivals],
            [arrival.name.time for arrival in arrivals],
            [arrival.name.size for arrival in arrivals],
            [arrival.content.id for arrival in arrivals],
        ),
    )
    return set(many(lambda row: row.name, txn))
