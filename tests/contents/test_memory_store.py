"""The content store in memory."""

from tests.contents import contract
from tests.contents.memory_store import MemoryStore


class _InMemory:
    def make_store(self) -> MemoryStore:
        return MemoryStore()


class ContentTests(_InMemory, contract.ContentContract):
    """Contents in memory."""


class ResumeTests(_InMemory, contract.ResumeContract):
    """Writing that goes on, in memory."""


class ListTests(_InMemory, contract.ListContract):
    """Listing what is in memory."""


class IDTests(_InMemory, contract.IDContract):
    """The ID of a store in memory."""
