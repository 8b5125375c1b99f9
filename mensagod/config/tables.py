"""The tables of the configuration: each key once, with its type, bounds, default and explanation (spec 06).

Loading, the commented configuration in ``etc``, the reference page and the answer to SIGHUP all read these
classes.
"""

# key() gives attrs.field(), which ruff cannot see.
# ruff: noqa: RUF009

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import MappingProxyType

from attrs import field, frozen

from mensagod.config.choices import Hints, LogFormat, LogLevel, Registration
from mensagod.config.keys import key, optional_key, required_key
from mensagod.config.listeners import Listener, parse_listener, tcp_listener
from mensagod.config.secret import Secret
from mensagod.config.values import (
    Address,
    Choice,
    ConnectionText,
    DomainName,
    Endpoint,
    FilePath,
    Flag,
    IPAddress,
    IPNetwork,
    Many,
    Nameserver,
    NameserverText,
    Network,
    SecretText,
    Text,
    Whole,
)
from mensagod.values.identity import Domain

MEBIBYTE = 1024 * 1024
_DAY_SECONDS = 86_400
_WEEK_MINUTES = 7 * 24 * 60
_MEBIBYTES = Whole(1, 2**43 - 1, off=True)
_SECONDS = Whole(1, _DAY_SECONDS, off=True)
_MANY = Whole(1, 1_000_000_000, off=True)
_FAILURES = Whole(3, 100_000)
_PORT = Whole(1, 65535)
_DOMAINS = Many(DomainName())


