"""What is asked of threads: by the server's own work, and by what clients want."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from mensagod.threads.fair_queue import Client

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Protocol):
    """Threads for one kind of work that blocks."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a thread and give its result."""


class FairThreads(Threads, Protocol):
    """Threads that are shared fairly between those who ask for work."""

    async def run_for(self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` that a client asked for, once it is its source's turn."""
