"""Loading: all faults at once and in their place, secrets, older names, contradictions."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.config import Config, ConfigFaults, FaultCode, Secret, configuration_path, load
from mensagod.config.toml import write_value
from mensagod.config.tree import KEYS
from tests.config.cases import ConfigCase

_DOMAIN = '[global]\ndomain = "example.com"\n'
_NAMES = st.one_of(
    st.sampled_from([name for path in KEYS for name in path.split(".")]),
    st.text(max_size=8),
    st.just("password_file"),
)
_UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), _UNICODE),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


class FaultTests(ConfigCase):
    """What is wrong is said once, all of it, each in its place."""

    def test_all_at_once(self) -> None:
        """Faults of every sort are found by one load and stand in the order of the lines."""
        text = "[network]\nport = 0\nprot = 1\n[database]\npool_min = 11\n[netwrok]\nport = 1\n"
        text += '[log]\nlevel = "x"'
        faults = self.faults(text, MENSAGOD_CLUSTER__HINTS="x", MENSAGOD_LOG__COLOUR="x")
        self.assertEqual(
            [(fault.code.name, fault.line, fault.key) for fault in faults],
            [
                ("MISSING", None, "global.domain"),
                ("BAD_VALUE", 2, "network.port"),
                ("UNKNOWN", 3, "network.prot"),
                ("CONTRADICTION", 5, "database.pool_min"),
                ("UNKNOWN", 6, "netwrok"),
                ("BAD_VALUE", 9, "log.level"),
                ("UNKNOWN", None, ""),
                ("BAD_VALUE", None, "cluster.hints"),
            ],
        )

    def test_nearest_names(self) -> None:
        """An unknown name comes with the one that was probably meant."""
        for text, hint in (
            ("[network]\nprot = 1", "network.port?"),
            ("[netwrok]\n", "network?"),
            ("port = 1", "database.port?"),
            ("[global]\nmax_file_size = 1", "performance.max_file_size?"),
            ("[federation]\nmax_conections_per_domain = 1", "federation.max_connections_per_domain?"),
        ):
            unknown = [fault for fault in self.faults(text) if fault.code is FaultCode.UNKNOWN]
            self.assertTrue(unknown[0].hint.endswith(hint), str(unknown[0]))
        (fault,) = self.faults(_DOMAIN, MENSAGOD_NETWORK__PROT="1")
        self.assertIn("did you mean MENSAGOD_NETWORK__PORT?", str(fault))
        self.assertIn("MENSAGOD_NETWORK__PROT", str(fault))

    def test_table_that_is_none(self) -> None:
        """A known table that is a value or a list of tables is a fault on its line."""
        for text, line in (("network = 1\n" + _DOMAIN, 1), (_DOMAIN + "[[network]]\nport = 1", 3)):
            (fault,) = self.faults(text)
            self.assertEqual((fault.key, fault.line), ("network", line))

    def test_syntax(self) -> None:
        """What is not TOML is a fault with its line; so is what is not UTF-8."""
        for text, line in (("a = 1\nb =\n", 2), ("\na = [1,\n\n", 2), ("a = 1\na = 2\n", 2)):
            (fault,) = self.faults(text)
            self.assertEqual((fault.code, fault.line), (FaultCode.SYNTAX, line))
        (fault,) = self.faults("[global]\ndomain = example.com")
        self.assertEqual(fault.hint, "put texts in quotation marks")
        (fault,) = self.faults(b"a = 1\nb = '\xff'\n")
        self.assertIn("not UTF-8 on line 2", str(fault))

    def test_extremes_of_toml(self) -> None:
        """Nesting, size and numbers without end are faults like others."""
        for text in (
            "plugins" + ".a" * 5000 + " = 1",
            "[plugins" + ".a" * 5000 + "]",
            "[plugins.a]\nb" + ".b" * 40 + "=1",
        ):
            (fault,) = self.faults(_DOMAIN + text if text.startswith("[") else text)
            self.assertIn("nested too deeply", str(fault))
        for text in (
            "a = " + "[" * 5000,
            "[network]\nport = 0x" + "f" * 9000,
            "#" * 300_000,
            "a = " + "9" * 9000,
        ):
            self.assertTrue(
                all("\n" not in str(fault) and len(str(fault)) < 500 for fault in self.faults(text))
            )

    def test_file_that_cannot_be_read(self) -> None:
        """A missing file, or a directory in its place, is a fault that names it."""
        for path in (self.path, self.directory):
            with self.refusal() as faults:
                load(path, {})
            (fault,) = faults
            self.assertEqual((fault.code, fault.file), (FaultCode.UNREADABLE, path))

    def test_windows_lines(self) -> None:
        """A file with CR LF has the same lines."""
        (fault,) = self.faults(
            '[global]\r\ndomain = "example.com"\r\nuser = """\r\nx\r\n"""\r\n[network]\r\n'
        )
        self.assertEqual(fault.line, 3)

    def test_exception_shows_every_fault(self) -> None:
        """The text of the exception has a line for each fault."""
        self.write("[network]\nport = 0\n")
        with self.assertRaises(ConfigFaults) as raised:
            load(self.path, {})
        self.assertEqual(
            str(raised.exception).splitlines(), [str(fault) for fault in raised.exception.faults]
        )
        self.assertEqual(len(raised.exception.faults), 2)


class ContradictionTests(ConfigCase):
    """Keys that cannot be right together are faults of their own."""

    def test_contradictions(self) -> None:
        """Each is found, on the line of a key that is part of it."""
        for text, key in (
            ('[database]\nhost = "db"\nurl = "postgresql:///x"', "database.host"),
            ('[database]\npassword = "p"\nurl = "postgresql:///x"', "database.password"),
            ('[database]\nembedded = true\nurl = "postgresql:///x"', "database.embedded"),
            ("[database]\npool_max = 1", "database.pool_max"),
            ('global.extra_domains = ["example.com"]', "global.extra_domains"),
            ('global.extra_domains = ["example.org", "Example.ORG"]', "global.extra_domains"),
            ('federation.blocked_domains = ["EXAMPLE.com"]', "federation.blocked_domains"),
            ('network.proxy_protocol = ["tcp:7"]', "network.proxy_protocol"),
            ('network.listen = ["tcp:7", "tcp:7"]', "network.listen"),
            ("[security]\nargon2_memory = 8192\nargon2_parallelism = 1025", "security.argon2_memory"),
            ("[performance]\nmax_clients = 5\nmax_client_threads = 6", "performance.max_client_threads"),
            ('[database]\npassword = "p"\npassword_file = "p"', "database.password_file"),
        ):
            (fault,) = self.faults('global.domain = "example.com"\n' + text)
            self.assertEqual(fault.code, FaultCode.CONTRADICTION)
            self.assertIn(key.partition(".")[2], f"{fault.key} {fault.allowed}")
            self.assertIn(fault.line, (2, 3, 4))
            self.assertNotIn('"p"', str(fault).replace('password_file = "p"', ""))

    def test_proxy_protocol_of_the_default(self) -> None:
        """The endpoint made from listen_ip and port can expect PROXY headers."""
        text = 'global.domain = "a"\n[network]\nport = 7\nproxy_protocol = ["tcp:7:interface=127.0.0.1"]'
        self.assertEqual(self.load(text).network.proxy_protocol, self.load(text).network.endpoints)

    def test_proxy_protocol_elsewhere(self) -> None:
        """An endpoint that is not listened on, or where TLS would come first, is told what to do about it."""
        for listen, proxied, said in (
            ("tls:7", "tcp:7", "contains tcp:7, which is not in network.listen: take tls:7"),
            (
                "ssl:7",
                "ssl:7",
                "contains ssl:7, where TLS begins before the PROXY header: use tls:",
            ),
        ):
            (fault,) = self.faults(
                f'global.domain = "a"\n[network]\nlisten = ["{listen}"]\nproxy_protocol = ["{proxied}"]'
            )
            self.assertEqual((fault.code, fault.key), (FaultCode.CONTRADICTION, "network.proxy_protocol"))
            self.assertEqual((fault.line, fault.allowed), (4, said))
            self.assertIn(proxied, fault.value)

    def test_proxy_protocol_has_effect(self) -> None:
        """A listener behind a balancer is nothing to warn of."""
        text = 'global.domain = "a"\n[network]\nlisten = ["tls:7"]\nproxy_protocol = ["tls:7"]'
        self.assertEqual(self.load(text).warnings, ())

    def test_consequences_of_a_fault_are_not_faults(self) -> None:
        """A value that is refused already contradicts nothing."""
        (fault,) = self.faults('global.domain = "a"\n[database]\npool_max = -1\npool_min = 500')
        self.assertEqual(fault.key, "database.pool_max")


class SecretTests(ConfigCase):
    """Where secrets come from, and that they stay secret."""

    def secret(self, config: Config) -> str:
        self.assertIsNotNone(config.database.password)
        return (config.database.password or Secret("")).reveal()

    def test_hidden(self) -> None:
        """No text of a secret, of a configuration or of a fault shows it."""
        config = self.load(_DOMAIN + '[database]\npassword = "hunter2"')
        self.assertEqual(self.secret(config), "hunter2")
        for text in (repr(config), str(config.database.password), f"{config.database.password!r:>10}"):
            self.assertNotIn("hunter2", text)
        for text in ('password = ["hunter2"]', 'pasword = "hunter2"', 'password = "hunter2\\u0000"'):
            self.assertNotIn("hunter2", str(self.faults(f"{_DOMAIN}[database]\n{text}")))
        self.assertNotIn("hunter2", str(self.faults(_DOMAIN, MENSAGOD_DATABASE__PASSWORD="hunter2\0")))

    def test_connection_strings(self) -> None:
        """What libpq does not understand is a fault that does not show it, wherever it stands."""
        (self.directory / "url").write_text("postgres//u:hunter2@db/x")
        for text in ('url = "postgres//u:hunter2@db/x"', 'url_file = "url"'):
            (fault,) = self.faults(f"{_DOMAIN}[database]\n{text}")
            self.assertEqual(fault.line, 4)
            self.assertIn("a connection string of libpq", str(fault))
            self.assertNotIn("hunter2", str(fault))

    def test_file(self) -> None:
        """A relative path counts from the configuration; one end of line at the end does not count."""
        (self.directory / "pw").write_bytes(b" hunter2 \n\r\n")
        config = self.load(_DOMAIN + '[database]\npassword_file = "pw"')
        self.assertEqual(self.secret(config), " hunter2 \n")

    def test_file_faults(self) -> None:
        """A file that is missing, empty or not text is a fault that names it."""
        (self.directory / "empty").write_bytes(b"\n")
        (self.directory / "binary").write_bytes(b"\xff\xfe")
        (self.directory / "large").write_bytes(b"x" * 70_000)
        for name in ("missing", "empty", "binary", "large"):
            (fault,) = self.faults(f'{_DOMAIN}[database]\npassword_file = "{name}"')
            self.assertEqual((fault.code, fault.line), (FaultCode.SECRET_FILE, 4))
            self.assertIn(name, str(fault))

    def test_environment_wins(self) -> None:
        """A variable with the secret or its file replaces both forms in the file."""
        (self.directory / "pw").write_text("from a file")
        (self.directory / "other").write_text("from another")
        text = _DOMAIN + '[database]\npassword_file = "pw"'
        self.assertEqual(self.secret(self.load(text, MENSAGOD_DATABASE__PASSWORD="x")), "x")
        config = self.load(text, MENSAGOD_DATABASE__PASSWORD_FILE=str(self.directory / "other"))
        self.assertEqual(self.secret(config), "from another")
        config = self.load(
            _DOMAIN + '[database]\npassword = "y"',
            MENSAGOD_DATABASE__PASSWORD_FILE=str(self.directory / "pw"),
        )
        self.assertEqual(self.secret(config), "from a file")

    def test_credentials(self) -> None:
        """systemd's credentials count where nothing else says the secret."""
        (self.directory / "database.password").write_text("from systemd\n")
        directory = {"CREDENTIALS_DIRECTORY": str(self.directory)}
        self.assertEqual(self.secret(self.load(_DOMAIN, **directory)), "from systemd")
        self.assertEqual(self.secret(load(self.path, {}, credentials=self.directory)), "from systemd")
        config = self.load(_DOMAIN + '[database]\npassword = "x"', **directory)
        self.assertEqual(self.secret(config), "x")

    def test_modes(self) -> None:
        """What others can do with the file is a warning: write it, or read a secret in it."""
        for content, mode, words in (
            (_DOMAIN, 0o644, ()),
            (_DOMAIN, 0o664, ("write",)),
            (_DOMAIN + '[database]\npassword = "x"', 0o640, ()),
            (_DOMAIN + '[database]\npassword = "x"', 0o644, ("read",)),
            (_DOMAIN + '[database]\npassword = "x"', 0o666, ("write", "read")),
            (_DOMAIN + '[database]\npassword = "x"', 0o600, ()),
        ):
            self.write(content)
            self.path.chmod(mode)
            warnings = load(self.path, {}).warnings
            self.assertEqual(len(warnings), len(words))
            for warning, word in zip(warnings, words, strict=True):
                self.assertIn(word, warning)


