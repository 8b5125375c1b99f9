"""Server paths and file names."""

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.errors import BadValue
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.refusing import RefusingCase

WID = "4418bf6c-000b-4bb3-8111-316e72030468"
ONE = "11111111-1111-1111-1111-111111111111"
FILE = f"1700000000.100.{ONE}"
few = settings(deadline=None)

elements = st.sampled_from(
    [
        "wsp",
        "out",
        "tmp",
        "keys",
        "new",
        "settings",
        WID,
        ONE,
        FILE,
        "",
        ".",
        "..",
        "/",
        "a",
        WID.upper(),
        "\u212aeys",
    ]
)
path_like = st.lists(elements, max_size=16).map(lambda parts: " ".join(["/", *parts]))


def path(text: str) -> ServerPath:
    return ServerPath.from_text(text)


class FileNameTests(RefusingCase):
    def test_parts(self) -> None:
        name = FileName.from_text(FILE)
        self.assertEqual((name.time, name.size, name.id), (1_700_000_000, 100, uuid.UUID(ONE)))
        self.assertEqual(str(name), FILE)

    def test_lower_case(self) -> None:
        self.assertEqual(str(FileName.from_text(f"1.2.{WID.upper()}")), f"1.2.{WID}")

    def test_a_made_name_reads_back(self) -> None:
        made = FileName.make(1_700_000_000, 0)
        self.assertEqual(FileName.from_text(str(made)), made)
        self.assertEqual((made.time, made.size), (1_700_000_000, 0))
        self.assertNotEqual(made, FileName.make(1_700_000_000, 0))
        self.assertRaises(BadValue, FileName.make, -1, 0)
        self.assertRaises(BadValue, FileName.make, 0, 2**63)

    def test_refused(self) -> None:
        self.refuses(
            FileName.from_text,
            "",
            f"1.{ONE}",
            f"1.2.{ONE}.3",
            f"1/2/{ONE}",
            f"-1.2.{ONE}",
            f"+1.2.{ONE}",
            f"1. 2.{ONE}",
            f"\u0661.1.{ONE}",
            f"1.2.{ONE}\n",
            f"1.2.{ONE.replace('-', '')}",
            "1.2." + "-" * 36,
            f"1.2.{ONE[:-1]}-",
            f"9223372036854775808.1.{ONE}",
            f"1.{'9' * 33}.{ONE}",
            f"{'9' * 100_000}.1.{ONE}",
        )

    @few
    @given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.uuids())
    def test_round_trip(self, time: int, size: int, file_id: uuid.UUID) -> None:
        name = FileName.from_text(f"{time}.{size}.{file_id}")
        self.assertEqual((name.time, name.size, name.id), (time, size, file_id))


class GrammarTests(RefusingCase):
    def test_allowed(self) -> None:
        for text in (
            "/",
            "/ wsp",
            f"/ out {WID}",
            f"/ tmp {WID} {FILE}",
            f"/ keys {WID}",
            f"/ wsp {WID} {ONE} {ONE}",
            f"/ wsp {WID} new",
            f"/ wsp {WID} {ONE} settings",
            f"/ wsp {WID} {ONE} new {FILE}",
        ):
            self.assertEqual(str(path(text)), text)

    def test_what_the_grammar_allows_though_nothing_is_there(self) -> None:
        for text in ("/ wsp new", "/ keys settings", f"/ out {FILE}", f"/ tmp new {FILE}"):
            self.assertEqual(str(path(text)), text)
            self.assertIsNone(path(text).workspace)

    def test_an_area_comes_first(self) -> None:
        self.refuses(path, f"/ {WID}", f"/ {FILE}", "/ new", "/ bin", "/ etc passwd")

    def test_named_directories_stand_last_only(self) -> None:
        self.refuses(
            path,
            f"/ wsp new {WID}",
            f"/ wsp {WID} new new",
            f"/ wsp {WID} new settings",
            f"/ wsp {WID} settings {ONE}",
        )

    def test_a_file_stands_last_only(self) -> None:
        self.refuses(path, f"/ wsp {WID} {FILE} {FILE}", f"/ wsp {WID} {FILE} new", f"/ wsp {FILE} {WID}")

    def test_blanks(self) -> None:
        self.refuses(
            path, "/ ", " /", "/  wsp", f"/ wsp  {WID}", f"/ wsp {WID} ", f"/ wsp\t{WID}", f"/ wsp {WID}\n"
        )

    def test_what_means_something_to_a_file_system(self) -> None:
        self.refuses(
            path,
            "",
            "//",
            "/wsp",
            "wsp",
            ".",
            "/ ..",
            "/ wsp ..",
            "/ wsp .",
            f"/ wsp {WID} ../../etc/passwd",
            f"/ wsp/{WID}",
            f"/ wsp {WID}\0",
            f"/ wsp {WID} *",
            f"/ wsp {WID} ~",
        )

    def test_length(self) -> None:
        """512 characters are the most, and nobody gets to pay for more."""
        longest = f"/ wsp {' '.join([WID] * 13)}"
        self.assertEqual(path(longest).depth, 14)
        self.assertEqual(len(longest), 486)
        exact = f"{longest[:-37]} {'1' * 11}.{'2' * 12}.{WID}"
        self.assertEqual(len(exact), 511)
        self.assertTrue(path(exact).is_file)
        self.assertTrue(path(exact.replace(".", "0.", 1)).is_file)
        self.refuses(path, exact.replace(".", "00.", 1), longest + f" {WID}", "/ wsp" + " a" * 1_000_000)

    def test_lower_case_only_of_ascii(self) -> None:
        """The Kelvin sign has an ASCII lower case and is still no k."""
        self.assertEqual(str(path(f"/ WSP {WID.upper()} NEW")), f"/ wsp {WID} new")
        self.refuses(path, "/ \u212aeys")

    @few
    @given(st.text() | path_like | st.text(st.sampled_from(f"/ .{WID}wspnewkeys"), max_size=60))
    def test_a_value_or_bad_value(self, text: str) -> None:
        try:
            value = path(text)
        except BadValue:
            return
        self.assertEqual(str(value), text.lower())
        self.assertEqual(path(str(value)), value)
        self.assertNotIn("..", value.elements)
        self.assertFalse(value.directory.is_file)


