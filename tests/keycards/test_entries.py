"""Entries: what can be read, what is refused with 411, and that the text survives byte for byte."""

from collections.abc import Callable
from datetime import UTC, date, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto import base85
from mensagod.errors import BadValue
from mensagod.keycards.entries import MAX_ENTRY, MAX_VALUE, Entry, OrganizationEntry, UserEntry
from mensagod.keycards.errors import BadKeycardData, KeycardFault, NoncompliantKeycard
from mensagod.keycards.signatures import check_hash, fingerprint
from mensagod.status import Status
from mensagod.values.identity import UserID, WAddress
from tests.keycards.cards import ADMIN, DOMAIN, WORKSPACE, Organization, User, vectors

VECTORS = vectors("keycards.json")
ORGANIZATION: list[str] = VECTORS["organization"]
USER: list[str] = VECTORS["user"]
FUZZ = settings(deadline=None)


def change_line(text: str, name: str, value: str) -> str:
    start = text.index(f"\r\n{name}:") + 2
    return text[:start] + f"{name}:{value}" + text[text.index("\r\n", start) :]


def drop_line(text: str, name: str) -> str:
    start = text.index(f"\r\n{name}:") + 2
    return text[:start] + text[text.index("\r\n", start) + 2 :]


class ReadingTests(SynchronousTestCase):
    """An entry that can be read keeps its text and gives typed values."""

    def test_round_trip(self) -> None:
        """Each entry of the vectors comes back byte for byte."""
        for text in ORGANIZATION + USER + VECTORS["user_base_entries"]:
            self.assertEqual(Entry.from_text(text).text, text)

    def test_organization_values(self) -> None:
        """An organization's entry tells what stands in it."""
        root, rotated, revoked = (OrganizationEntry.from_text(text) for text in ORGANIZATION)
        self.assertEqual((root.index, rotated.index), (1, 2))
        self.assertEqual(root.name, "Example, Inc.")
        self.assertEqual(root.domain, DOMAIN)
        self.assertEqual(root.owner, DOMAIN)
        self.assertEqual(root.admin, ADMIN)
        self.assertIsNone(root.abuse)
        self.assertIsNone(root.support)
        self.assertEqual(root.languages, ("en", "fr"))
        self.assertEqual(root.time_to_live, 14)
        self.assertEqual(root.expires, date(2026, 3, 1))
        self.assertEqual(root.timestamp, datetime(2024, 3, 1, tzinfo=UTC))
        self.assertIsNone(root.secondary_key)
        self.assertEqual(rotated.secondary_key, root.primary_key)
        self.assertEqual(str(root.primary_key), VECTORS["keys"]["org1.primary"]["public"])
        self.assertEqual(str(root.encryption_key), VECTORS["keys"]["org1.encryption"]["public"])
        self.assertIsNone(root.previous_hash)
        self.assertEqual(revoked.revokes, rotated.hash)
        self.assertEqual(revoked.previous_hash, rotated.hash)

    def test_user_values(self) -> None:
        """A user's entry tells what stands in it."""
        root = UserEntry.from_text(USER[0])
        keys = VECTORS["keys"]
        self.assertEqual(root.name, "Corbin Simons")
        self.assertEqual(root.user_id, UserID.from_text("csimons"))
        self.assertIsNone(root.local_user_id)
        self.assertEqual(root.workspace, WORKSPACE)
        self.assertEqual(root.owner, WAddress(WORKSPACE, DOMAIN))
        self.assertEqual(str(root.contact_verification_key), keys["user1.crsigning"]["public"])
        self.assertEqual(str(root.contact_encryption_key), keys["user1.crencryption"]["public"])
        self.assertEqual(str(root.encryption_key), keys["user1.encryption"]["public"])
        self.assertEqual(str(root.verification_key), keys["user1.signing"]["public"])
        self.assertEqual(len(root.keys), 4)
        self.assertEqual(root.signing_key, root.contact_verification_key)
        self.assertEqual(str(root.hash), VECTORS["user_hashes"][0])

    def test_optional_fields_left_out(self) -> None:
        """What an entry need not have is None, or nothing."""
        user = UserEntry.from_text(drop_line(drop_line(USER[0], "Name"), "User-ID"))
        self.assertIsNone(user.name)
        self.assertIsNone(user.user_id)
        self.assertEqual(OrganizationEntry.from_text(drop_line(ORGANIZATION[0], "Language")).languages, ())

    def test_missing_required_field(self) -> None:
        """A readable entry without a required field says so with 412 where it is asked for."""
        entry = Entry.from_text(drop_line(USER[0], "Domain"))
        error = self.assertRaises(NoncompliantKeycard, lambda: entry.domain)
        self.assertEqual(error.info, "Missing required field Domain")
        self.assertEqual(error.status, Status.NONCOMPLIANT_KEYCARD_DATA)

    def test_values_keep_their_bytes(self) -> None:
        """Case and legacy forms stay in the text; the typed value is the normal one."""
        text = change_line(USER[0], "User-ID", "CSimons")
        text = change_line(text, "Timestamp", "20240302T000000Z")
        entry = UserEntry.from_text(text)
        self.assertEqual(entry.text, text)
        self.assertEqual(str(entry.user_id), "csimons")
        self.assertEqual(entry.timestamp, datetime(2024, 3, 2, tzinfo=UTC))

    @given(st.data())
    @FUZZ
    def test_any_order_of_the_body(self, data: st.DataObject) -> None:
        """Body fields in any order after Type give the same canonical text, and so the same hash."""
        text = data.draw(st.sampled_from(ORGANIZATION + USER))
        entry = Entry.from_text(text)
        lines = text.splitlines(keepends=True)
        count = len(lines) - sum(
            line.partition(":")[0] in entry.schema.authentication_names for line in lines
        )
        body = data.draw(st.permutations(lines[1:count]))
        shuffled = Entry.from_text("".join([lines[0], *body, *lines[count:]]))
        self.assertEqual(shuffled.text, text)
        self.assertEqual(shuffled, entry)
        check_hash(shuffled)

    def test_wrong_type(self) -> None:
        """Where a user's entry is wanted an organization's will not do, nor the other way about."""
        self.assertRaises(BadKeycardData, UserEntry.from_text, ORGANIZATION[0])
        self.assertRaises(BadKeycardData, OrganizationEntry.from_text, USER[0])

    def test_text_before_a_line(self) -> None:
        """A line covers all that stands before it, whether or not it or others are there yet."""
        entry = Entry.from_text(USER[1])
        body = USER[1][: USER[1].index("Custody-Signature:")].encode()
        self.assertEqual(entry.text_before("Custody-Signature"), body)
        base = Entry.from_text(VECTORS["user_base_entries"][0])
        self.assertEqual(base.text_before("Organization-Signature"), base.text.encode())
        only_last = base.with_line("User-Signature", entry.authentication("User-Signature"))
        self.assertEqual(only_last.text_before("Hash"), base.text.encode())

    def test_fingerprint(self) -> None:
        """The fingerprint is of the signing key, so a rotation changes it."""
        first, second = (fingerprint(Entry.from_text(text)) for text in ORGANIZATION[:2])
        self.assertEqual(
            first, "da28 6240 a84a afb4 43b7 4f69 e719 bef2 65bd b6fe c116 1779 e6b9 825c 22b7 ac87"
        )
        self.assertNotEqual(first, second)


