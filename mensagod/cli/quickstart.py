"""``mensagod quickstart``: a test server in one directory (spec 06)."""

import json
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import click
from attrs import frozen
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from mensagod.cli import output
from mensagod.cli.founded import as_document
from mensagod.cli.init import DOMAIN
from mensagod.cli.serving import serve
from mensagod.cli.verbs import Invocation, Verb, pass_invocation
from mensagod.config import Config
from mensagod.config.listeners import Listener, parse_listener
from mensagod.config.toml import write_value
from mensagod.installation.certificates import read_pins
from mensagod.installation.founding import Choices
from mensagod.installation.overview import Overview, read_overview
from mensagod.installation.quickstart_directory import TOP_DIR, QuickstartDirectory
from mensagod.organization.dns_records import make_records
from mensagod.process.trusted_configuration import load_guarded
from mensagod.values.identity import Domain

DEFAULT_CONFIG: Final = Path("var") / "serverconfig.toml"
DEFAULT_DOMAIN: Final = Domain("localhost")
ORGANIZATION: Final = "Mensago Quickstart"
DEFAULT_PORT: Final = 2001
DEFAULT_TLS_PORT: Final = 2002

_PORT = click.IntRange(0, 65535)
_log = Logger(namespace="mensagod.quickstart")


@click.command(cls=Verb)
@click.argument("domain", type=DOMAIN, required=False)
@click.option(
    "--port",
    type=_PORT,
    metavar="PORT",
    help=f"The port for plain TCP, 0 for a free one [default: {DEFAULT_PORT}].",
)
@click.option(
    "--tls-port",
    type=_PORT,
    metavar="PORT",
    help=f"The port for TLS, 0 for a free one [default: {DEFAULT_TLS_PORT}].",
)
@pass_invocation
def command(invocation: Invocation, domain: Domain | None, port: int | None, tls_port: int | None) -> None:
    """Set up a server for DOMAIN (default: localhost) in ./var, if there is none, and run it on 127.0.0.1.

    The server has its own PostgreSQL, and keeps everything in that directory: remove it to start again from
    nothing. To use another directory, give the path of a configuration file in it with --config. Ports that
    are given at the first start are kept; ports that are given later apply to that start only.
    """
    if port == tls_port and port:
        raise click.UsageError("--port and --tls-port must differ")
    place = QuickstartDirectory(invocation.config or DEFAULT_CONFIG)
    choose = partial(_choose, place, domain or DEFAULT_DOMAIN, port, tls_port)
    is_new = place.set_up(choose, os.environ)
    if not is_new:
        _take_over(load_guarded(place.config, os.environ).config, domain, port, tls_port)
    config = load_guarded(place.config, os.environ).config
    if is_new:
        output.warn_of_fallback(config.global_.user)
    check_ports(config.network.endpoints)
    stage = _Stage(place, config, invocation.as_json, sys.stdout)
    serve(place.config, stage.announce, log=sys.stderr, ends_on_hangup=sys.stdin.isatty())


def _choose(place: QuickstartDirectory, domain: Domain, port: int | None, tls_port: int | None) -> Choices:
    listen = with_ports(
        (),
        DEFAULT_PORT if port is None else port,
        DEFAULT_TLS_PORT if tls_port is None else tls_port,
    )
    check_ports(listen)
    if sys.stderr.isatty():
        click.echo(f"Setting up a server for {domain} in {place.directory} ...", err=True)
    return Choices(
        config=place.config,
        domain=domain,
        organization=ORGANIZATION,
        top_dir=Path(TOP_DIR),
        listen=listen,
        embedded=True,
    )


def _take_over(config: Config, domain: Domain | None, port: int | None, tls_port: int | None) -> None:
    """Apply the arguments to a server that was set up before."""
    if domain not in {None, config.global_.domain}:
        raise output.Refusal(
            f"{config.path.parent} contains a server for {config.global_.domain}: use another directory for"
            f" {domain}",
            status=output.WRONG,
        )
    if (port, tls_port) != (None, None):
        listen = with_ports(config.network.endpoints, port, tls_port)
        os.environ["MENSAGOD_NETWORK__LISTEN"] = write_value([str(listener) for listener in listen])