@frozen(kw_only=True)
class GlobalTable:
    """What the server is and whom it serves."""

    domain: Domain = required_key(
        DomainName(),
        "The domain of the organization that this server serves.",
        example=Domain.from_text("example.com"),
    )
    extra_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Further domains that are served like the first one.",
        example=(Domain.from_text("example.org"),),
        reload=False,
    )
    top_dir: Path = key(
        FilePath(), Path("/var/lib/mensagod"), "The directory of all files of the workspaces.", reload=False
    )
    registration: Registration = key(
        Choice(Registration),
        Registration.PRIVATE,
        "Who may open an account: everyone (public), clients in the networks below (network), those whom the "
        "administrator approves (moderated), or only those who hold a registration code (private).",
    )
    registration_subnet: tuple[IPNetwork, ...] = key(
        Many(Network(frozenset({4}))),
        tuple(map(ip_network, ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8"))),
        "The IPv4 networks of the registration mode network.",
    )
    registration_subnet6: tuple[IPNetwork, ...] = key(
        Many(Network(frozenset({6}))),
        tuple(map(ip_network, ("fe80::/10", "::1/128"))),
        "The IPv6 networks of the registration mode network.",
    )
    archive_approval: bool = key(
        Flag(), False, "Whether a user's wish to archive the own workspace waits for the administrator."
    )
    default_quota: int = key(
        _MEBIBYTES, 0, "How much a new workspace may hold; 0 means as much as it likes.", unit="MiB"
    )
    user: str = key(
        Text(),
        "mensagod",
        "The account that a server started as root becomes before it serves.",
        reload=False,
    )

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Every domain that is served here, the main one first."""
        return (self.domain, *self.extra_domains)

    @property
    def default_quota_bytes(self) -> int:
        """The quota of a new workspace in bytes; 0 is none."""
        return self.default_quota * MEBIBYTE


@frozen(kw_only=True)
class DatabaseTable:
    """Where PostgreSQL is."""

    host: str = key(
        Text(), "localhost", "Host name, address or socket directory of PostgreSQL.", reload=False
    )
    port: int = key(_PORT, 5432, "The port of PostgreSQL.", reload=False)
    name: str = key(Text(), "mensago", "The name of the database.", reload=False)
    user: str = key(Text(), "mensago", "The role that the server logs in as.", reload=False)
    password: Secret | None = optional_key(
        SecretText(), "The password of that role.", example=Secret("secret"), reload=False
    )
    url: Secret | None = optional_key(
        ConnectionText(),
        "A connection string of libpq, instead of host, port, name, user and password.",
        example=Secret("postgresql://mensago:secret@db.example.com/mensago?sslmode=verify-full"),
        reload=False,
    )
    pool_min: int = key(Whole(0, 1000), 2, "Connections that are kept open even when idle.", reload=False)
    pool_max: int = key(
        Whole(1, 1000),
        10,
        "The most connections that one process works with; one more asks whether the database lives.",
        reload=False,
    )
    embedded: bool = key(
        Flag(), False, "Whether the server runs a PostgreSQL of its own below global.top_dir.", reload=False
    )
    embedded_binaries: Path | None = optional_key(
        FilePath(),
        "The directory of the PostgreSQL programs for that; without it they are searched for.",
        example=Path("/usr/lib/postgresql/17/bin"),
        reload=False,
    )


@frozen(kw_only=True)
class NetworkTable:
    """Where clients connect, and what a connection may cost."""

    listen: tuple[Listener, ...] = key(
        Many(Endpoint()),
        (),
        "Where to listen. An empty list means plain TCP on listen_ip and port.",
        example=(parse_listener("tls:2001:interface=192.0.2.1"),),
        reload=False,
    )
    listen_ip: IPAddress = key(
        Address(), ip_address("127.0.0.1"), "The address to listen on while listen is empty.", reload=False
    )
    port: int = key(_PORT, 2001, "The port to listen on while listen is empty.", reload=False)
    tls_certificate: Path = key(
        FilePath(),
        Path("tls.crt"),
        "The certificate chain (PEM) of every tls: listener; SIGHUP reads it again.",
    )
    tls_key: Path = key(FilePath(), Path("tls.key"), "The private key (PEM) of that certificate.")
    proxy_protocol: tuple[Listener, ...] = key(
        Many(Endpoint()),
        (),
        "Endpoints of listen for a balancer alone: each connection begins with a PROXY v2 header.",
        example=(parse_listener("tls:2001:interface=192.0.2.1"),),
        reload=False,
    )
    max_request_size: int = key(
        Whole(4096, 26_000_000, off=True),
        65532,
        "The longest request before login; 0 leaves the limit of a logged-in session, 26000000.",
        unit="bytes",
    )
    max_buffered: int = key(
        _MEBIBYTES,
        256,
        "What multipart messages of all connections may hold in memory until they are answered.",
        unit="MiB",
    )
    transfer_timeout: int = key(
        _SECONDS, 60, "How long a peer may be silent inside a frame, a message or a file.", unit="seconds"
    )
    idle_timeout: int = key(
        Whole(1800, 30 * _DAY_SECONDS, off=True),
        1800,
        "How long a logged-in session may be idle.",
        unit="seconds",
    )
    login_timeout: int = key(
        _SECONDS, 120, "How long a connection may be idle that has not logged in.", unit="seconds"
    )
    max_clients_per_ip: int = key(_MANY, 100, "Connections of one IPv4 address or one IPv6 /64 network.")

    @property
    def endpoints(self) -> tuple[Listener, ...]:
        """Where to listen, with the default made from ``listen_ip`` and ``port``."""
        return self.listen or (tcp_listener(self.listen_ip, self.port),)

    @property
    def max_buffered_bytes(self) -> int:
        """The limit of all multipart messages in bytes; 0 is none."""
        return self.max_buffered * MEBIBYTE


@frozen(kw_only=True)
class PerformanceTable:
    """How much the server stores and does at once."""

    max_file_size: int = key(_MEBIBYTES, 50, "The largest file of a workspace.", unit="MiB")
    max_message_size: int = key(_MEBIBYTES, 50, "The largest message.", unit="MiB")
    max_sync_age: int = key(
        Whole(1, 36_500, off=True),
        360,
        "How long update records are kept; 0 keeps them for good.",
        unit="days",
    )
    max_delivery_threads: int = key(
        Whole(1, 1000),
        8,
        "Workers of one process for each route of delivery; each takes up to 64 messages at a time.",
        reload=False,
    )
    max_clients: int = key(_MANY, 10_000, "Connections of one process.")
    keycard_cache_size: int = key(
        Whole(1, 10_000_000, off=True), 5000, "Keycards that one process keeps in memory.", reload=False
    )
    max_files: int = key(_MANY, 1_000_000, "Files of one workspace.")
    min_free_percent: int = key(
        Whole(1, 99, off=True), 5, "With less free disk nothing is accepted any more.", unit="percent"
    )

    @property
    def max_file_bytes(self) -> int:
        """The largest file in bytes; 0 is no limit."""
        return self.max_file_size * MEBIBYTE

    @property
    def max_message_bytes(self) -> int:
        """The largest message in bytes; 0 is no limit."""
        return self.max_message_size * MEBIBYTE


@frozen(kw_only=True)
class SecurityTable:
    """What holds up those who guess, flood or pry."""

    diceware_wordcount: int = key(
        Whole(3, 12), 6, "Words of a registration or reset code that the server makes."
    )
    failure_delay_sec: int = key(
        Whole(1, 60, off=True), 3, "How long the answer to a wrong password is held back.", unit="seconds"
    )
    max_failures: int = key(_FAILURES, 5, "Failures of one kind and source address until it is locked out.")
    lockout_delay_min: int = key(
        Whole(1, _WEEK_MINUTES, off=True), 15, "How long a source address is locked out.", unit="minutes"
    )
    registration_delay_min: int = key(
        Whole(1, _WEEK_MINUTES, off=True),
        15,
        "The time between two registrations of one address.",
        unit="minutes",
    )
    password_reset_min: int = key(
        Whole(10, 2880), 60, "How long a reset code holds unless the request says otherwise.", unit="minutes"
    )
    argon2_memory: int = key(Whole(8192, 4_194_304), 65_536, "Memory of one password hash.", unit="KiB")
    argon2_time: int = key(Whole(1, 1000), 3, "Passes of one password hash.")
    argon2_parallelism: int = key(Whole(1, 4096), 1, "Lanes of one password hash.")
    max_password_checks: int = key(
        Whole(1, 64), 2, "Password hashes that one process computes at the same time.", reload=False
    )
    admin_file_access: bool = key(
        Flag(), False, "Whether the administrator can read and change others' files."
    )
    remote_orgrevoke: bool = key(
        Flag(), False, "Whether the administrator's client can revoke the organization's keys (ORGREVOKE)."
    )
    max_bad_requests: int = key(
        Whole(1, 100_000, off=True), 10, "Malformed requests in a row until the connection is closed."
    )
    max_recipients_per_minute: int = key(_MANY, 25, "Messages that one device may send within a minute.")


@frozen(kw_only=True)
class FederationTable:
    """How the server deals with other servers."""

    enabled: bool = key(Flag(), True, "Whether messages go to and come from other domains.", reload=False)
    plaintext_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Domains whose servers are spoken to without TLS; nothing else ever is.",
        example=(Domain.from_text("lab.example.com"),),
    )
    accept_unsigned_pins: bool = key(
        Flag(),
        False,
        "Whether a certificate pin from DNS counts instead of a certificate authority even without DNSSEC. "
        "For private networks.",
    )
    allow_networks: tuple[IPNetwork, ...] = key(
        Many(Network()),
        (),
        "Loopback, private and link-local networks in which other servers may stand after all.",
        example=(ip_network("10.0.0.0/8"),),
    )
    blocked_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Domains, with all below them, that no message is taken from.",
        example=(Domain.from_text("spam.example.net"),),
    )
    nameservers: tuple[Nameserver, ...] = key(
        Many(NameserverText()),
        (),
        "The DNS servers to ask. An empty list means those of the system.",
        example=(Nameserver(ip_address("192.0.2.53")),),
        reload=False,
    )
    max_connections_per_domain: int = key(
        Whole(1, 1000, off=True), 4, "Deliveries to one domain at the same time."
    )
    retry_intervals: tuple[int, ...] = key(
        Many(Whole(1, 6 * _DAY_SECONDS), least=1),
        (60, 300, 900, 1800, 3600),
        "The waits between tries to deliver a message; the last one repeats.",
        unit="seconds",
    )
    max_queue_age: int = key(Whole(1, 144), 120, "When tries to deliver a message end.", unit="hours")
    max_failures: int = key(
        _FAILURES,
        500,
        "Refused messages of one domain within an hour until it has to wait for the next hour.",
    )


@frozen(kw_only=True)
class ClusterTable:
    """How several processes of one installation work together."""

    hints: Hints = key(
        Choice(Hints),
        Hints.PG,
        "How a process hears of changes that another one made: told by PostgreSQL (pg), or asking (poll).",
        reload=False,
    )
    listen_url: Secret | None = optional_key(
        ConnectionText(),
        "A direct connection for these hints where database.url leads to a pooler.",
        example=Secret("postgresql://mensago:secret@db.example.com/mensago"),
        reload=False,
    )


@frozen(kw_only=True)
class LogTable:
    """What the log looks like."""

    format: LogFormat = key(Choice(LogFormat), LogFormat.TEXT, "One line of text or of JSON for each event.")
    level: LogLevel = key(Choice(LogLevel), LogLevel.INFO, "The least important events that are logged.")


@frozen(kw_only=True)
class MetricsTable:
    """Where the metrics are."""

    listen: Listener | None = optional_key(
        Endpoint(),
        "Where metrics, /live and /ready are served over HTTP; without it they are not.",
        example=parse_listener("tcp:9090:interface=127.0.0.1"),
        reload=False,
    )


def _no_settings() -> Mapping[str, Mapping[str, object]]:
    return MappingProxyType({})


@frozen(kw_only=True)
class PluginsTable:
    """Which plugins run, and what they are told.

    :ivar settings: the sub-table of each plugin by its name, as TOML has it.
    """

    disabled: tuple[str, ...] = key(
        Many(Text()), (), "Names of plugins that are not loaded.", example=("EXAMPLE",), reload=False
    )
    settings: Mapping[str, Mapping[str, object]] = field(factory=_no_settings)
