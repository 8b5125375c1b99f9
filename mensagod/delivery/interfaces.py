"""What delivery is put together from: routes, and the queue whose messages they take."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from zope.interface import Attribute, Interface

from mensagod.values.domains import DomainSet

if TYPE_CHECKING:
    from mensagod.delivery.results import Result
    from mensagod.storage.buckets import Share
    from mensagod.storage.queue import Cause, Queued


class IRoute(Interface):
    """A way on which messages get to the domains that it serves."""

    domains: DomainSet = Attribute(
        "The domains whose messages it takes, unless a route before it in the list takes them."
    )

    async def deliver(messages: "Sequence[Queued]") -> "Mapping[UUID, Result]":
        """Try to deliver messages.

        A message that is delivered leaves the queue by that, if possible in the same transaction.

        :returns: the result for each message, by its ID. If this raises, that is the result for all of them.
        """


class IQueue(Interface):
    """The queue of accepted messages, as its workers see it (spec 05, *The queue*).

    Every method raises :class:`mensagod.errors.ServerUnavailable` while the queue is away.
    """

    async def take_share() -> "Share":
        """Show that this process lives, and give the buckets that it works on for the next seconds.

        That holds for :data:`mensagod.storage.buckets.LEASE_SECONDS`; so it is called more often.
        """

    async def give_back() -> None:
        """Give the share back, because this process stops."""

    async def list_due(
        buckets: Collection[int], most: int, domains: DomainSet, busy: Collection[str]
    ) -> "Sequence[Queued]":
        """Give messages for ``domains`` that are due in some buckets, the longest due first.

        :param busy: destinations that are left out.
        """

    async def postpone(message: "Queued", cause: "Cause", seconds: float) -> None:
        """Record a try; the next one is after ``seconds``.

        :raises Overtaken: if another worker was faster; nothing is changed.
        """

    async def fail(message: "Queued", cause: "Cause") -> None:
        """Give a message up; it stays in the queue until its sender is told.

        :raises Overtaken: if another worker was faster; nothing is changed.
        """

    async def hasten() -> int:
        """Let messages be due that lie further ahead than they can have been put there; give their number."""