def with_ports(listen: Sequence[Listener], port: int | None, tls_port: int | None) -> tuple[Listener, ...]:
    """Change the ports of the first plain and the first TLS listener; ``None`` leaves one unchanged."""
    changed = list(listen)
    for kind, number in (("tcp", port), ("tls", tls_port)):
        if number is not None:
            fresh = parse_listener(f"{kind}:{number}:interface=127.0.0.1")
            places = (place for place, listener in enumerate(changed) if listener.kind == kind)
            first = next(places, len(changed))
            changed[first : first + 1] = [fresh]
    return tuple(changed)


def check_ports(listen: Sequence[Listener]) -> None:
    """Raise :class:`~mensagod.cli.output.Refusal` if a port cannot be used."""
    unusable = unusable_ports(listen)
    if unusable:
        raise output.Refusal(*unusable)


def unusable_ports(listen: Sequence[Listener]) -> list[str]:
    """Find ports that cannot be used; give a sentence for each, with the option to choose another."""
    sentences = []
    for listener in listen:
        if listener.port and listener.kind in {"tcp", "tls"} and ":" not in listener.interface:
            option = "--tls-port" if listener.is_tls else "--port"
            try:
                _try_port(listener.interface, listener.port)
            except OSError as error:
                reason = f"Port {listener.port} cannot be used ({error.strerror})"
                sentences.append(f"{reason}: choose another with {option}")
    return sentences


def _try_port(interface: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((interface, port))
        probe.listen(1)


@frozen
class _Stage:
    """Prints the addresses of the server and the registration code once the server runs.

    :ivar stream: the original stdout; ``sys.stdout`` leads to the log while the server runs.
    """

    place: QuickstartDirectory
    config: Config
    as_json: bool
    stream: TextIO

    def announce(self, addresses: tuple[str, ...]) -> None:
        """Print the addresses of the server, and how its administrator registers."""
        shown = deferToThread(self._describe, addresses)
        shown.addCallback(self._print)
        shown.addErrback(lambda failure: _log.failure("The server's addresses cannot be shown", failure))

    def _print(self, text: str) -> None:
        click.echo(text, file=self.stream)
        self.stream.flush()

    def _describe(self, addresses: tuple[str, ...]) -> str:
        overview = read_overview(self.config)
        code = overview.unused_code(self.place.code)
        if self.as_json:
            return json.dumps(self._document(overview, code, addresses), indent=2)
        return "\n".join(self._lines(overview, code, addresses))

    def _document(
        self, overview: Overview, code: str | None, addresses: tuple[str, ...]
    ) -> dict[str, object]:
        port = int(min(addresses, key=lambda text: not text.startswith("tls:")).rpartition(":")[2])
        domains = self.config.global_.domains
        document = as_document(
            config=str(self.config.path),
            domain=self.config.global_.domain,
            admin=overview.admin,
            code=code,
            records=make_records(overview.entry, domains, read_pins(self.config), port),
            listen=[str(listener) for listener in self.config.network.endpoints],
        )
        return {**document, "addresses": list(addresses)}

    def _lines(self, overview: Overview, code: str | None, addresses: tuple[str, ...]) -> list[str]:
        domain = self.config.global_.domain
        names = {"tcp": "Plain TCP", "tls": "TLS"}
        lines = ["", "mensagod is running.", ""]
        for address in addresses:
            kind, _, rest = address.partition(":")
            lines.append(f"  {names.get(kind, kind):<18}  {rest}")
        lines.append(f"  {'Domain':<18}  {domain}")
        lines.append(f"  {'Administrator':<18}  admin/{domain}, workspace {overview.admin}")
        if code is not None:
            lines += [
                f"  {'Registration code':<18}  {code}",
                "",
                "Next: register the administrator in a Mensago client, with the workspace and the code.",
                f"Until then the code is kept in {self.place.code}.",
            ]
        return [*lines, "", f"Everything is in {self.place.directory}. Ctrl-C stops the server.", ""]
