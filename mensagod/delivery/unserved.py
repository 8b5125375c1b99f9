"""The last route: domains that this server cannot deliver to."""

from collections.abc import Mapping, Sequence
from typing import ClassVar
from uuid import UUID

from attrs import frozen
from zope.interface import implementer

from mensagod.delivery.interfaces import IRoute
from mensagod.delivery.results import Result, Unreachable
from mensagod.storage.queue import Queued
from mensagod.values.domains import ALL_DOMAINS, DomainSet


@implementer(IRoute)
@frozen
class UnservedDomains:
    """Takes what no other route takes, and has it tried again in case a later version can deliver it."""

    domains: ClassVar[DomainSet] = ALL_DOMAINS

    async def deliver(self, messages: Sequence[Queued]) -> Mapping[UUID, Result]:
        """Deliver nothing: each message is for a domain out of reach."""
        return {
            message.id: Unreachable("this server does not deliver to other domains yet")
            for message in messages
        }
