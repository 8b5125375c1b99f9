"""The file with the ID of a store, which the database knows, too (spec 06, *Files*)."""

import os
from typing import Final
from uuid import UUID

from mensagod.contents.interfaces import WrongStore

STORE_ID: Final = "store-id"
"""The name of the file in ``global.top_dir``."""

PROPOSED_ID: Final = "store-id.new"
"""The name of the file before the database knows the ID."""

_MOST: Final = 100
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def id_line(store: UUID) -> bytes:
    """Give the content of the file."""
    return f"{store}\n".encode("ascii")


def read_id(root: int, name: str = STORE_ID) -> UUID | None:
    """Read the file in the open directory ``root``; ``None`` if it does not exist.

    :raises WrongStore: if it cannot be read, or does not contain an ID.
    """
    try:
        content = _read(root, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise WrongStore(
            f"The file {name} in global.top_dir cannot be read ({error.strerror or error}): give it to the"
            " server's account, with mode 0600"
        ) from error
    try:
        found = UUID(content.decode("ascii").strip())
    except ValueError:
        found = None
    if found is None or content != id_line(found):
        raise WrongStore(
            f"The file {name} in global.top_dir does not contain an ID: restore it from a backup"
        )
    return found


def _read(root: int, name: str) -> bytes:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        return os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)


def propose_id(root: int, store: UUID) -> None:
    """Write the ID to the file for proposals, durably.

    :raises FileExistsError: if there is an ID already.
    """
    if read_id(root) is not None:
        raise FileExistsError(f"The store has an ID already, in {STORE_ID}")
    descriptor = os.open(PROPOSED_ID, _WRITE, 0o600, dir_fd=root)
    try:
        os.write(descriptor, id_line(store))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.fsync(root)


def check_id(root: int, path: str, store: UUID) -> None:
    """Check that a store has an ID; if it was proposed, the store has it from now on.

    :param path: names the store in the error.
    :raises WrongStore: if it has another ID, or none.
    """
    found = read_id(root)
    if found is None and _read_proposal(root) == store:
        found = _settle(root)
    if found is None:
        raise WrongStore(
            f"{path}/{STORE_ID} is missing, but the database belongs to the store {store}: mount the disk of"
            " global.top_dir, or correct global.top_dir"
        )
    if found != store:
        raise WrongStore(
            f"{path}/{STORE_ID} contains the ID {found}, but the database belongs to the store {store}: mount"
            " the right disk, correct global.top_dir, or restore the database that belongs to this store"
        )


def _read_proposal(root: int) -> UUID | None:
    try:
        return read_id(root, PROPOSED_ID)
    except WrongStore:
        # A crash cut it off; the database does not know it then.
        return None


def _settle(root: int) -> UUID | None:
    """Give the proposed ID to the store; another process may do the same."""
    try:
        os.rename(PROPOSED_ID, STORE_ID, src_dir_fd=root, dst_dir_fd=root)
    except FileNotFoundError:
        return read_id(root)
    os.fsync(root)
    return read_id(root)
