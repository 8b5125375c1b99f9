"""The kinds of value: what a text of the environment means, and what each writes."""

import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.faults import show
from mensagod.config.secret import Secret
from mensagod.config.toml import write_value
from mensagod.config.tree import KEYS
from mensagod.config.values import Flag, Kind, Many, NameserverText, SecretText, Text, Whole, parse_variable
from mensagod.errors import BadValue

_KINDS = st.sampled_from([key.kind for key in KEYS.values()])


class VariableTests(SynchronousTestCase):
    """How :func:`parse_variable` reads a text."""

    def test_toml_of_the_right_kind(self) -> None:
        """What TOML makes of the text counts if the key can have it."""
        self.assertEqual(parse_variable(Whole(0, 5000), "4_000"), 4000)
        self.assertEqual(parse_variable(Text(), '"a b"  # c'), "a b")
        self.assertEqual(parse_variable(Many(Whole(0, 9)), "[1,\n2]"), (1, 2))

    def test_bare_text(self) -> None:
        """Otherwise the text stands for itself."""
        self.assertEqual(parse_variable(Text(), "2001"), "2001")
        self.assertEqual(parse_variable(Text(), "true"), "true")
        self.assertEqual(parse_variable(SecretText(), 'a"b'), Secret('a"b'))
        self.assertEqual(parse_variable(Many(Text()), "a, b"), ("a", "b"))
        self.assertEqual(parse_variable(Many(Text()), " "), ())
        self.assertIs(parse_variable(Flag(), "TRUE"), True)
        self.assertEqual(parse_variable(Whole(0, 9), " 07 "), 7)

    def test_no_second_statement(self) -> None:
        """A text of several lines sets nothing but its key."""
        self.assertEqual(parse_variable(SecretText(), '"a"\nport = 1'), Secret('"a"\nport = 1'))
        with self.assertRaises(BadValue):
            parse_variable(Whole(0, 9), "1\nport = 2")

    def test_nesting(self) -> None:
        """Brackets without end are a bare text."""
        with self.assertRaises(BadValue):
            parse_variable(Whole(0, 9), "[" * 5000)


class KindTests(SynchronousTestCase):
    """What all kinds promise."""

    @settings(max_examples=200, deadline=None)
    @given(_KINDS, st.text(max_size=30))
    def test_any_text(self, kind: Kind[Any], text: str) -> None:
        """A text is a value or a :class:`BadValue`; a value is written so that it reads the same."""
        try:
            value = parse_variable(kind, text)
        except BadValue:
            return
        written = tomllib.loads(f"value = {write_value(kind.plain(value))}")["value"]
        self.assertEqual(kind.parse(written), value)

    def test_nameservers(self) -> None:
        """Addresses with and without ports, IPv6 with and without brackets."""
        for text, written in (
            ("192.0.2.1", "192.0.2.1:53"),
            ("192.0.2.1:5353", "192.0.2.1:5353"),
            ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ):
            self.assertEqual(str(NameserverText().from_text(text)), written)
        for text in (
            "",
            "[]",
            "[::1",
            "[::1]53",
            "[::1]:",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:70000",
            ":53",
        ):
            with self.assertRaises(BadValue, msg=text):
                NameserverText().from_text(text)

    @settings(deadline=None)
    @given(st.recursive(st.one_of(st.text(), st.integers(), st.floats(), st.dates()), st.lists))
    def test_show(self, value: object) -> None:
        """A message shows any value on one short line."""
        self.assertTrue(show(value).isprintable())
        self.assertLess(len(show(value)), 100)
