"""Messages that a test accepts and delivers by hand, in a real database, without a server."""

import os
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from attrs import evolve
from twisted.python.filepath import FilePath

from mensagod.contents.file_store import FileStore
from mensagod.delivery import placing
from mensagod.delivery.labels import ReceiverPart
from mensagod.delivery.placing import Accepted, Submission
from mensagod.storage import contents, queue
from mensagod.storage.contents import Content
from mensagod.storage.queue import BUCKETS, Queued
from mensagod.values.identity import Domain, MAddress, WAddress, WorkspaceID
from mensagod.values.paths import FileName
from tests.delivery.mail import MailTestCase
from tests.serving import DOMAIN, Person

SIZE = 100
"""Bytes of each message, unless the test says otherwise."""


class PlacedTestCase(MailTestCase):
    """Alice, Bob and Carol have accounts; nobody delivers but the test."""

    async def prepare(self) -> None:
        await self.establish()
        await self.introduce()
        self.carol = await self.settle("carol")
        self.store = FileStore(FilePath(str(self.directory / "data")))

    def submission(
        self,
        to: Person | MAddress | WAddress | None,
        sender: Person | None = None,
        *,
        domain: Domain = DOMAIN,
        size: int = SIZE,
        content: Content | None = None,
        send_time: datetime | None = None,
    ) -> Submission:
        """Make a message, from Alice unless told.

        :param to: ``None`` if nobody can read that.
        """
        sender = sender or self.alice
        content = content or Content.in_row(os.urandom(size))
        recipient = to.address if isinstance(to, Person) else to
        return Submission(
            id=uuid4(),
            sender=sender.workspace,
            device=sender.device,
            sender_domain=sender.domain,
            domain=domain if recipient is None else recipient.domain,
            recipient=recipient,
            name=FileName.make(1, content.size),
            content=content,
            digest=content.hash or b"",
            send_time=send_time,
        )

    async def stored(self, data: bytes, sender: Person | None = None) -> Content:
        """Have a content that is whole in the store and not accepted yet."""
        key = await self.database.run(contents.begin_writing, (sender or self.alice).workspace)
        writer = self.store.write(key)
        writer.write(data)
        written = writer.finish()
        return Content(key.id, written.size, written.hash, key.day)

    async def accept(self, *messages: Submission, rate: int = 0, wait: bool = True) -> list[Any]:
        """Accept messages in one transaction; give their results."""
        results = await self.database.run(placing.accept, messages, rate, wait=wait)
        return [results[message.id] for message in messages]

    async def enqueue(self, *messages: Submission) -> list[Queued]:
        """Have messages in the queue that are due, because their send time has come."""
        past = datetime.now(UTC) - timedelta(minutes=1)
        for result in await self.accept(*[evolve(message, send_time=past) for message in messages]):
            self.assertIsInstance(result, Accepted)
        due = await self.due()
        return [due[message.id] for message in messages]

    async def due(self) -> dict[UUID, Queued]:
        found = await self.database.read(queue.list_due, range(BUCKETS), 999)
        return {message.id: message for message in found}

    async def deliver(self, *messages: Queued, labels: dict[UUID, ReceiverPart] | None = None) -> list[Any]:
        """Deliver queued messages in one transaction; give their results."""
        results = await self.database.run(placing.deliver, messages, labels or {})
        return [results[message.id] for message in messages]

    def hold(self, mailboxes: Collection[Any]) -> Any:
        """Lock mailboxes, as another process may, until the connection rolls back."""
        connection = self.connect()
        with connection.cursor() as cursor:
            for workspace in mailboxes:
                cursor.execute("SELECT FROM mailboxes WHERE workspace = %s FOR UPDATE", (workspace.uuid,))
        return connection

    async def limit(self, person: Person, size: int) -> None:
        """Give somebody a quota."""
        await self.change("UPDATE mailboxes SET quota = %s WHERE workspace = %s", size, person.workspace.uuid)

    async def set_status(self, person: Person, status: str) -> None:
        await self.change(
            "UPDATE workspaces SET status = %s, password_hash = CASE WHEN %s = 'archived' THEN NULL"
            " ELSE password_hash END WHERE id = %s",
            status,
            status,
            person.workspace.uuid,
        )

    async def usage(self, person: Person) -> tuple[int, int]:
        """Give the bytes of somebody's files, and of the messages that wait."""
        (row,) = await self.rows(
            "SELECT used, queued FROM mailboxes WHERE workspace = %s", person.workspace.uuid
        )
        return row.used, row.queued

    async def target_of(self, message: Submission) -> WorkspaceID | None:
        """Give the target of a message in the queue."""
        target = await self.value("SELECT target FROM queue WHERE id = %s", message.id)
        return None if target is None else WorkspaceID(target)
