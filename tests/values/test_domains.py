"""Sets of domains behave like sets."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.values.domains import ALL_DOMAINS, NO_DOMAINS, DomainSet
from mensagod.values.identity import Domain

DOMAINS = tuple(Domain.from_text(f"{letter}.example") for letter in "abcd")
OTHER = Domain.from_text("other.example")
"""A domain that no set names."""

sets = st.builds(DomainSet, st.frozensets(st.sampled_from(DOMAINS)), st.booleans())


def members(domains: DomainSet) -> set[Domain]:
    """Give the members among the domains of the test, one of which stands for all the others."""
    return {domain for domain in (*DOMAINS, OTHER) if domain in domains}


class DomainSetTests(SynchronousTestCase):
    """Against sets of a few domains."""

    @given(sets, sets)
    def test_algebra(self, one: DomainSet, other: DomainSet) -> None:
        """Union, intersection, difference and complement have the members that they should have."""
        everything = {*DOMAINS, OTHER}
        self.assertEqual(members(one | other), members(one) | members(other))
        self.assertEqual(members(one & other), members(one) & members(other))
        self.assertEqual(members(one - other), members(one) - members(other))
        self.assertEqual(members(~one), everything - members(one))

    @given(sets)
    def test_empty(self, domains: DomainSet) -> None:
        """A set is empty exactly if it has no member."""
        self.assertEqual(domains.is_empty, not members(domains))

    def test_constants(self) -> None:
        """There is a set of none and one of all."""
        self.assertEqual(members(NO_DOMAINS), set())
        self.assertEqual(members(ALL_DOMAINS), {*DOMAINS, OTHER})

    def test_of(self) -> None:
        """A set is made of any domains."""
        self.assertEqual(members(DomainSet.of(iter(DOMAINS[:2]))), set(DOMAINS[:2]))
