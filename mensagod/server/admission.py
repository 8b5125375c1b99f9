"""Limits of connections and memory, in total and for each source (spec 01, *Timeouts and limits*)."""

from collections import Counter
from collections.abc import Hashable, Sized
from ipaddress import IPv6Address, ip_address

from attrs import define, field

from mensagod.errors import ServerUnavailable
from mensagod.wire.frames import MAX_PAYLOAD

MIB = 1024 * 1024


def source_of(host: str) -> str:
    """Give the source that an address is counted under: an IPv4 address itself, an IPv6 address its /64.

    An IPv4-mapped IPv6 address counts as the IPv4 address. Any other text (a Unix socket) counts as itself.
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
    """Counts connections, in total and for each source, and limits both.

    :ivar total: the most connections in total; 0 means no limit.
    :ivar each: the most connections of one source; 0 means no limit.
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
        """Count one connection of ``source`` less."""
        self.count -= 1
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]


@define(eq=False)
class BufferLedger:
    """Accounts for the memory that multipart messages use until they are answered (spec 01, *Frames*).

    :ivar total: the most bytes in total; 0 means no limit.
    :ivar per_workspace: the most bytes for all connections of one workspace.
    :ivar per_source: the most bytes for all connections of one source.
    """

    total: int
    per_workspace: int = 32 * MIB
    per_source: int = 64 * MIB
    _held: Counter[Hashable] = field(factory=Counter, init=False)

    @property
    def held(self) -> int:
        """The bytes in use by all connections."""
        return self._held[None]

    def change(self, source: str, workspace: Hashable | None, amount: int) -> None:
        """Charge ``amount`` bytes to a connection, or release them if ``amount`` is negative.

        :raises ServerUnavailable: if that would exceed a limit; then nothing is charged.
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


@define(eq=False)
class Charge:
    """What a ledger accounts for one connection.

    :ivar source: the source of the connection.
    :ivar amount: how many bytes are accounted for.
    """

    ledger: BufferLedger
    source: str
    amount: int = field(default=0, init=False)
    _workspace: Hashable | None = field(default=None, init=False)
    _mark: int = field(default=0, init=False)

    def change(self, amount: int, workspace: Hashable | None) -> bool:
        """Have ``amount`` bytes accounted for; tell whether an unfinished message made progress.

        Tiny parts must not keep a message open for ever, so only a full frame's worth is progress.

        :param workspace: who is logged in; that may change before the bytes are released.
        :raises ServerUnavailable: if that would exceed a limit; then nothing is charged.
        """
        if not self.amount:
            self._workspace = workspace
        self.ledger.change(self.source, self._workspace, amount - self.amount)
        self.amount = amount
        if self._mark <= amount < self._mark + MAX_PAYLOAD:
            return False
        self._mark = amount
        return True


def charge_of(message: Sized) -> int:
    """Give the bytes that the ledger counts for a message until it is answered; 0 if it fits one frame."""
    return len(message) if len(message) > MAX_PAYLOAD else 0
