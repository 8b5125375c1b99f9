"""The interface of the database (spec 06, *Database*)."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from mensagod.storage.rows import Transaction

T = TypeVar("T")
P = ParamSpec("P")


class Interactions(Protocol):
    """Runs interactions; :class:`mensagod.storage.database.Database` says what each method promises."""

    def run(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction in one transaction."""

    def write(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction of one statement."""

    def read(
        self, interaction: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[T]:
        """Run an interaction of one statement that only reads."""
