"""What the tests of the configuration share: good and bad values for each key, and a way to load."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import Config, ConfigFaults, Fault, load

#: For each key, a value as TOML has it that is not the default.
GOOD: Mapping[str, str] = {
    "global.domain": '"example.org"',
    "global.extra_domains": '["example.net", "Example.ORG"]',
    "global.top_dir": '"/srv/mensago"',
    "global.registration": '"public"',
    "global.registration_subnet": '["192.0.2.0/24", "198.51.100.0/24"]',
    "global.registration_subnet6": '["2001:db8::/32"]',
    "global.archive_approval": "true",
    "global.default_quota": "1024",
    "global.user": '"mail"',
    "database.host": '"/run/postgresql"',
    "database.port": "6432",
    "database.name": '"2001"',
    "database.user": '"señor"',
    "database.password": '"a \\"b\\" \\\\ c"',
    "database.url": '"postgresql://db.example.com/mensago"',
    "database.pool_min": "0",
    "database.pool_max": "1000",
    "database.embedded": "true",
    "database.embedded_binaries": '"/opt/pg/bin"',
    "network.listen": '["tls:2001:interface=192.0.2.1", "unix:/run/mensagod.sock"]',
    "network.listen_ip": '"::1"',
    "network.port": "65535",
    "network.tls_certificate": '"/etc/ssl/a.pem"',
    "network.tls_key": '"key.pem"',
    "network.proxy_protocol": '["tcp:2001:interface=127.0.0.1"]',
    "network.max_request_size": "0",
    "network.max_buffered": "0",
    "network.transfer_timeout": "0",
    "network.idle_timeout": "0",
    "network.login_timeout": "1",
    "network.max_clients_per_ip": "0",
    "performance.max_file_size": "0",
    "performance.max_message_size": "1",
    "performance.max_sync_age": "0",
    "performance.max_delivery_threads": "1",
    "performance.max_clients": "0",
    "performance.keycard_cache_size": "0",
    "performance.max_files": "0",
    "performance.min_free_percent": "0",
    "performance.inline_limit": "64",
    "performance.garbage_hours": "0",
    "security.diceware_wordcount": "3",
    "security.failure_delay_sec": "0",
    "security.max_failures": "100000",
    "security.lockout_delay_min": "0",
    "security.registration_delay_min": "0",
    "security.password_reset_min": "2880",
    "security.argon2_memory": "8192",
    "security.argon2_time": "1",
    "security.argon2_parallelism": "4",
    "security.max_password_checks": "1",
    "security.admin_file_access": "true",
    "security.remote_orgrevoke": "true",
    "security.max_bad_requests": "0",
    "security.max_recipients_per_minute": "0",
    "federation.enabled": "false",
    "federation.plaintext_domains": '["lab.example.net"]',
    "federation.accept_unsigned_pins": "true",
    "federation.allow_networks": '["10.0.0.0/8", "fc00::/7"]',
    "federation.blocked_domains": '["spam.example.net"]',
    "federation.nameservers": '["192.0.2.53", "[2001:db8::1]:5353", "2001:db8::2", "192.0.2.54:53"]',
    "federation.max_connections_per_domain": "0",
    "federation.retry_intervals": "[1, 2]",
    "federation.max_queue_age": "144",
    "federation.max_failures": "3",
    "cluster.hints": '"poll"',
    "cluster.listen_url": '"postgresql://direct.example.com/mensago"',
    "log.format": '"json"',
    "log.level": '"debug"',
    "metrics.listen": '"tcp:9090:interface=127.0.0.1"',
    "plugins.disabled": '["EXAMPLE"]',
}

_FLAG = ("1", '"yes"', "[]")
_NUMBER = ("-1", "1.5", "true", '"10"', "[1]", "99999999999999999999", "1979-05-27", "{a = 1}")
_TEXT = ("1", "true", "[]", '""', '"a\\nb"')
_DOMAINS = ('"a b"', "1", "[1]", '["a..b"]', '[["a"]]')
_NETWORKS = ('"10.0.0.0/33"', '["x"]', "[true]", "5")
_SECRET = ("1", '"a\\u0000b"', '["a"]')
_ENDPOINTS = ("2001", '["2001"]', '["tcp:x"]', '["udp:53"]', '["tcp:2001:interface=::1"]')

#: For each key, values as TOML has them that are refused.
BAD: Mapping[str, tuple[str, ...]] = {
    "global.domain": ('""', '"a_b"', "1", '["example.com"]'),
    "global.extra_domains": _DOMAINS,
    "global.top_dir": _TEXT,
    "global.registration": ('"open"', "true", "1"),
    "global.registration_subnet": (*_NETWORKS, '["fe80::/10"]'),
    "global.registration_subnet6": (*_NETWORKS, '["10.0.0.0/8"]'),
    "global.archive_approval": _FLAG,
    "global.default_quota": _NUMBER,
    "global.user": _TEXT,
    "database.host": _TEXT,
    "database.port": (*_NUMBER, "0", "65536"),
    "database.name": _TEXT,
    "database.user": _TEXT,
    "database.password": _SECRET,
    "database.url": _SECRET,
    "database.pool_min": (*_NUMBER, "1001"),
    "database.pool_max": (*_NUMBER, "0"),
    "database.embedded": _FLAG,
    "database.embedded_binaries": ("1", "true", '"a\\nb"'),
    "network.listen": _ENDPOINTS,
    "network.listen_ip": ('"localhost"', "1", '"127.0.0"'),
    "network.port": (*_NUMBER, "0", "65536"),
    "network.tls_certificate": _TEXT,
    "network.tls_key": _TEXT,
    "network.proxy_protocol": _ENDPOINTS,
    "network.max_request_size": (*_NUMBER, "1", "26000001"),
    "network.max_buffered": _NUMBER,
    "network.transfer_timeout": (*_NUMBER, "86401"),
    "network.idle_timeout": (*_NUMBER, "1", "1799"),
    "network.login_timeout": (*_NUMBER, "86401"),
    "network.max_clients_per_ip": _NUMBER,
    "performance.max_file_size": _NUMBER,
    "performance.max_message_size": _NUMBER,
    "performance.max_sync_age": _NUMBER,
    "performance.max_delivery_threads": (*_NUMBER, "0"),
    "performance.max_clients": _NUMBER,
    "performance.keycard_cache_size": _NUMBER,
    "performance.max_files": _NUMBER,
    "performance.min_free_percent": (*_NUMBER, "100"),
    "performance.inline_limit": (*_NUMBER, "65"),
    "performance.garbage_hours": (*_NUMBER, "8785"),
    "security.diceware_wordcount": (*_NUMBER, "2"),
    "security.failure_delay_sec": (*_NUMBER, "61"),
    "security.max_failures": (*_NUMBER, "0", "2", "100001"),
    "security.lockout_delay_min": _NUMBER,
    "security.registration_delay_min": _NUMBER,
    "security.password_reset_min": (*_NUMBER, "9", "2881"),
    "security.argon2_memory": (*_NUMBER, "8191"),
    "security.argon2_time": (*_NUMBER, "0"),
    "security.argon2_parallelism": (*_NUMBER, "0"),
    "security.max_password_checks": (*_NUMBER, "0"),
    "security.admin_file_access": _FLAG,
    "security.remote_orgrevoke": _FLAG,
    "security.max_bad_requests": _NUMBER,
    "security.max_recipients_per_minute": _NUMBER,
    "federation.enabled": _FLAG,
    "federation.plaintext_domains": _DOMAINS,
    "federation.accept_unsigned_pins": _FLAG,
    "federation.allow_networks": _NETWORKS,
    "federation.blocked_domains": _DOMAINS,
    "federation.nameservers": (
        '["ns.example.com"]',
        '["192.0.2.1:0"]',
        '["[::1]x"]',
        '["::1]:53"]',
        '["192.0.2.1:"]',
    ),
    "federation.max_connections_per_domain": _NUMBER,
    "federation.retry_intervals": ("[]", "60", '["60"]', "[0]", "[true]", '"x"'),
    "federation.max_queue_age": (*_NUMBER, "0", "145"),
    "federation.max_failures": (*_NUMBER, "2", "100001"),
    "cluster.hints": ('"udp"', "1"),
    "cluster.listen_url": _SECRET,
    "log.format": ('"xml"', "1"),
    "log.level": ('"loud"', "1"),
    "metrics.listen": ("9090", '"9090"', '["tcp:9090"]'),
    "plugins.disabled": ("1", "[1]", '[""]'),
}


def document(key: str, value: str) -> tuple[str, int]:
    """Make a file that sets one key, and the domain; also give the line of that key."""
    table, _, name = key.partition(".")
    if key == "global.domain":
        return f"# a comment\n[global]\n{name} = {value}\n", 3
    header = "# a comment" if table == "global" else f"[{table}]  # a comment"
    return f'[global]\ndomain = "example.com"\n{header}\n{name} = {value}\n', 4


class ConfigCase(SynchronousTestCase):
    """A test that loads configurations from a directory of its own."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.path = self.directory / "serverconfig.toml"

    def write(self, content: str | bytes) -> None:
        self.path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.path.chmod(0o600)

    def load(self, content: str | bytes, **environ: str) -> Config:
        self.write(content)
        return load(self.path, environ)

    def faults(self, content: str | bytes, **environ: str) -> tuple[Fault, ...]:
        with self.refusal() as faults:
            self.load(content, **environ)
        return tuple(faults)

    @contextmanager
    def refusal(self) -> Iterator[list[Fault]]:
        faults: list[Fault] = []
        with self.assertRaises(ConfigFaults) as raised:
            yield faults
        faults.extend(raised.exception.faults)
