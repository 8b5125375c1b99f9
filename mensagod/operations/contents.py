"""Writing contents: in their rows if they are small, else to the store (spec 06, *Files*)."""

from twisted.logger import Logger

from mensagod.contents.interfaces import IContentStore, Written
from mensagod.contents.keys import ContentKey
from mensagod.errors import ServerUnavailable
from mensagod.operations.parts import Parts
from mensagod.storage import contents
from mensagod.storage.contents import Content, Owned
from mensagod.values.identity import WorkspaceID

_log = Logger(namespace="mensagod.contents")


async def store_content(parts: Parts, workspace: WorkspaceID, data: bytes) -> Content:
    """Make a content of bytes; if it is not small, it is whole in the store when this returns.

    The transaction that gives it a row takes the one away that it has in ``writings`` until then.

    :raises ServerUnavailable: if the disk is nearly full, or the content could not be written.
    """
    if await parts.room.free_percent() < parts.config.performance.min_free_percent:
        raise ServerUnavailable("The server has too little free disk")
    if len(data) <= parts.config.performance.inline_bytes:
        return Content.in_row(data)
    key = await parts.database.run(contents.begin_writing, workspace)
    try:
        written = await parts.files.run(_write, parts.store, key, data)
    except OSError as error:
        await parts.database.write(contents.withdraw_writing, Owned(workspace, key))
        _log.error("content {key} could not be written: {reason}", key=str(key.id), reason=str(error))
        raise ServerUnavailable("The content could not be stored") from error
    return Content(key.id, written.size, written.hash, key.day)


async def drop_content(parts: Parts, workspace: WorkspaceID, content: Content) -> None:
    """Remove a content that is certainly not used; what fails is left to the cleanup."""
    if content.key is None:
        return
    try:
        await parts.files.run(parts.store.remove, content.key)
        await parts.database.write(contents.withdraw_writing, Owned(workspace, content.key))
    except (OSError, ServerUnavailable) as error:
        _log.warn("content {key} could not be removed: {reason}", key=str(content.id), reason=str(error))


def _write(store: IContentStore, key: ContentKey, data: bytes) -> Written:
    """Write a content. Runs in a thread."""
    writer = store.write(key)
    try:
        writer.write(data)
        return writer.finish()
    finally:
        writer.abandon()
