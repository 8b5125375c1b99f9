"""The DNS records that an organization publishes (spec 03, *DNS*)."""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from mensagod.config.listeners import Listener
from mensagod.crypto.cryptostring import CryptoString
from mensagod.keycards.entries import OrganizationEntry
from mensagod.values.identity import Domain

DEFAULT_PORT: Final = 2001


@frozen
class Record:
    """A DNS record.

    :ivar type: ``TXT`` or ``SRV``.
    :ivar name: the name, without a final dot.
    :ivar value: the value, without quotes and final dots, and not split into strings.
    """

    type: str
    name: str
    value: str

    @property
    def zone_data(self) -> str:
        """The value in zone file syntax. Each field of a TXT record is a string of at most 255 bytes."""
        if self.type != "TXT":
            return self.value
        return " ".join(f'"{part}"' for part in self.value.split(" "))


def host_name(domain: Domain) -> str:
    """Give the host name of an organization's server."""
    return f"mensago.{domain}"


def make_records(
    entry: OrganizationEntry, domains: Sequence[Domain], pins: Iterable[CryptoString], port: int
) -> list[Record]:
    """Make the records to publish for every domain.

    :param entry: the organization's current entry.
    :param domains: the main domain first.
    :param pins: the hashes of the certificates' public keys.
    :param port: where other servers connect.
    """
    main = domains[0]
    text = management_text(entry, pins)
    records = []
    for domain in domains:
        value = text if domain == main else f"{text} org={main}"
        records.append(Record("TXT", host_name(domain), value))
    # All domains point to the host of the main domain, because the certificate is for its name.
    target = f"0 0 {port} {host_name(main)}"
    return records + [Record("SRV", f"_mensago._tcp.{domain}", target) for domain in domains]


def management_text(entry: OrganizationEntry, pins: Iterable[CryptoString]) -> str:
    """Give the text of the main domain's management record."""
    fields = [f"pvk={entry.primary_key}", f"ek={entry.encryption_key}"]
    if entry.secondary_key is not None:
        fields.append(f"svk={entry.secondary_key}")
    return " ".join([*fields, *(f"tls={pin}" for pin in pins)])


def public_port(listeners: Sequence[Listener]) -> int:
    """Choose the port to publish: that of the first TLS listener, or else of the first listener with a port.

    Port 0 does not count: the system chooses a port at the start.
    """
    ordered = sorted(listeners, key=lambda listener: not listener.is_tls)
    return next((listener.port for listener in ordered if listener.port), DEFAULT_PORT)