class PathTests(RefusingCase):
    def test_a_file(self) -> None:
        file = path(f"/ wsp {WID} new {FILE}")
        self.assertTrue(file.is_file)
        self.assertEqual((file.area, file.workspace), ("wsp", WorkspaceID.from_text(WID)))
        self.assertEqual(file.file, FileName.from_text(FILE))
        self.assertEqual(str(file.directory), f"/ wsp {WID} new")
        self.assertEqual(file.parent, file.directory)
        self.assertEqual((file.depth, file.name), (4, FILE))
        self.assertEqual(file.elements, ("wsp", WID, "new", FILE))

    def test_a_directory(self) -> None:
        directory = path(f"/ keys {WID}")
        self.assertFalse(directory.is_file)
        self.assertIsNone(directory.file)
        self.assertEqual(directory.directory, directory)
        self.assertEqual(directory.parent, path("/ keys"))

    def test_the_root(self) -> None:
        root = path("/")
        self.assertEqual(
            (root.area, root.workspace, root.parent, root.depth, root.name), (None, None, None, 0, "")
        )
        self.assertEqual(root.child("wsp"), path("/ wsp"))

    def test_places_of_a_workspace(self) -> None:
        wid = WorkspaceID.from_text(WID)
        for made, text in (
            (ServerPath.workspace_root(wid), f"/ wsp {WID}"),
            (ServerPath.new_messages(wid), f"/ wsp {WID} new"),
            (ServerPath.settings(wid), f"/ wsp {WID} settings"),
            (ServerPath.outgoing(wid), f"/ out {WID}"),
            (ServerPath.temporary(wid), f"/ tmp {WID}"),
            (ServerPath.keys(wid), f"/ keys {WID}"),
        ):
            self.assertEqual(str(made), text)
            self.assertEqual(made, path(text))
            self.assertEqual(made.workspace, wid)

    def test_children(self) -> None:
        root = ServerPath.workspace_root(WorkspaceID.from_text(WID))
        self.assertEqual(root.child(uuid.UUID(ONE)), path(f"/ wsp {WID} {ONE}"))
        self.assertEqual(root.child("new").child(FileName.from_text(FILE)), path(f"/ wsp {WID} new {FILE}"))

    @few
    @given(st.lists(st.sampled_from([WID, ONE, "new", "settings", FILE]), max_size=16))
    def test_file_in(self, parts: list[str]) -> None:
        """A file's name makes of any path what its text makes of it."""
        for text in ("/", " ".join(["/", "wsp", *parts])):
            try:
                directory = path(text)
            except BadValue:
                continue
            results: list[ServerPath | None] = []
            for name in (FILE, FileName.from_text(FILE)):
                try:
                    results.append(directory.child(name))
                except BadValue:
                    results.append(None)
            self.assertEqual(results[0], results[1])

    def test_no_child_that_is_not_one_element(self) -> None:
        root = ServerPath.workspace_root(WorkspaceID.from_text(WID))
        self.refuses(root.child, "", "..", "a", f"{ONE} {ONE}", f" {ONE}", f"new {FILE}", "/")
        self.refuses(root.child("new").child, ONE, "new")
        self.refuses(root.child(FILE).child, FILE, ONE)
