"""Every key: its definition, its type, its default, what it refuses, and its variable."""

import types
import typing

import attrs

from mensagod.config.tables import GlobalTable
from mensagod.config.toml import write_value
from mensagod.config.tree import KEYS, TABLES, Config, attribute_of, value_of
from mensagod.values.identity import Domain
from tests.config.cases import BAD, GOOD, ConfigCase, document


def _conforms(value: object, hint: object) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        return any(_conforms(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_conforms(item, arguments[0]) for item in value)
    if hint is int:
        return type(value) is int
    return isinstance(value, hint) if isinstance(hint, type) else False


class DefinitionTests(ConfigCase):
    """The definitions, the attributes and these tests speak of the same keys."""

    def test_every_attribute_is_a_key(self) -> None:
        """Each attribute of each table is a defined key, but for the settings of the plugins."""
        attributes = {
            f"{table}.{field.name}" for table, owner in TABLES.items() for field in attrs.fields(owner)
        }
        self.assertEqual(attributes - set(KEYS), {"plugins.settings"})
        self.assertEqual(set(KEYS) - attributes, set())

    def test_tables_are_attributes(self) -> None:
        """Each table is an attribute of the configuration, of the table's class."""
        hints = typing.get_type_hints(Config)
        self.assertEqual({table: hints[attribute_of(table)] for table in TABLES}, TABLES)

    def test_values_have_the_annotated_type(self) -> None:
        """What a kind makes is what the attribute's annotation promises to mypy."""
        for name, key in KEYS.items():
            config = self.load(document(name, GOOD[name])[0])
            hint = typing.get_type_hints(TABLES[key.table])[key.attribute]
            self.assertTrue(_conforms(value_of(config, key), hint), name)
            if not key.required:
                self.assertTrue(_conforms(key.default, hint), name)

    def test_every_key_is_tested(self) -> None:
        """No key lacks a good and a bad value here."""
        self.assertEqual(set(GOOD), set(KEYS))
        self.assertEqual(set(BAD), set(KEYS))

    def test_every_key_is_explained(self) -> None:
        """Each explanation is a sentence on one line."""
        for name, key in KEYS.items():
            self.assertTrue(key.explanation.endswith("."), name)
            self.assertNotIn("\n", key.explanation)


class ValueTests(ConfigCase):
    """Each key takes what is allowed and nothing else."""

    def test_defaults_are_allowed(self) -> None:
        """A file that spells out a default means the same as one that does not."""
        plain = self.load('global.domain = "example.com"')
        for name, key in KEYS.items():
            if key.default is None:
                continue
            text, _ = document(name, write_value(key.kind.plain(key.default)))
            self.assertEqual(value_of(self.load(text), key), value_of(plain, key), name)

    def test_direct_configuration_has_the_defaults(self) -> None:
        """A Config made in Python has the defaults of the keys."""
        config = Config(global_=GlobalTable(domain=Domain.from_text("example.com")))
        for name, key in KEYS.items():
            if not key.required:
                self.assertEqual(value_of(config, key), key.default, name)

    def test_other_values_are_taken(self) -> None:
        """An allowed value arrives and is not the default."""
        plain = self.load('global.domain = "example.com"')
        for name, key in KEYS.items():
            config = self.load(document(name, GOOD[name])[0])
            self.assertNotEqual(value_of(config, key), value_of(plain, key), name)

    def test_refused_values_have_their_line(self) -> None:
        """A wrong type or a value out of range is one fault, with file, line, key and what is allowed."""
        for name, values in BAD.items():
            for value in values:
                text, line = document(name, value)
                faults = self.faults(text)
                self.assertEqual(
                    [(found.file, found.line, found.key) for found in faults], [(self.path, line, name)]
                )
                self.assertIn(KEYS[name].kind.allowed, str(faults[0]))
                self.assertNotIn("\n", str(faults[0]))

    def test_variables_win(self) -> None:
        """The variable of each key sets it, over what the file says."""
        for name, key in KEYS.items():
            wanted = value_of(self.load(document(name, GOOD[name])[0]), key)
            default = key.example if key.default is None else key.default
            text, _ = document(name, write_value(key.kind.plain(default)))
            config = self.load(text, **{key.variable: GOOD[name]})
            self.assertEqual(value_of(config, key), wanted, name)

    def test_variables_need_no_quotes(self) -> None:
        """A bare text, and a list joined by commas, mean the same as TOML."""
        for name, key in KEYS.items():
            if name == "database.password":
                continue
            bare = GOOD[name].strip("[]").replace('"', "")
            text = 'global.domain = "example.com"'
            wanted = value_of(self.load(document(name, GOOD[name])[0]), key)
            self.assertEqual(value_of(self.load(text, **{key.variable: bare}), key), wanted, name)

    def test_faults_of_variables_name_them(self) -> None:
        """A value that a variable may not have is a fault that names the variable and no file."""
        for name, key in KEYS.items():
            faults = self.faults('global.domain = "example.com"', **{key.variable: "\n\0"})
            self.assertEqual([(found.file, found.line, found.key) for found in faults], [(None, None, name)])
            self.assertIn(key.variable, str(faults[0]))
