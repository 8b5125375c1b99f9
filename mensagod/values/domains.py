"""Sets of domains: a finite set, or the complement of one."""

from collections.abc import Iterable
from typing import Final, Self

from attrs import frozen

from mensagod.values.identity import Domain


@frozen
class DomainSet:
    """A finite set of domains, or the complement of one.

    :ivar named: the members; if the set is ``inverted``, the domains that are not members.
    """

    named: frozenset[Domain]
    inverted: bool = False

    @classmethod
    def of(cls, domains: Iterable[Domain]) -> Self:
        """Make the set of these domains."""
        return cls(frozenset(domains))

    @property
    def is_empty(self) -> bool:
        """Whether no domain is a member."""
        return not self.named and not self.inverted

    def __contains__(self, domain: Domain) -> bool:
        return (domain in self.named) is not self.inverted

    def __invert__(self) -> "DomainSet":
        return DomainSet(self.named, not self.inverted)

    def __and__(self, other: "DomainSet") -> "DomainSet":
        if self.inverted and other.inverted:
            return DomainSet(self.named | other.named, inverted=True)
        if self.inverted:
            return other & self
        return DomainSet(frozenset(domain for domain in self.named if domain in other))

    def __or__(self, other: "DomainSet") -> "DomainSet":
        return ~(~self & ~other)

    def __sub__(self, other: "DomainSet") -> "DomainSet":
        return self & ~other


NO_DOMAINS: Final = DomainSet(frozenset())
ALL_DOMAINS: Final = ~NO_DOMAINS
