"""Reading the update records of a workspace (spec 04, *Update notification*)."""

from mensagod.errors import NotFound
from mensagod.operations.parts import Parts
from mensagod.storage import updates
from mensagod.storage.updates import Updates
from mensagod.values.identity import RandomID, WorkspaceID


async def list_updates(
    parts: Parts, workspace: WorkspaceID, time: int, since: RandomID | None
) -> tuple[Updates, int]:
    """Give the update records of a workspace, and the number of its newest one.

    :param time: Unix seconds; the records of that second and later are given.
    :param since: the ID of a record; if given, the records after it are given instead.
    :raises NotFound: if there is no record ``since``, or it was deleted.
    """
    if since is None:
        found = await parts.database.run(updates.list_since_time, workspace, time)
        return found, found.last
    known = await parts.database.run(updates.list_since_record, workspace, since.uuid)
    if known is None:
        raise NotFound("No such update record: start over with LIST")
    return known, known.last
