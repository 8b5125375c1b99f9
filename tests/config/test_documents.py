"""The commented configuration, the reference page, and the file that ``init`` writes."""

import tempfile
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import mensagod
from mensagod.config import Secret
from mensagod.config.choices import Registration
from mensagod.config.document import REFERENCE_FILE, TOML_FILE, main, write_reference
from mensagod.config.listeners import parse_listener
from mensagod.config.names import IGNORED, SECRET_FILES, SYNONYMS
from mensagod.config.toml import write_configuration, write_value
from mensagod.config.tree import KEYS, TABLES, value_of
from mensagod.config.values import Nameserver
from mensagod.errors import BadValue
from mensagod.values.identity import Domain
from tests.config.cases import GOOD, ConfigCase

_ROOT = Path(mensagod.__file__).parent.parent
_CURE = "run: python -m mensagod.config.document"
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


class AgreementTests(ConfigCase):
    """What is written about the keys agrees with their definitions."""

    def test_files_of_the_checkout(self) -> None:
        """The generated files are those of the checkout, byte for byte."""
        with tempfile.TemporaryDirectory() as directory:
            main([directory])
            for file in (TOML_FILE, REFERENCE_FILE):
                self.assertEqual((Path(directory) / file).read_bytes(), (_ROOT / file).read_bytes(), _CURE)

    def test_every_key_is_in_both(self) -> None:
        """Each key, older name and file of a secret is there, with its default."""
        commented, reference = write_configuration({}), write_reference()
        for name, key in KEYS.items():
            self.assertIn(f"\n#{key.name} = ", commented)
            self.assertIn(f"\n``{name}``\n", reference)
        for name in (*IGNORED, *SYNONYMS):
            self.assertIn(f"\n``{name}``\n", reference)
        for name in SECRET_FILES:
            self.assertIn(f"\n#{name.partition('.')[2]} = ", commented)

    def test_commented_lines_are_the_defaults(self) -> None:
        """Each line that a "#" keeps out is valid, and says the default if there is one."""
        plain = self.load('global.domain = "example.com"')
        table = ""
        found = []
        for line in write_configuration({}).splitlines():
            if line.startswith("["):
                table = line.strip("[]")
            elif line.startswith("#") and line[1:2].isalpha():
                name = f"{table}.{line[1:].partition(' ')[0]}"
                if name in KEYS and name != "global.domain":
                    found.append(name)
                    config = self.load(f'global.domain = "example.com"\n{table}.{line[1:]}')
                    if KEYS[name].default is not None:
                        self.assertEqual(value_of(config, KEYS[name]), value_of(plain, KEYS[name]), name)
        self.assertEqual(found, [name for name in KEYS if name != "global.domain"])

    def test_commented_configuration_sets_nothing(self) -> None:
        """As it stands it has the tables and no value."""
        self.assertEqual(tomllib.loads(write_configuration({})), {table: {} for table in TABLES})


class WritingTests(ConfigCase):
    """What ``init`` chooses arrives when its file is loaded."""

    def test_values_of_their_own_types(self) -> None:
        """Domains, paths, networks, words, secrets and listeners are written as TOML."""
        chosen = {
            "global.domain": Domain.from_text("example.org"),
            "global.extra_domains": (Domain.from_text("example.net"),),
            "global.top_dir": Path("/srv/mensago"),
            "global.registration": Registration.PUBLIC,
            "global.registration_subnet": [ip_network("192.0.2.0/24")],
            "database.password": Secret("x"),
            "network.listen": (parse_listener(r"tls:2001:interface=\:\:1"),),
            "network.listen_ip": ip_address("::1"),
            "federation.nameservers": (Nameserver(ip_address("::1"), 5353),),
            "federation.retry_intervals": (1, 2, 3),
            "security.admin_file_access": True,
            "performance.max_files": 0,
            "metrics.listen": None,
        }
        config = self.load(write_configuration(chosen))
        for name, value in chosen.items():
            wanted = tuple(value) if isinstance(value, list) else value
            self.assertEqual(value_of(config, KEYS[name]), wanted, name)

    def test_every_key(self) -> None:
        """Each key can be chosen by what TOML holds; all others keep their defaults."""
        plain = self.load('global.domain = "example.com"')
        for name, key in KEYS.items():
            raw = tomllib.loads(f"value = {GOOD[name]}")["value"]
            config = self.load(write_configuration({"global.domain": "example.com", name: raw}))
            for other in KEYS.values():
                if other is not key:
                    self.assertEqual(value_of(config, other), value_of(plain, other), name)
            self.assertNotEqual(value_of(config, key), value_of(plain, key), name)

    def test_file_of_a_secret(self) -> None:
        """The file of a secret can be chosen too."""
        (self.directory / "pw").write_text("x")
        text = write_configuration({"global.domain": "a", "database.password_file": "pw"})
        self.assertEqual(self.load(text).database.password, Secret("x"))

    def test_refused(self) -> None:
        """An unknown key, a value of a wrong type or out of range, and half a character are refused."""
        for name, value in (
            ("global.colour", "red"),
            ("global.domain", "a b"),
            ("network.port", 0),
            ("network.port", "1"),
            ("network.listen", 7),
            ("database.password", object()),
            ("global.top_dir", "\udcff"),
            ("plugins.disabled", [["a"]]),
        ):
            with self.assertRaises(BadValue, msg=name) as raised:
                write_configuration({name: value})
            self.assertIn(name, str(raised.exception))

    @settings(deadline=None)
    @given(_TEXT)
    def test_any_text(self, text: str) -> None:
        """Any text survives TOML, also one that tries to end its string."""
        self.assertEqual(tomllib.loads(f"a = {write_value([text])}"), {"a": [text]})
        config = self.load(write_configuration({"global.domain": "a", "database.password": text}))
        self.assertEqual(config.database.password, Secret(text))
