"""Reading what changed in a workspace (spec 04, *Update notification*)."""

from mensagod.errors import NotFound
from mensagod.operations.parts import Parts
from mensagod.storage import updates
from mensagod.storage.updates import Updates
from mensagod.values.identity import RandomID, WorkspaceID


async def list_updates(
    parts: Parts, workspace: WorkspaceID, time: int, since: RandomID | None
) -> tuple[Updates, int]:
    """Give the update records of a workspace, and the number of its newest one.

    :param time: Unix seconds; records of that second and later.
    :param since: the records after this one instead.
    :raises NotFound: if there is no such record, or none any more.
    """
    if since is None:
        found = await parts.database.run(updates.list_since_time, workspace, time)
        return found, found.last
    known = await parts.database.run(updates.list_since_record, workspace, since.uuid)
    if known is None:
        raise NotFound("No such update record: start over with LIST")
    return known, known.last