class MeaningTests(ConfigCase):
    """What a configuration means besides its plain values."""

    def test_older_names(self) -> None:
        """Keys of the reference that mean nothing are warnings; those with another name here are read."""
        config = self.load(
            '[global]\ndomain = "a"\nworkspace_dir = 5\nlog_dir = "x"\n'
            '[database]\nengine = "postgresql"\nip = "db"\n'
            '[security]\ndiceware_wordlist = "x"\npassword_security = "normal"\n'
            "[performance]\nmax_client_threads = 7"
        )
        self.assertEqual((config.performance.max_clients, config.database.host), (7, "db"))
        self.assertEqual(len(config.warnings), 7)
        self.assertTrue(config.warnings[0].startswith(f"{self.path}, line 3: "))

    def test_older_name_as_variable(self) -> None:
        """The older names work as variables too, and as variables they win."""
        config = self.load(
            _DOMAIN + "[performance]\nmax_clients = 5", MENSAGOD_PERFORMANCE__MAX_CLIENT_THREADS="6"
        )
        self.assertEqual(config.performance.max_clients, 6)
        config = self.load(_DOMAIN + "[performance]\nmax_clients = 5\nmax_client_threads = 5")
        self.assertEqual(config.performance.max_clients, 5)

    def test_paths(self) -> None:
        """Relative paths, and what stands beside the configuration, count from its directory."""
        config = self.load(_DOMAIN + 'top_dir = "var"\n[network]\ntls_key = "/k"')
        self.assertEqual(config.path, self.path)
        self.assertEqual(config.global_.top_dir, self.directory / "var")
        self.assertEqual(config.network.tls_certificate, self.directory / "tls.crt")
        self.assertEqual(config.network.tls_key, Path("/k"))
        self.assertEqual(config.organization_key, self.directory / "organization.key")

    def test_relative_configuration(self) -> None:
        """A configuration named by a relative path has absolute paths all the same."""
        self.write(_DOMAIN)
        config = load(Path(os.path.relpath(self.path)), {})
        self.assertTrue(config.network.tls_key.is_absolute())
        self.assertEqual(config.network.tls_key.resolve(), (self.directory / "tls.key").resolve())

    def test_empty_text_unsets(self) -> None:
        """An empty text means that an optional key is not set, and contradicts nothing."""
        config = self.load(
            _DOMAIN + '[database]\nurl = "postgresql:///x"\npassword = ""\n[metrics]\nlisten = ""'
        )
        self.assertIsNone(config.database.password)
        self.assertIsNone(config.metrics.listen)
        config = self.load(_DOMAIN + '[database]\nurl = "postgresql:///x"', MENSAGOD_DATABASE__URL="")
        self.assertIsNone(config.database.url)

    def test_plain_listeners_are_warned_of(self) -> None:
        """A listener without TLS that others can reach is a warning; TLS or loopback is none."""
        for listen, count in (
            ("tcp:1", 1),
            ("tcp:1:interface=192.0.2.1", 1),
            ("tls:1", 0),
            ("tcp:1:127.0.0.1", 0),
        ):
            self.assertEqual(len(self.load(_DOMAIN, MENSAGOD_NETWORK__LISTEN=listen).warnings), count)

    def test_settings_without_effect_are_warned_of(self) -> None:
        """What another key makes meaningless is a warning."""
        text = _DOMAIN + '[network]\nlisten = ["tls:1"]\nport = 7\n[database]\nembedded = true\nhost = "db"'
        first, second = self.load(text).warnings
        self.assertIn("line 5: network.port has no effect", first)
        self.assertIn("line 8: database.host has no effect", second)

    def test_listen_url_without_effect_is_warned_of(self) -> None:
        """A connection for hints that no hints would use is a warning."""
        url = 'listen_url = "postgresql://direct.example.com/mensago"'
        for more, count in (
            ("", 0),
            ('hints = "pg"', 0),
            ('hints = "poll"', 1),
            ("[database]\nembedded = true", 1),
        ):
            warnings = self.load(f"{_DOMAIN}[cluster]\n{url}\n{more}").warnings
            self.assertEqual(len(warnings), count)
            for warning in warnings:
                self.assertIn("line 4: cluster.listen_url has no effect", warning)

    def test_misspelt_variable_is_warned_of(self) -> None:
        """A variable with one underscore is not ours, but said to be near; MENSAGOD_CONFIG is no key."""
        config = self.load(_DOMAIN, MENSAGOD_NETWORK_PORT="1", MENSAGOD_CONFIG="x", MENSAGOD_HOME="y")
        (warning,) = config.warnings
        self.assertIn("MENSAGOD_NETWORK__PORT", warning)

    def test_plugins(self) -> None:
        """Each plugin's table is there as TOML has it; anything else in the table is unknown."""
        config = self.load(_DOMAIN + "[plugins.example]\na = 1\n[plugins.other.deep]\nb = [1]")
        self.assertEqual(config.plugins.settings["example"], {"a": 1})
        self.assertEqual(config.plugins.settings["other"], {"deep": {"b": [1]}})
        (fault,) = self.faults(_DOMAIN + "[plugins]\nexample = 1")
        self.assertEqual((fault.code, fault.key), (FaultCode.UNKNOWN, "plugins.example"))

    def test_networks_of_the_reference(self) -> None:
        """A comma-joined text with bits beyond the prefix means the networks."""
        config = self.load(_DOMAIN + 'registration_subnet = "10.0.0.0/8, 127.0.0.1/8"')
        self.assertEqual(
            [str(found) for found in config.global_.registration_subnet], ["10.0.0.0/8", "127.0.0.0/8"]
        )

    def test_sizes(self) -> None:
        """Sizes in MiB are there in bytes too."""
        config = self.load(_DOMAIN + "default_quota = 2")
        self.assertEqual(config.global_.default_quota_bytes, 2 * 1024 * 1024)
        self.assertEqual(config.performance.max_file_bytes, 52_428_800)
        self.assertEqual(config.performance.max_message_bytes, 52_428_800)
        self.assertEqual(config.network.max_buffered_bytes, 268_435_456)

    def test_domains(self) -> None:
        """All domains served are listed, the main one first."""
        config = self.load(_DOMAIN + 'extra_domains = ["b", "a"]')
        self.assertEqual([str(domain) for domain in config.global_.domains], ["example.com", "b", "a"])

    def test_which_file(self) -> None:
        """The option wins over the variable, that over the default."""
        variable = {"MENSAGOD_CONFIG": "/a"}
        self.assertEqual(configuration_path(variable, Path("/b")), Path("/b"))
        self.assertEqual(configuration_path(variable), Path("/a"))
        self.assertEqual(configuration_path({}), Path("/etc/mensagod/serverconfig.toml"))


