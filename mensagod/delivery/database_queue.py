"""The queue in PostgreSQL, as the workers of delivery use it."""

from collections.abc import Collection, Sequence
from uuid import UUID

from attrs import frozen
from zope.interface import implementer

from mensagod.delivery.interfaces import IQueue
from mensagod.storage import buckets as storage_buckets
from mensagod.storage import queue
from mensagod.storage.buckets import Share
from mensagod.storage.interfaces import Interactions
from mensagod.storage.queue import Cause, Queued
from mensagod.values.domains import DomainSet


@implementer(IQueue)
@frozen
class DatabaseQueue:
    """The interactions of :mod:`mensagod.storage.queue` and :mod:`mensagod.storage.buckets`.

    :ivar process: the ID of this process.
    """

    database: Interactions
    process: UUID

    async def take_share(self) -> Share:
        """Show that this process lives, and give its share."""
        return await self.database.run(storage_buckets.take_share, self.process)

    async def give_back(self) -> None:
        """Give the share back."""
        await self.database.run(storage_buckets.give_back, self.process)

    async def list_due(
        self, buckets: Collection[int], most: int, domains: DomainSet, busy: Collection[str]
    ) -> Sequence[Queued]:
        """Give messages that are due."""
        return await self.database.read(queue.list_due, buckets, most, domains=domains, busy=busy)

    async def postpone(self, message: Queued, cause: Cause, seconds: float) -> None:
        """Record a try."""
        await self.database.run(queue.postpone, message, cause, seconds)

    async def fail(self, message: Queued, cause: Cause) -> None:
        """Give a message up."""
        await self.database.run(queue.fail, message, cause)

    async def hasten(self) -> int:
        """Let messages be due that lie too far ahead."""
        return await self.database.write(queue.hasten)
