"""What clients may take of the server: connections and memory (spec 01, *Timeouts and limits*)."""

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address, ip_address

from attrs import define, field

from mensagod.errors import ServerUnavailable

MIB = 1024 * 1024


def source_of(host: str) -> str:
    """Tell by what to count an address: itself, or for IPv6 its /64.

    What is no IP address (a Unix socket) counts under its own text. An IPv4 address inside IPv6 is the
    IPv4 address.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


@define(eq=False)
class ConnectionLimits:
    """How many connections there are, in all and for each source.

    :ivar total: the most in all; 0 is no limit.
    :ivar each: the most for one source; 0 is no limit.
    """

    total: int
    each: int
    count: int = field(default=0, init=False)
    _sources: Counter[str] = field(factory=Counter, init=False)

    def has_room(self, source: str) -> bool:
        """Tell whether the limits allow one more connection of ``source``."""
        if self.total and self.count >= self.total:
            return False
        return not self.each or self._sources[source] < self.each

    def enter(self, source: str) -> None:
        """Count one more connection of ``source``."""
        self.count += 1
        self._sources[source] += 1

    def leave(self, source: str) -> None:
        """Forget one connection of ``source`` that was counted."""
        self.count -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]


@define(eq=False)
class BufferLedger:
    """The memory that multipart messages hold until they are answered (spec 01, *Frames*).

    :ivar total: the most in all, in bytes; 0 is no limit.
    """

    total: int
    per_workspace: int = 32 * MIB
    per_source: int = 64 * MIB
    _held: Counter[Hashable] = field(factory=Counter, init=False)

    @property
    def held(self) -> int:
        """How many bytes all connections hold."""
        return self._held[None]

    def change(self, source: str, workspace: Hashable | None, amount: int) -> None:
        """Note that a connection holds ``amount`` bytes more, or less if it is negative.

        :raises ServerUnavailable: if that goes over a limit; then nothing was noted.
        """
        accounts: dict[Hashable, int] = {None: self.total, ("source", source): self.per_source}
        if workspace is not None:
            accounts["workspace", workspace] = self.per_workspace
        if amount > 0 and any(most and self._held[name] + amount > most for name, most in accounts.items()):
            raise ServerUnavailable("Too much data is being received at once", close=True)
        for name in accounts:
            self._held[name] += amount
            if not self._held[name]:
                del self._held[name]
