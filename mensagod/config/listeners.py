r"""Endpoint strings of ``network.listen`` and ``metrics.listen``, checked without binding anything (spec 06).

The syntax is Twisted's: a kind and arguments, separated by colons. An argument may be ``name=value``. A
backslash escapes the next character. The kind ``tls:PORT:interface=ADDRESS`` is mensagod's own.

This module parses the arguments of all kinds. The kinds ``tcp``, ``tls`` and ``unix`` are then checked with
Twisted's own parser. The other kinds are not, because that parser has side effects: for ``ssl`` it opens the
key file, for ``systemd`` it needs the inherited sockets, and for ``tcp6`` it loads a plugin, which may fail
after the server has given up root.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from attrs import field, frozen
from twisted.internet.endpoints import quoteStringArgument, serverFromString

from mensagod.errors import BadValue

#: The arguments of each kind: first those that may be given by position, in this order, then those that
#: need a name.
_ARGUMENTS: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "tcp": (("port", "interface", "backlog"), frozenset()),
    "tcp6": (("port", "backlog", "interface"), frozenset()),
    "tls": (("port", "interface", "backlog"), frozenset()),
    "ssl": (
        (
            "port",
            "privateKey",
            "certKey",
            "sslmethod",
            "interface",
            "backlog",
            "extraCertChain",
            "dhParameters",
        ),
        frozenset(),
    ),
    "unix": (("address", "mode", "backlog", "lockfile"), frozenset()),
    "systemd": (("domain", "index"), frozenset({"name"})),
}
_READ_BY_TWISTED: Final = frozenset({"tcp", "tls", "unix"})
_LONGEST: Final = 1024


@frozen
class Listener:
    """An endpoint that the server listens on.

    :ivar text: the string as the operator wrote it, stripped; listeners with equal texts are equal.
    :ivar kind: ``tcp``, ``tcp6``, ``tls``, ``ssl``, ``unix`` or ``systemd``.
    :ivar port: the TCP port (0 lets the system choose); ``None`` for ``unix`` and ``systemd``.
    :ivar interface: the address to bind to, ``""`` for all; also ``""`` for ``unix`` and ``systemd``.
    :ivar options: every argument by name, unescaped.
    """

    text: str
    kind: str = field(eq=False)
    port: int | None = field(eq=False)
    interface: str = field(eq=False)
    options: Mapping[str, str] = field(eq=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def is_tls(self) -> bool:
        """Whether connections use TLS from the first byte."""
        return self.kind in {"tls", "ssl"}

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect; unknown for a socket from systemd, which counts as no."""
        if self.kind in {"unix", "systemd"}:
            return self.kind == "unix"
        return bool(self.interface) and (
            self.interface == "localhost" or ip_address(self.interface).is_loopback
        )

    @property
    def inner(self) -> str:
        """The Twisted endpoint string to bind: for ``tls`` a ``tcp`` endpoint, otherwise the text."""
        return f"tcp:{self.text.partition(':')[2]}" if self.kind == "tls" else self.text


def tcp_listener(address: IPv4Address | IPv6Address, port: int) -> Listener:
    """Make the TCP listener of ``network.listen_ip`` and ``network.port``."""
    return parse_listener(f"tcp:{port}:interface={quoteStringArgument(str(address))}")


def parse_listener(text: str) -> Listener:
    """Parse an endpoint string.

    :raises BadValue: if it is malformed; the text says what is wrong.
    """
    text = text.strip()
    if len(text) > _LONGEST or not text.isprintable():
        raise BadValue("an endpoint string is at most 1024 printable characters")
    (prefix, kind), *arguments = _split(text)
    if prefix is not None or kind not in _ARGUMENTS:
        raise BadValue(f"the kind of an endpoint is one of {', '.join(_ARGUMENTS)}")
    listener = _check(text, kind, _name(kind, arguments))
    if kind in _READ_BY_TWISTED:
        _ask_twisted(listener)
    return listener


def _check(text: str, kind: str, options: Mapping[str, str]) -> Listener:
    if kind == "unix":
        _check_unix(options)
    if kind == "systemd":
        _check_systemd(options)
    if kind in {"unix", "systemd"}:
        return Listener(text, kind, None, "", options)
    _check_number(options, "backlog", 65535)
    if "port" not in options:
        raise BadValue("the endpoint has no port")
    port = _check_number(options, "port", 65535)
    return Listener(text, kind, port, _check_interface(options.get("interface", "")), options)


def _ask_twisted(listener: Listener) -> None:
    """Check a listener with Twisted's parser. It needs no reactor, because the endpoint does not listen."""
    try:
        serverFromString(None, listener.inner)
    except (TypeError, ValueError) as error:
        raise BadValue(f"Twisted cannot parse the endpoint: {error}") from None


def _split(text: str) -> list[tuple[str | None, str]]:
    """Split at colons and at the first equals sign of each argument; a backslash escapes a character."""
    arguments: list[tuple[str | None, str]] = []
    name: str | None = None
    current = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise BadValue("the endpoint ends with a backslash, which must be followed by a character")
            current += escaped
        elif character == ":":
            arguments.append((name, current))
            name, current = None, ""
        elif character == "=" and name is None:
            name, current = current, ""
        else:
            current += character
    return [*arguments, (name, current)]


def _name(kind: str, arguments: list[tuple[str | None, str]]) -> dict[str, str]:
    positions, others = _ARGUMENTS[kind]
    options: dict[str, str] = {}
    named = False
    for number, (given, value) in enumerate(arguments):
        if given is None and (named or number >= len(positions)):
            raise BadValue("too many arguments; in an IPv6 address write a backslash before each colon")
        named = named or given is not None
        name = positions[number] if given is None else given
        if name not in positions and name not in others:
            raise BadValue(f"{kind} has no such argument; it has {', '.join([*positions, *sorted(others)])}")
        if name in options:
            raise BadValue(f"{name} is given twice")
        options[name] = value
    return options


def _check_number(options: Mapping[str, str], name: str, highest: int, base: int = 10) -> int | None:
    if name not in options:
        return None
    digits = options[name]
    allowed = "01234567" if base == 8 else "0123456789"
    if not digits or any(digit not in allowed for digit in digits):
        raise BadValue(f"{name} is not a number")
    if len(digits) > 6 or int(digits, base) > highest:
        raise BadValue(f"{name} is too large")
    return int(digits, base)


def _check_interface(interface: str) -> str:
    if interface not in {"", "localhost"}:
        try:
            ip_address(interface)
        except ValueError:
            raise BadValue("the interface is not an IP address") from None
    return interface


def _check_unix(options: Mapping[str, str]) -> None:
    if not options.get("address", "").startswith("/"):
        raise BadValue("unix needs the absolute path of its socket")
    _check_number(options, "backlog", 65535)
    _check_number(options, "mode", 0o777, base=8)
    _check_number(options, "lockfile", 1)


def _check_systemd(options: Mapping[str, str]) -> None:
    if options.get("domain") not in {"INET", "INET6", "UNIX"}:
        raise BadValue("systemd needs domain=INET, INET6 or UNIX")
    if ("index" in options) == ("name" in options):
        raise BadValue("systemd needs either index or name")
    _check_number(options, "index", 1000)
