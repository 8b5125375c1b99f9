"""The kinds of value that a key of the configuration can have (spec 06, *Configuration*).

Each says what it accepts and how its values are written.
"""

import enum
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import psycopg2
import psycopg2.extensions
from attrs import frozen

from mensagod.config.listeners import Listener, parse_listener
from mensagod.config.secret import Secret
from mensagod.errors import BadValue
from mensagod.values.identity import Domain

T = TypeVar("T")
E = TypeVar("E", bound=enum.StrEnum)
IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

#: What TOML itself can hold, as far as a key of ours uses it.
Plain = bool | int | str | list["Plain"]


class Kind(Protocol[T]):
    """What a key accepts."""

    @property
    def allowed(self) -> str:
        """What an operator may write, as the end of the sentence "must be ..."."""

    def parse(self, raw: object) -> T:
        """Turn what TOML holds into the value; raises :class:`BadValue` for what is not allowed."""

    def parse_text(self, text: str) -> T:
        """Turn a bare text, as the environment has it, into the value; raises :class:`BadValue`."""

    def plain(self, value: T) -> Plain:
        """Turn the value back into what TOML can hold."""


def check_text(raw: object) -> str:
    """Accept a text that TOML, PostgreSQL and the operating system can all hold; raises :class:`BadValue`."""
    if not isinstance(raw, str):
        raise BadValue("not a text")
    if "\0" in raw or any("\ud800" <= character <= "\udfff" for character in raw):
        raise BadValue("a text with a NUL or half a character")
    return raw


@frozen
class Flag:
    """``true`` or ``false``."""

    allowed: str = "true or false"

    def parse(self, raw: object) -> bool:
        """Accept a TOML boolean."""
        if not isinstance(raw, bool):
            raise BadValue("not true or false")
        return raw

    def parse_text(self, text: str) -> bool:
        """Accept the two words of TOML in any case."""
        words = {"true": True, "false": False}
        if text.strip().lower() not in words:
            raise BadValue("not true or false")
        return words[text.strip().lower()]

    def plain(self, value: bool) -> Plain:
        """Give the boolean itself."""
        return value


@frozen
class Whole:
    """A whole number within bounds; with ``off``, also 0."""

    lowest: int
    highest: int
    off: bool = False

    @property
    def allowed(self) -> str:
        """Name the bounds."""
        bounds = f"a whole number from {self.lowest} to {self.highest}"
        return f"0 (off) or {bounds}" if self.off else bounds

    def parse(self, raw: object) -> int:
        """Accept a TOML integer within the bounds."""
        if isinstance(raw, bool) or not isinstance(raw, int):
            raise BadValue("not a whole number")
        if not (self.lowest <= raw <= self.highest or (self.off and raw == 0)):
            raise BadValue("out of range")
        return raw

    def parse_text(self, text: str) -> int:
        """Accept ASCII digits."""
        digits = text.strip()
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
            raise BadValue("not a whole number")
        return self.parse(int(digits))

    def plain(self, value: int) -> Plain:
        """Give the number itself."""
        return value


class _Textual(ABC, Generic[T]):
    """What every kind has in common whose value is written as one text."""

    @abstractmethod
    def from_text(self, text: str) -> T:
        """Accept a text; raises :class:`BadValue`."""

    def parse(self, raw: object) -> T:
        """Accept a TOML string that :meth:`from_text` accepts."""
        return self.from_text(check_text(raw))

    def parse_text(self, text: str) -> T:
        """Accept the text as it stands."""
        return self.parse(text)

    def plain(self, value: T) -> Plain:
        """Write the value as its text."""
        return str(value)


@frozen
class Text(_Textual[str]):
    """A text on one line, not empty."""

    allowed: str = "a text on one line, not empty"

    def from_text(self, text: str) -> str:
        """Accept what is printable."""
        if not text.strip() or not text.isprintable():
            raise BadValue("empty, or has control characters")
        return text


@frozen
class SecretText(_Textual[Secret]):
    """A text that is never shown."""

    allowed: str = "a text, not empty"

    def from_text(self, text: str) -> Secret:
        """Accept any text but the empty one."""
        if not text:
            raise BadValue("empty")
        return Secret(text)

    def plain(self, value: Secret) -> Plain:
        """Reveal the text, for a file that is to hold it."""
        return value.reveal()


@frozen
class ConnectionText(SecretText):
    """How to reach a database, which is never shown."""

    allowed: str = 'a connection string of libpq, such as "postgresql://mensago@db.example.com/mensago"'

    def from_text(self, text: str) -> Secret:
        """Accept what libpq understands."""
        try:
            psycopg2.extensions.parse_dsn(text)
        except psycopg2.ProgrammingError:
            # libpq quotes the text, and the password with it.
            raise BadValue("libpq does not understand it") from None
        return super().from_text(text)


@frozen
class Choice(_Textual[E]):
    """One of a few words."""

    words: type[E]

    @property
    def allowed(self) -> str:
        """List the words."""
        return "one of " + ", ".join(f'"{word.value}"' for word in self.words)

    def from_text(self, text: str) -> E:
        """Accept one of the words, in any case."""
        try:
            return self.words(text.strip().lower())
        except ValueError:
            raise BadValue("not one of the words") from None


