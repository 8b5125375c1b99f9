"""IDs, domains and addresses."""
# Letters that look alike are the point of some tests.
# ruff: noqa: RUF001

import unicodedata
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from mensagod.errors import BadValue
from mensagod.values.identity import (
    SERVER_DEVICE,
    SERVER_WORKSPACE,
    DeviceID,
    Domain,
    MAddress,
    RandomID,
    UserID,
    WAddress,
    WorkspaceID,
)
from tests.refusing import RefusingCase

WID = "4418bf6c-000b-4bb3-8111-316e72030468"

# Letters whose lower case, or whose decomposition, is what traps are made of.
tricky = st.sampled_from("İıſKÅΣςẞßǅŉΐ́̇ͅ·ـ가각.-_/ a1")
any_text = st.text() | st.text(tricky, max_size=70) | st.text(st.characters(codec=None))
few = settings(deadline=None)


class RandomIDTests(RefusingCase):
    def test_either_case_gives_lower_case(self) -> None:
        self.assertEqual(str(RandomID.from_text(WID.upper())), WID)
        self.assertEqual(RandomID.from_text(WID.upper()), RandomID.from_text(WID))

    def test_other_spellings_of_a_uuid_are_refused(self) -> None:
        self.refuses(
            RandomID.from_text,
            "",
            WID.replace("-", ""),
            f"{{{WID}}}",
            f"urn:uuid:{WID}",
            WID + "\n",
            " " + WID,
            WID[:-1],
            WID + "0",
            WID.replace("0", "٠"),
            "4418bf6c000b-4bb3-8111-316e-72030468",
            "1-1-1-1-1",
        )

    def test_the_kinds_of_id_are_distinct(self) -> None:
        """A device's ID never equals a workspace's, even of the same UUID."""
        self.assertNotEqual(WorkspaceID.from_text(WID), DeviceID.from_text(WID))
        self.assertIsInstance(DeviceID.from_text(WID), DeviceID)

    def test_ids_sort_as_their_texts(self) -> None:
        ids = [WorkspaceID.random() for _ in range(20)]
        self.assertEqual([str(one) for one in sorted(ids)], sorted(map(str, ids)))
        self.assertEqual(len(set(ids)), 20)

    def test_the_server_is_all_zero(self) -> None:
        zero = "00000000-0000-0000-0000-000000000000"
        self.assertEqual((str(SERVER_DEVICE), str(SERVER_WORKSPACE)), (zero, zero))

    @few
    @given(st.uuids())
    def test_round_trip(self, value: uuid.UUID) -> None:
        self.assertEqual(RandomID.from_text(str(RandomID(value))).uuid, value)

    @few
    @given(any_text)
    def test_a_value_or_bad_value(self, text: str) -> None:
        try:
            value = RandomID.from_text(text)
        except BadValue:
            return
        self.assertEqual(str(value), text.lower())


