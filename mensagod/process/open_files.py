"""The limit of open files, and the number of clients that it allows (spec 06, *Configuration*)."""

import errno
import resource
from typing import Final

from mensagod.config import Config

RESERVE: Final = 200
"""File descriptors reserved for files, listeners, resolvers and deliveries."""

MAX_WAITING: Final = 500
"""How many connections may wait for their PROXY header; they are no clients yet, and hold descriptors."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE})


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit to the hard limit; give the old and the new soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def usable_clients(config: Config) -> int:
    """Give ``performance.max_clients``, or the number of clients that the limit of open files allows if less.

    0 is no limit, as in the configuration.
    """
    wanted = config.performance.max_clients
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    waiting = MAX_WAITING if config.network.proxy_protocol else 0
    possible = max(1, soft - RESERVE - waiting - config.database.pool_max)
    return min(wanted, possible) if wanted else possible


def are_exhausted(error: BaseException | None) -> bool:
    """Tell whether an error means that no more files can be opened."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED
