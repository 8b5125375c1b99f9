"""Interfaces of worker pools: running blocking work for the server itself, and for clients."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from mensagod.threads.fair_queue import Client

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Protocol):
    """Threads for one kind of blocking work."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread and give its result."""


class FairThreads(Threads, Protocol):
    """Threads that are shared fairly between the source addresses of clients."""

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` for a client in a thread, once the fair queue grants it a slot; give its result."""
