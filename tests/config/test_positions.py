"""The line of each key, however it is written."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config.positions import Positions

_KEYS = st.sampled_from(["a", "b", "c-d", '"e.f"', "'g=h'"])
_NAMES = {"a": "a", "b": "b", "c-d": "c-d", '"e.f"': "e.f", "'g=h'": "g=h"}
_VALUES = st.sampled_from(
    [
        "1",
        '"]"',
        '"# no comment"  # a comment',
        "[]",
        "[\n  1, # ]\n  2,\n]",
        '"""\n[x]\na = 1\n"""',
        "'''\nb = ]\n\n'''",
        "{x = 1, y = [\n2]}",
        "[[1,\n2], [\n]]",
    ]
)
_NOISE = st.sampled_from(["", "\n", "# a = 1\n", "  \n\t# [a]\n"])


class PositionTests(SynchronousTestCase):
    """A key's line is where its statement begins."""

    def line(self, text: str, *path: str) -> int | None:
        return Positions(text).line_of(*path)

    def test_key_in_a_table(self) -> None:
        """A header gives the table its line, and its keys theirs."""
        text = "# x\n[network]\n\nport = 1\nlisten = []\n[log]\nlevel = 1"
        self.assertEqual(self.line(text, "network"), 2)
        self.assertEqual(self.line(text, "network", "port"), 4)
        self.assertEqual(self.line(text, "network", "listen"), 5)
        self.assertEqual(self.line(text, "log", "level"), 7)

    def test_dotted_key(self) -> None:
        """A dotted key names its table as well."""
        text = "\nnetwork.port = 1\nnetwork . 'listen_ip' = 2"
        self.assertEqual(self.line(text, "network"), 2)
        self.assertEqual(self.line(text, "network", "listen_ip"), 3)

    def test_inline_table(self) -> None:
        """The keys of an inline table stand where it begins."""
        text = "a = 1\nnetwork = {port = 1, tls = {key = [\n2]}}\nb = 1"
        self.assertEqual(self.line(text, "network", "port"), 2)
        self.assertEqual(self.line(text, "network", "tls", "key"), 2)
        self.assertEqual(self.line(text, "b"), 4)

    def test_quoted_keys_and_headers(self) -> None:
        """Quotes and blanks around names change nothing."""
        text = '[ "net.work" . a ]\n"po]rt" = 1\n[[list]]\nx = 1\n[[list]]\ny = 2'
        self.assertEqual(self.line(text, "net.work", "a", "po]rt"), 2)
        self.assertEqual(self.line(text, "list"), 3)
        self.assertEqual(self.line(text, "list", "y"), 6)

    def test_values_of_several_lines(self) -> None:
        """What looks like a statement inside a value is none."""
        text = '[a]\nx = """\n[b]\ny = 1\n"""\ny = [\n  "]",  # ]\n]\nz = 1'
        self.assertEqual(self.line(text, "a", "y"), 6)
        self.assertEqual(self.line(text, "a", "z"), 9)
        self.assertIsNone(self.line(text, "b"))

    def test_unknown_key(self) -> None:
        """A key that does not stand there has the line of its table, or none."""
        self.assertEqual(self.line("\n[a]", "a", "b"), 2)
        self.assertIsNone(self.line("\n[a]", "b"))

    def test_hostile_document_costs_little(self) -> None:
        """Where the search would take too long, lines are left unknown."""
        text = "a = '''\n" + "]\n" * 20_000 + "'''\nb = 1"
        self.assertIsNone(self.line(text, "b"))

    @settings(deadline=None)
    @given(st.lists(st.tuples(_NOISE, _KEYS, _VALUES), max_size=5, unique_by=lambda item: item[1]))
    def test_any_document(self, statements: list[tuple[str, str, str]]) -> None:
        """For any mixture of comments and values, each key has the line that it was written on."""
        text, expected = "[table]\n", {}
        for noise, key, value in statements:
            text += noise
            if noise and not noise.endswith("\n"):
                text += "\n"
            expected[_NAMES[key]] = text.count("\n") + 1
            text += f"{key} = {value}\n"
        positions = Positions(text)
        self.assertEqual({name: positions.line_of("table", name) for name in expected}, expected)
