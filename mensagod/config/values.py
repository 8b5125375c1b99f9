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

#: The TOML types that the keys use.
Plain = bool | int | str | list["Plain"]


class Kind(Protocol[T]):
    """A kind of value that a key accepts."""

    @property
    def allowed(self) -> str:
        """The allowed values for the operator; it completes the sentence "must be ..."."""

    def parse(self, raw: object) -> T:
        """Parse a TOML value; raises :class:`BadValue` if it is not allowed."""

    def parse_text(self, text: str) -> T:
        """Parse plain text from the environment; raises :class:`BadValue` if it is not allowed."""

    def plain(self, value: T) -> Plain:
        """Give the TOML value for a value."""


def check_text(raw: object) -> str:
    """Accept a text without NUL and surrogates, which PostgreSQL or TOML cannot store.

    :raises BadValue: for anything else.
    """
    if not isinstance(raw, str):
        raise BadValue("not a text")
    if "\0" in raw or any("\ud800" <= character <= "\udfff" for character in raw):
        raise BadValue("the text contains a NUL character or a lone surrogate")
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
        """Accept ``true`` and ``false`` in any case."""
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
    """The base of the kinds whose values are written as one text."""

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
        """Accept printable text."""
        if not text.strip() or not text.isprintable():
            raise BadValue("the text is empty or contains control characters")
        return text


@frozen
class SecretText(_Textual[Secret]):
    """A text that is never shown."""

    allowed: str = "a text, not empty"

    def from_text(self, text: str) -> Secret:
        """Accept any text that is not empty."""
        if not text:
            raise BadValue("the text is empty")
        return Secret(text)

    def plain(self, value: Secret) -> Plain:
        """Reveal the text, for a file that is to hold it."""
        return value.reveal()


@frozen
class ConnectionText(SecretText):
    """A connection string of libpq, which is never shown."""

    allowed: str = 'a connection string of libpq, such as "postgresql://mensago@db.example.com/mensago"'

    def from_text(self, text: str) -> Secret:
        """Accept what libpq can parse."""
        try:
            psycopg2.extensions.parse_dsn(text)
        except psycopg2.ProgrammingError:
            # The message of libpq is dropped: it quotes the text, including the password.
            raise BadValue("libpq cannot parse it") from None
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
    """A path; a relative one is relative to the directory of the configuration file."""

    allowed: str = "a path, absolute or relative to the directory of the configuration file"

    def from_text(self, text: str) -> Path:
        """Accept a path on one line."""
        if not text.strip() or not text.isprintable():
            raise BadValue("the path is empty or contains control characters")
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
    """A network of IP addresses; bits after the prefix are cleared, as in the reference server."""

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
            raise BadValue(f"this is an IPv{network.version} network")
        return network


@frozen
class Nameserver:
    """Address and port of a DNS server. Its ``str`` is ``HOST:PORT``, with an IPv6 address in brackets."""

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
    """A listener: a Twisted endpoint string, or ``tls:``."""

    allowed: str = (
        'a Twisted endpoint string such as "tcp:2001:interface=127.0.0.1", "tls:2001:interface=192.0.2.1" '
        'or "unix:/run/mensagod.sock" (in an IPv6 address write a backslash before each colon)'
    )

    def from_text(self, text: str) -> Listener:
        """Accept what :func:`parse_listener` does."""
        return parse_listener(text)


@frozen
class Many(Generic[T]):
    """A list whose items are of one kind; it may be written as one text with commas between the items."""

    item: Kind[T]
    least: int = 0

    @property
    def allowed(self) -> str:
        """Describe the list and its items."""
        count = "a list" if not self.least else f"a list of {self.least} or more"
        return f"{count}, each item {self.item.allowed}"

    def parse(self, raw: object) -> tuple[T, ...]:
        """Accept a TOML array, or a text with commas between the items, as the reference server does."""
        if isinstance(raw, str):
            return self.parse_text(raw)
        if not isinstance(raw, list):
            raise BadValue("not a list")
        return self._enough([self.item.parse(item) for item in raw])

    def parse_text(self, text: str) -> tuple[T, ...]:
        """Accept items separated by commas; an empty text is the empty list."""
        items = [item.strip() for item in check_text(text).split(",")] if text.strip() else []
        return self._enough([self.item.parse_text(item) for item in items])

    def plain(self, value: Sequence[T]) -> Plain:
        """Give the list of the items' TOML values."""
        return [self.item.plain(item) for item in value]

    def _enough(self, items: list[T]) -> tuple[T, ...]:
        if len(items) < self.least:
            raise BadValue("too few items")
        return tuple(items)


def parse_variable(kind: Kind[T], text: str) -> T:
    """Parse the text of an environment variable: as TOML if that is of the kind, else as plain text."""
    try:
        document = tomllib.loads(f"value = {text}")
        if document.keys() == {"value"}:
            return kind.parse(document["value"])
    except (ValueError, RecursionError):
        # Not TOML, or TOML of another kind: for example the database name 2001, which TOML reads as a number.
        pass
    return kind.parse_text(text)