class UserIDTests(RefusingCase):
    def test_lower_case_and_composed(self) -> None:
        """The specification's own example keeps its tilde and loses its capitals."""
        self.assertEqual(str(UserID.from_text("SeñorJones")), "señorjones")
        self.assertEqual(UserID.from_text("Sen\u0303orJones"), UserID.from_text("SEÑORJONES"))

    def test_length_counts_in_normal_form(self) -> None:
        self.assertEqual(len(str(UserID.from_text("n\u0303" * 64))), 64)
        self.assertEqual(len(str(UserID.from_text("ΐ" * 64))), 64)
        self.assertEqual(len(str(UserID.from_text(unicodedata.normalize("NFD", "ᾂ" * 64)))), 64)
        self.refuses(UserID.from_text, "", "a" * 65, "ñ" * 65, "n\u0303" * 65, "a" * 1_000_000)

    def test_lower_casing_may_lengthen(self) -> None:
        """A capital I with a dot becomes two code points."""
        self.assertEqual(len(str(UserID.from_text("İ" * 32))), 64)
        self.refuses(UserID.from_text, "İ" * 33)

    def test_forbidden_characters(self) -> None:
        for character in ' \t\n\r\0/\\"\x7f\x85\xa0\u2003\u2028\u200d\u200e\ufeff\u0378\ud800\ue000':
            self.refuses(UserID.from_text, f"a{character}b", f"a{character}", character)

    def test_printable_characters_of_every_kind(self) -> None:
        for text in ("a+b", "a@b", "-", "_", "东京", "a'b", "😀", "१२", "a.b.c", "{}", "a" * 64):
            self.assertEqual(str(UserID.from_text(text)), text)

    def test_dots(self) -> None:
        self.refuses(UserID.from_text, ".", "..", ".a", "a.", "a..b", ".é", "é.", "é..a", "../../x")

    def test_what_can_be_given_out(self) -> None:
        for text in (
            "csimons",
            "señorjones",
            "товарищ",
            "東京tower",
            "ひらカナ漢字",
            "ㄅㄆabc",
            "서울seoul",
            "αβγ",
            "a१",
        ):
            UserID.from_text(text).check_grantable()
            self.assertIsNone(UserID.from_text(text).workspace)

    def test_what_can_only_be_looked_up(self) -> None:
        for text in (WID.upper(), "Admin", "ABUSE", "support", "pаypal", "aα", "东京москва", "גa", "aⅼб"):
            self.assertRaises(BadValue, UserID.from_text(text).check_grantable)

    def test_lookalikes_are_never_given_out(self) -> None:
        """Nothing invisible, no mark in front, and the operator's names in no form at all."""
        for code in (0x34F, 0x115F, 0x1160, 0x17B4, 0x180B, 0x2800, 0x3164, 0xFE00, 0xFE0F, 0xFFA0, 0xE01EF):
            for text in (f"ali{chr(code)}ce", f"alice{chr(code)}", chr(code)):
                self.assertRaises(BadValue, UserID.from_text(text).check_grantable)
        for text in ("\u0301alice", "ａｄｍｉｎ", "ⓐdmin", "𝐬𝐮𝐩𝐩𝐨𝐫𝐭", "abuſe"):
            self.assertRaises(BadValue, UserID.from_text(text).check_grantable)
        UserID.from_text("हिन्दी").check_grantable()

    def test_a_workspace_id_as_a_name(self) -> None:
        self.assertEqual(UserID.from_text(WID.upper()).workspace, WorkspaceID.from_text(WID))

    def test_final_sigma(self) -> None:
        """A sigma is lowered by its place in the word, and stays so."""
        self.assertEqual(str(UserID.from_text("ΟΔΥΣΣΕΥΣ")), "οδυσσευς")
        self.assertEqual(str(UserID.from_text("οδυσσευς")), "οδυσσευς")

    @few
    @given(any_text)
    def test_normal_form_is_stable(self, text: str) -> None:
        """Any text gives a value or our error, and a normal form is its own normal form."""
        try:
            value = UserID.from_text(text)
        except BadValue:
            return
        self.assertEqual(UserID.from_text(str(value)), value)
        self.assertEqual(str(value), _once(text))
        self.assertTrue(1 <= len(str(value)) <= 64)


class DomainTests(RefusingCase):
    def test_lower_case(self) -> None:
        self.assertEqual(str(Domain.from_text("EXAMPLE.Com")), "example.com")
        self.assertEqual(str(Domain.from_text("localhost")), "localhost")

    def test_lengths(self) -> None:
        longest = ".".join(["a" * 63] * 3 + ["a" * 61])
        self.assertEqual(str(Domain.from_text(longest)), longest)
        self.refuses(Domain.from_text, longest + "a", "a" * 64, "a." * 130 + "a")

    def test_empty_labels_and_foreign_characters(self) -> None:
        self.refuses(
            Domain.from_text,
            "",
            ".",
            ".a",
            "a.",
            "a..b",
            "a_b",
            "a b",
            "exämple",
            "a\n",
            "\u212aelvin",
            "a/b",
        )

    @few
    @given(any_text | st.text(st.sampled_from("aZ0-."), max_size=80))
    def test_a_value_or_bad_value(self, text: str) -> None:
        try:
            value = Domain.from_text(text)
        except BadValue:
            return
        self.assertEqual(Domain.from_text(str(value)), value)
        self.assertEqual(str(value), text.lower())


class AddressTests(RefusingCase):
    def test_a_name_and_a_domain(self) -> None:
        address = MAddress.from_text("CSimons/Example.COM")
        self.assertEqual(address, MAddress(UserID("csimons"), Domain("example.com")))
        self.assertEqual(str(address), "csimons/example.com")

    def test_a_random_id_means_the_workspace(self) -> None:
        address = MAddress.from_text(f"{WID.upper()}/example.com")
        self.assertEqual(address.id, WorkspaceID.from_text(WID))
        self.assertEqual(str(address), f"{WID}/example.com")

    def test_workspace_address(self) -> None:
        self.assertEqual(str(WAddress.from_text(f"{WID.upper()}/EXAMPLE.com")), f"{WID}/example.com")
        self.refuses(
            WAddress.from_text, "csimons/example.com", WID, f"{WID}/", f"{WID}/a/b", f"{WID} /a", "/", ""
        )

    def test_malformed(self) -> None:
        self.refuses(
            MAddress.from_text,
            "",
            "/",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "a@b",
            "a b/c",
            "a/..",
            "../b",
            "a/b\n",
            "a//b",
        )

    @few
    @given(any_text | st.text(tricky, max_size=8).map(lambda name: f"{name}/example.com"))
    def test_a_value_or_bad_value(self, text: str) -> None:
        for kind in (MAddress, WAddress):
            try:
                value = kind.from_text(text)
            except BadValue:
                continue
            self.assertEqual(kind.from_text(str(value)), value)


def _once(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
