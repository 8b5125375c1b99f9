"""The queue in PostgreSQL, as the workers of delivery use it."""

from collections.abc import Sequence
from uuid import UUID

from attrs import frozen
from zope.interface import implementer

from mensagod.delivery.interfaces import IQueue
from mensagod.storage import queue
from mensagod.storage.interfaces import Interactions
from mensagod.storage.queue import Cause, Queued
from mensagod.values.domains import DomainSet
from mensagod.values.paths import ServerPath


@implementer(IQueue)
@frozen
class DatabaseQueue:
    """The interactions of :mod:`mensagod.storage.queue`, each run as what it is to the database."""

    database: Interactions

    async def claim(self, most: int, domains: DomainSet) -> Sequence[Queued]:
        """Take due messages for ``domains``."""
        return await self.database.write(queue.claim, most, domains)

    async def renew(self, leases: Sequence[UUID]) -> None:
        """Have claims hold on."""
        await self.database.write(queue.renew, leases)

    async def postpone(self, message: Queued, cause: Cause, seconds: float) -> None:
        """Give a message back for later."""
        await self.database.run(queue.postpone, message.id, message.lease, cause, seconds)

    async def fail(self, message: Queued, cause: Cause) -> None:
        """Give a message up."""
        await self.database.run(queue.fail, message.id, message.lease, cause)

    async def claim_abandoned(self) -> Sequence[Queued]:
        """Take what nobody finishes writing."""
        return await self.database.run(queue.claim_abandoned)

    async def withdraw(self, message: Queued) -> None:
        """Remove a message that was not accepted."""
        await self.database.run(queue.withdraw, message.id, message.lease)

    async def list_forgotten(self, files: Sequence[ServerPath]) -> Sequence[ServerPath]:
        """Give the files that belong to no message."""
        return await self.database.read(queue.list_forgotten, files)
