"""An installation as the versions up to schema 0007 made it: each file at its server path."""

import random
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from uuid import UUID, uuid4

import psycopg2.extras
from attrs import define, field, frozen

from mensagod.storage import schema
from mensagod.storage.connections import Connection
from mensagod.storage.migrations import apply_all, read_steps

VERSION = 7
ZERO = UUID(int=0)
DOMAIN = "example.com"
DUE = "2026-01-01"

#: Most are small; some lie around the limits of 8 KiB and 8 MiB.
SIZES = (0, 1, 700, 1600, 4096, 8192, 8193, 20_000, 100_000)
LARGE = (8 * 1024 * 1024, 8 * 1024 * 1024 + 1)


@frozen
class OldContent:
    """A content with the place of its file.

    :ivar owner: the workspace, or the sender of a queued message.
    """

    owner: UUID
    name: str
    size: int
    path: str

    @property
    def content(self) -> bytes:
        """The same bytes whenever one asks."""
        return random.Random(self.name).randbytes(self.size)


def migrate_to_old(connection: Connection) -> None:
    """Bring the schema to the version of that time."""
    apply_all(connection, read_steps(schema.DIRECTORY)[:VERSION])


@define
class OldInstallation:
    """Makes rows and files.

    :ivar files: the files of workspaces.
    :ivar messages: those in the queue.
    :ivar forgotten: files that no row knows, or will know.
    """

    connection: Connection
    top_dir: Path
    files: list[OldContent] = field(factory=list)
    messages: list[OldContent] = field(factory=list)
    forgotten: list[OldContent] = field(factory=list)
    _sizes: Iterator[int] = field(factory=lambda: cycle(SIZES))

    def make(self, workspaces: int, files: int, messages: int) -> None:
        """Make everything."""
        migrate_to_old(self.connection)
        owners = [uuid4() for _ in range(workspaces)]
        self._add_workspaces(owners)
        folders = self._add_folders(owners)
        sizes = [*LARGE, *(next(self._sizes) for _ in range(files - len(LARGE)))]
        for (owner, folder, path), size in zip(cycle(folders), sizes, strict=False):
            self._add_file(owner, folder, path, size)
        self._count()
        for number in range(messages):
            self._add_message(number, owners)

    def _insert(self, sql: str, rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
        with self.connection, self.connection.cursor() as cursor:
            fetch = "RETURNING" in sql
            return psycopg2.extras.execute_values(cursor, sql, rows, fetch=fetch, page_size=100_000) or []

    def _add_workspaces(self, owners: list[UUID]) -> None:
        self._insert(
            "INSERT INTO workspaces (id, domain, status) VALUES %s",
            [(owner, "example.com", "preregistered") for owner in owners],
        )
        self._insert("INSERT INTO mailboxes (workspace, quota) VALUES %s", [(owner, 0) for owner in owners])

    def _add_folders(self, owners: list[UUID]) -> list[tuple[UUID, int, str]]:
        rows = [
            (owner, f"/ wsp {owner}{end}")
            for owner in owners
            for end in ("", " new", " settings", f" {uuid4()}")
        ]
        found = self._insert(
            "INSERT INTO folders (workspace, path) VALUES %s RETURNING workspace, id, path", rows
        )
        return [(UUID(str(owner)), int(str(folder)), str(path)) for owner, folder, path in found]

    def write(self, owner: UUID, name: str, size: int, path: str) -> OldContent:
        """Write a file."""
        made = OldContent(owner, name, size, path)
        place = self.place(path)
        place.parent.mkdir(0o700, parents=True, exist_ok=True)
        place.write_bytes(made.content)
        return made

    def place(self, path: str) -> Path:
        """Give the place of a server path on disk."""
        return self.top_dir.joinpath(*path.split(" ")[1:])

    def _add_file(self, owner: UUID, folder: int, path: str, size: int) -> None:
        name = f"1700000000.{size}.{uuid4()}"
        self.files.append(self.write(owner, name, size, f"{path} {name}"))
        self._insert(
            "INSERT INTO files (folder, name, workspace, time, size) VALUES %s",
            [(folder, name, owner, 1700000000, size)],
        )

    def _count(self) -> None:
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute(
                "UPDATE mailboxes SET used = found.used, files = found.files FROM (SELECT workspace,"
                " sum(size) AS used, count(*) AS files FROM files GROUP BY workspace) AS found"
                " WHERE found.workspace = mailboxes.workspace"
            )

    def _add_message(self, number: int, owners: list[UUID]) -> None:
        """Add a message in one of the states that it could be in."""
        kind = ("queued", "aimed", "moved", "failed", "report", "pending")[number % 6]
        sender = ZERO if kind == "report" else owners[number % len(owners)]
        size = next(self._sizes)
        name = f"{1700000000 + number}.{size}.{uuid4()}"
        target = owners[(number + 1) % len(owners)] if kind in {"aimed", "moved"} else None
        target_name = f"1700000001.{size}.{uuid4()}" if target else None
        path = f"/ wsp {target} new {target_name}" if kind == "moved" else f"/ out {sender} {name}"
        made = self.write(sender, name, size, path)
        (self.forgotten if kind == "pending" else self.messages).append(made)
        state = kind if kind in {"failed", "pending"} else "queued"
        lease = (uuid4(), DUE) if state == "pending" else (None, None)
        self._insert(
            "INSERT INTO queue (id, sender, device, sender_domain, domain, name, size, state, due, lease,"
            " lease_until, target, target_name) VALUES %s",
            [
                (
                    uuid4(),
                    sender,
                    ZERO,
                    DOMAIN,
                    DOMAIN,
                    name,
                    size,
                    state,
                    DUE,
                    *lease,
                    target,
                    target_name,
                )
            ],
        )