class AnythingTests(ConfigCase):
    """Whatever the file and the environment hold, there is a Config or there are faults."""

    def attempt(self, content: bytes | str, **environ: str) -> None:
        try:
            config = self.load(content, **environ)
        except ConfigFaults as error:
            self.assertTrue(error.faults)
            for fault in error.faults:
                self.assertTrue(str(fault).isprintable(), repr(str(fault)))
        else:
            self.assertIsInstance(config, Config)
            self.assertTrue(all(map(str.isprintable, config.warnings)))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_bytes(self, content: bytes) -> None:
        """Any bytes."""
        self.attempt(content)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([*KEYS]), _NAMES, st.booleans(), _VALUES), max_size=6))
    def test_documents(self, items: list[tuple[str, str, bool, object]]) -> None:
        """Any TOML, with keys that exist and others."""
        lines = []
        for key, name, known, value in items:
            table, _, own = key.partition(".")
            text = write_value(value) if isinstance(value, bool | int | str | list) else ""
            lines.append(
                f"{table}.{write_value(own if known else name.encode('utf-8', 'ignore').decode())} = {text}"
            )
        self.attempt("\n".join(lines))

    @settings(deadline=None)
    @given(st.sampled_from([*KEYS.values()]), st.text(max_size=20))
    def test_variables(self, key: object, text: str) -> None:
        """Any text in any variable."""
        self.attempt(_DOMAIN, **{getattr(key, "variable", ""): text})