@frozen
class DomainName(_Textual[Domain]):
    """A domain (spec 02)."""

    allowed: str = 'a domain, such as "example.com"'

    def from_text(self, text: str) -> Domain:
        """Accept a domain in any case."""
        return Domain.from_text(text.strip())


@frozen
class FilePath(_Textual[Path]):
    """A path in the file system; a relative one counts from the directory of the configuration file."""

    allowed: str = "a path; a relative one counts from the directory of the configuration file"

    def from_text(self, text: str) -> Path:
        """Accept a path on one line."""
        if not text.strip() or not text.isprintable():
            raise BadValue("empty, or has control characters")
        return Path(text)


@frozen
class Address(_Textual[IPAddress]):
    """An IP address."""

    allowed: str = "an IP address"

    def from_text(self, text: str) -> IPAddress:
        """Accept IPv4 and IPv6."""
        try:
            return ip_address(text.strip())
        except ValueError:
            raise BadValue("not an IP address") from None


@frozen
class Network(_Textual[IPNetwork]):
    """A network of IP addresses; bits beyond the prefix are cleared, as the reference does."""

    versions: frozenset[int] = frozenset({4, 6})

    @property
    def allowed(self) -> str:
        """Name the form and the version."""
        if self.versions == {6}:
            return 'an IPv6 network, such as "fe80::/10"'
        only = "IPv4" if self.versions == {4} else "IPv4 or IPv6"
        return f'an {only} network, such as "10.0.0.0/8"'

    def from_text(self, text: str) -> IPNetwork:
        """Accept ``ADDRESS/PREFIX``, or one address."""
        try:
            network = ip_network(text.strip(), strict=False)
        except ValueError:
            raise BadValue("not a network") from None
        if network.version not in self.versions:
            raise BadValue("a network of the other IP version")
        return network


@frozen
class Nameserver:
    """Address and port of a DNS server; as a text ``HOST:PORT``, with brackets around IPv6."""

    host: IPAddress
    port: int = 53

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host.version == 6 else f"{self.host}"
        return f"{host}:{self.port}"


@frozen
class NameserverText(_Textual[Nameserver]):
    """A DNS server by address, with or without a port."""

    allowed: str = 'an IP address, or one with a port: "192.0.2.53:5353", "[2001:db8::1]:53"'

    def from_text(self, text: str) -> Nameserver:
        """Accept ``HOST``, ``HOST:PORT``, ``[HOST]:PORT`` and ``[HOST]``."""
        text = text.strip()
        if text.startswith("["):
            host, closed, rest = text[1:].partition("]")
            port = rest.removeprefix(":") if rest.startswith(":") else ""
            if not closed or rest in {":"} or (rest and not port):
                raise BadValue("not an address and a port")
        else:
            host, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
            if text.endswith(":") and text.count(":") == 1:
                raise BadValue("not an address and a port")
        return Nameserver(Address().from_text(host), Whole(1, 65535).parse_text(port) if port else 53)


@frozen
class Endpoint(_Textual[Listener]):
    """Where to listen: a Twisted endpoint string, or ``tls:``."""

    allowed: str = (
        'a Twisted endpoint string such as "tcp:2001:interface=127.0.0.1", "tls:2001:interface=192.0.2.1" '
        'or "unix:/run/mensagod.sock" (in an IPv6 address a backslash stands before each colon)'
    )

    def from_text(self, text: str) -> Listener:
        """Accept what :func:`parse_listener` does."""
        return parse_listener(text)


@frozen
class Many(Generic[T]):
    """A list, each item of one kind; a comma-joined text means the same."""

    item: Kind[T]
    least: int = 0

    @property
    def allowed(self) -> str:
        """Name what the items must be."""
        count = "a list" if not self.least else f"a list of {self.least} or more"
        return f"{count}, each item {self.item.allowed}"

    def parse(self, raw: object) -> tuple[T, ...]:
        """Accept a TOML array, or a comma-joined text as the reference has it."""
        if isinstance(raw, str):
            return self.parse_text(raw)
        if not isinstance(raw, list):
            raise BadValue("not a list")
        return self._enough([self.item.parse(item) for item in raw])

    def parse_text(self, text: str) -> tuple[T, ...]:
        """Accept items joined by commas; nothing is the empty list."""
        items = [item.strip() for item in check_text(text).split(",")] if text.strip() else []
        return self._enough([self.item.parse_text(item) for item in items])

    def plain(self, value: Sequence[T]) -> Plain:
        """Write a list of what the items are."""
        return [self.item.plain(item) for item in value]

    def _enough(self, items: list[T]) -> tuple[T, ...]:
        if len(items) < self.least:
            raise BadValue("too few items")
        return tuple(items)


def parse_variable(kind: Kind[T], text: str) -> T:
    """Read a value of the environment: as TOML if it then is of the right kind, else as a bare text."""
    try:
        document = tomllib.loads(f"value = {text}")
        if document.keys() == {"value"}:
            return kind.parse(document["value"])
    except (ValueError, RecursionError):
        # Not TOML, or TOML of another kind: a name like 2001 is a text all the same.
        pass
    return kind.parse_text(text)