class KeyTests(SynchronousTestCase):
    """Keys and signatures are checked without being decoded."""

    @given(st.lists(st.text(base85.ALPHABET, min_size=5, max_size=5), min_size=8, max_size=8))
    @FUZZ
    def test_same_as_decoding(self, groups: list[str]) -> None:
        """A key of the right length is taken if and only if it decodes."""
        self.compare("".join(groups))

    def test_limit(self) -> None:
        """Four bytes end at 2^32-1, whatever digit the next group differs in."""
        largest = base85.encode(b"\xff" * 4)
        zeros = "0" * 35
        self.compare(largest + zeros)
        for place in range(len(largest)):
            for other in base85.ALPHABET:
                self.compare(largest[:place] + other + largest[place + 1 :] + zeros)

    def compare(self, data: str) -> None:
        text = f"Type:User\r\nVerification-Key:ED25519:{data}\r\n"
        try:
            base85.decode(data)
        except BadValue:
            self.assertRaises(BadKeycardData, Entry.from_text, text)
        else:
            self.assertEqual(UserEntry.from_text(text).verification_key.data, data)


class RefusedTests(SynchronousTestCase):
    """What cannot be read is 411."""

    def assert_bad(self, text: str, info: str = "") -> None:
        error = self.assertRaises(BadKeycardData, Entry.from_text, text)
        self.assertIn(info, error.info)
        self.assertEqual(error.status, Status.BAD_KEYCARD_DATA)

    def test_shape(self) -> None:
        """Lines that are none, and texts that begin otherwise than with a Type."""
        root = ORGANIZATION[0]
        for text in (
            "",
            "\r\n",
            "Type",
            "Type:Organization",
            root[:-2],
            root + "\r\n",
            root + "\n",
            "\r\n" + root,
            root + "no colon\r\n",
            root.replace("\r\n", "\r"),
            root.replace("Inc.", "Inc\r."),
            root.replace("Type:Organization", "Type:Company"),
            root.replace("Type:Organization", "Type:organization"),
            root.replace("Type:Organization\r\n", ""),
            root.replace("Inc.", "\ud800"),
        ):
            self.assert_bad(text)

    def test_fields(self) -> None:
        """Unknown fields, those of the other type, repeated ones, empty values, blanks around values."""
        root = ORGANIZATION[0]
        for text in (
            root.replace("Name:", "name:"),
            root.replace("Name:", "Nickname:"),
            root.replace("Name:", ":"),
            root.replace("Language:", "User-ID:"),
            root.replace("Language:en,fr", "Name:Example"),
            root.replace("Language:en,fr", "Language:"),
            root.replace("Index:1", "Index: 1"),
            root.replace("Index:1", "Index:1\t"),
            root.replace("Inc.\r\n", "Inc.\u00a0\r\n"),
        ):
            self.assert_bad(text)

    def test_types(self) -> None:
        """A value that is not of its type."""
        changes = {
            "Index": "one",
            "Name": "\u200b",
            "Domain": "example..com",
            "Contact-Admin": "csimons/example.com",
            "Language": "english",
            "Primary-Verification-Key": VECTORS["keys"]["org1.encryption"]["public"],
            "Encryption-Key": "CURVE25519:zn3AO",
            "Time-To-Live": "-1",
            "Expires": "2026-02-30",
            "Timestamp": "2024-03-01T00:00:00",
            "Hash": "MD5:GTo^~;X+5Vwe>oU=tbVe",
            "Organization-Signature": VECTORS["keys"]["org1.primary"]["public"],
        }
        for name, value in changes.items():
            self.assert_bad(change_line(ORGANIZATION[0], name, value))

    def test_user_types(self) -> None:
        """A value of a user's entry that is not of its type."""
        for name, value in {
            "User-ID": "c simons",
            "Workspace-ID": "4418bf6c000b4bb38111316e72030468",
            "Name": "x" * 65,
            "Verification-Key": "ED25519:" + "~" * 40,
        }.items():
            self.assert_bad(change_line(USER[0], name, value))
        for value in ("a..b", "a/b", "x" * 65, "a b"):
            self.assert_bad(USER[0].replace("User-ID:csimons", f"Local-User-ID:{value}"))

    def test_sizes(self) -> None:
        """An entry over 8192 bytes, also when only UTF-8 makes it so, and a value over 6144."""
        self.assertEqual((MAX_ENTRY, MAX_VALUE), (8192, 6144))
        start, end = "Type:User\r\nName:", "\r\n"
        room = MAX_ENTRY - len(start + end)
        for name in ("x" * (room + 1), "\u00e9" * (room // 2) + "xx"):
            self.assert_bad(f"{start}{name}{end}", "An entry has at most 8192 bytes")
        # A byte less, and it is the value that is too long; another, and it is only no name.
        for name in ("x" * room, "x" * (MAX_VALUE + 1), "\u00e9" * (MAX_VALUE // 2) + "x"):
            self.assert_bad(f"{start}{name}{end}", "over 6144 bytes")
        for name in ("x" * MAX_VALUE, "\u00e9" * (MAX_VALUE // 2)):
            self.assert_bad(f"{start}{name}{end}", "at most 64 characters")

    def test_places(self) -> None:
        """Lines that an entry of this index, or a revocation, must not have."""
        root, rotated, revoked = ORGANIZATION
        custody = "Custody-Signature:" + str(Entry.from_text(rotated).authentication("Custody-Signature"))
        old_hash = VECTORS["organization_hashes"][0]
        secondary = "Secondary-Verification-Key:" + VECTORS["keys"]["org1.primary"]["public"]
        for text in (
            root.replace("Hash:", f"{custody}\r\nHash:"),
            root.replace("Hash:", f"Previous-Hash:{old_hash}\r\nHash:"),
            root.replace("Hash:", f"Revoke:{old_hash}\r\nHash:"),
            revoked.replace("Previous-Hash:", f"{custody}\r\nPrevious-Hash:"),
            revoked.replace("Encryption-Key:", f"{secondary}\r\nEncryption-Key:"),
            root.replace("Index:1\r\n", "").replace("Hash:", "Index:1\r\nHash:", 1)[:-2] + "\r\nName:x\r\n",
            drop_line(root, "Language") + "Language:en\r\n",
        ):
            self.assert_bad(text)

    def test_composing_is_as_strict(self) -> None:
        """What cannot be read cannot be composed either."""
        entry = OrganizationEntry.from_text(ORGANIZATION[0])
        self.assertEqual(OrganizationEntry.from_fields(entry.fields), entry)
        for change in (
            {"Nickname": "x"},
            {"Type": "User"},
            {"Name": "two\r\nlines"},
            {"Name": "one\rmore"},
            {"Name": ""},
            {"Name": "\u00e9" * 6144},
            {"Name": "\ud800"},
        ):
            self.assertRaises(BadKeycardData, OrganizationEntry.from_fields, {**entry.fields, **change})

    @given(st.text())
    @FUZZ
    def test_any_text(self, text: str) -> None:
        """No text raises anything but our conditions."""
        self.assert_ours(lambda: Entry.from_text(text))

    @given(st.data())
    @FUZZ
    def test_any_mutation(self, data: st.DataObject) -> None:
        """Nor does an entry with pieces changed, dropped or doubled."""
        text = data.draw(st.sampled_from(ORGANIZATION + USER))
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 80)))
        piece = data.draw(st.one_of(st.text(max_size=20), st.sampled_from(ORGANIZATION + USER)))
        self.assert_ours(lambda: Entry.from_text(text[:start] + piece + text[end:]))

    @given(st.dictionaries(st.sampled_from(sorted(UserEntry.schema.rules)), st.text(min_size=1), min_size=1))
    @FUZZ
    def test_any_values(self, values: dict[str, str]) -> None:
        """Nor do known fields with any values, composed."""
        self.assert_ours(lambda: UserEntry.from_fields(values))

    def assert_ours(self, read: Callable[[], Entry]) -> None:
        try:
            entry = read()
        except KeycardFault:
            return
        self.assertEqual(Entry.from_text(entry.text), entry)


class MadeTests(SynchronousTestCase):
    """What is made here can be read."""

    def test_made_entries_round_trip(self) -> None:
        """Entries of each kind come back from their text."""
        organization = Organization()
        user = User(organization)
        organization.rotate(organization.current.timestamp)
        user.rotate(user.current.timestamp)
        organization.revoke(organization.current.timestamp)
        user.revoke(user.current.timestamp)
        for entry in (*organization.card, *user.card):
            self.assertEqual(Entry.from_text(entry.text), entry)
