"""What delivery is put together from: routes, and the queue whose messages they take."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from zope.interface import Attribute, Interface

from mensagod.values.domains import DomainSet
from mensagod.values.paths import ServerPath

if TYPE_CHECKING:
    from mensagod.delivery.results import Result
    from mensagod.storage.queue import Cause, Queued


class IRoute(Interface):
    """A way on which messages get to the domains that it serves."""

    domains: DomainSet = Attribute(
        "The domains whose messages it takes, unless a route before it in the list takes them."
    )

    async def deliver(messages: "Sequence[Queued]") -> "Mapping[UUID, Result]":
        """Try to deliver claimed messages.

        A message that is delivered leaves the queue by that, if possible in the same transaction. The route
        changes nothing of a message whose lease it finds lost.

        :returns: the result for each message, by its ID. If this raises, that is the result for all of them.
        """


class IQueue(Interface):
    """The queue of accepted messages, as its workers see it (spec 05, *The queue*).

    Every method but the claims and :meth:`list_forgotten` acts on a message only while its lease is the one
    that is named. Every method raises :class:`mensagod.errors.ServerUnavailable` while the queue is away.
    """

    async def claim(most: int, domains: DomainSet) -> "Sequence[Queued]":
        """Take messages for ``domains`` that are due and in nobody's hands, the longest due first.

        A claim holds for :data:`mensagod.storage.queue.LEASE_SECONDS` unless it is renewed, and counts as an
        attempt. Each has a new lease, so that a claim that was lost is never taken for the next one.
        """

    async def renew(leases: Sequence[UUID]) -> None:
        """Have claims hold for another :data:`mensagod.storage.queue.LEASE_SECONDS`; lost ones stay lost."""

    async def postpone(message: "Queued", cause: "Cause", seconds: float) -> None:
        """Give a message back, to be tried again after ``seconds``.

        :raises LeaseLost: if another worker has it; nothing is changed.
        """

    async def fail(message: "Queued", cause: "Cause") -> None:
        """Give a message up; it stays in the queue until its sender is told.

        :raises LeaseLost: if another worker has it; nothing is changed.
        """

    async def claim_abandoned() -> "Sequence[Queued]":
        """Take messages whose writer died before they were accepted, for their removal."""

    async def withdraw(message: "Queued") -> None:
        """Remove a message that was not accepted, once its file is gone."""

    async def list_forgotten(files: Sequence[ServerPath]) -> Sequence[ServerPath]:
        """Give those of some files below ``out`` that belong to no message.

        Files of workspaces that are not known here are left out.
        """
