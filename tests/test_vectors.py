"""The vectors of the specification: values made by independent scripts and by the reference server."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto import base85
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import HASH_ALGORITHMS, hash_bytes, hash_key, parse_hash
from mensagod.crypto.passwords import PasswordHasher, login_parameters
from mensagod.crypto.sealing import EncryptionPair, SecretKey
from mensagod.crypto.signing import SigningPair, VerifyKey
from mensagod.errors import BadValue, UnsupportedAlgorithm
from mensagod.values.identity import Domain, MAddress, RandomID, UserID, WAddress
from mensagod.values.paths import ServerPath
from mensagod.values.times import format_date, format_timestamp, parse_date, parse_timestamp
from tests.vectors import load

VALUES: Final = load("values")
REFERENCE: Final = load("reference-values")

WID: Final = "4418bf6c-000b-4bb3-8111-316e72030468"
ONE: Final = "11111111-1111-1111-1111-111111111111"
FILE: Final = f"1700000000.100.{ONE}"

SHORT_GROUPS: Final = "a RandomID is 8-4-4-4-12 hex digits, not what java.util.UUID takes"
LONG_LABEL: Final = "a label has at most 63 characters, a domain 253"
BLANKS: Final = "a user ID has no white space"
SLASHES: Final = "a user ID has no slash"
QUOTES: Final = "a user ID has no quote"
END_DOTS: Final = "a user ID has no dot at either end"
UNICODE: Final = "a user ID has letters of any script"
LONG_NAME: Final = "a user ID has at most 64 code points"
NO_AREA: Final = "a path leads into an area"
PATH_CASE: Final = "a path is stored and sent in lower case"
NO_DASHES: Final = "a directory is a UUID with its dashes"
FILE_DOTS: Final = "the parts of a file name are joined by dots"
ONE_FILE: Final = "a file stands last only"
NO_LONG: Final = "TIME and SIZE are numbers of 63 bits"
NOT_BASE85: Final = "a character is not in the Base85 alphabet"
OVERFLOW: Final = "a group of Base85 is at most 2^32-1, as in Python's decoder"
LEGACY: Final = "a legacy form that is accepted on input"
ONE_FORM: Final = "a timestamp is YYYY-MM-DDTHH:MM:SSZ: no fraction, zone, sign or small letter"
NO_SUCH_TIME: Final = "the reference bends times that do not exist; no calendar of ours has them"
YEAR_ZERO: Final = "Python's calendar begins with the year 1, and a time before it is refused"

DIFFERENCES: Final[dict[tuple[str, str], str]] = {
    ("Domain", f"{'x' * 300}.com"): LONG_LABEL,
    ("UserID", ".a"): END_DOTS,
    ("UserID", "a. b"): BLANKS,
    ("UserID", "a./b"): SLASHES,
    ("UserID", "a.\n"): BLANKS,
    ("UserID", 'a."'): QUOTES,
    ("UserID", "jörg"): UNICODE,
    ("UserID", "a" + ".b" * 63): LONG_NAME,
    ("RandomID", "1-1-1-1-1"): SHORT_GROUPS,
    ("RandomID", "0-0-0-0-0"): SHORT_GROUPS,
    ("RandomID", WID[:-1]): SHORT_GROUPS,
    ("RandomID", "+1-1-1-1-1"): SHORT_GROUPS,
    ("RandomID", "ffffffffffff-1-1-1-1"): SHORT_GROUPS,
    ("RandomID", "\u0661-1-1-1-1"): SHORT_GROUPS,
    ("WAddress", "1-1-1-1-1/example.com"): SHORT_GROUPS,
    ("MAddress", "jörg/example.com"): UNICODE,
    ("MAddress", "a. b/example.com"): BLANKS,
    ("MServerPath", f"/ wsp {WID.upper()}"): PATH_CASE,
    ("MServerPath", f"/ wsp {WID.replace('-', '')}"): NO_DASHES,
    ("MServerPath", f"/ wsp {WID} 1/2/{ONE}"): FILE_DOTS,
    ("MServerPath", f"/ wsp {WID} {FILE} {FILE}"): ONE_FILE,
    ("MServerPath", f"/ {WID}"): NO_AREA,
    ("MServerPath", f"/ 1.2.{WID}"): NO_AREA,
    ("MServerPath", "/ new"): NO_AREA,
    ("MServerPath", f"/ wsp {WID} {'9' * 20}.{'9' * 11}.{ONE}"): NO_LONG,
    ("CryptoString", "ED25519:ab,cd"): NOT_BASE85,
    ("CryptoString", "ED25519:ab.cd/ef"): NOT_BASE85,
    ("Timestamp", "2024-02-20T05:06:07.9Z"): ONE_FORM,
    ("Timestamp", "2024-02-20T05:06:07+01:00"): ONE_FORM,
    ("Timestamp", "2024-02-20t05:06:07z"): ONE_FORM,
    ("Timestamp", "+12024-02-20T05:06:07Z"): ONE_FORM,
    ("Timestamp", "2024-02-29T23:59:60Z"): NO_SUCH_TIME,
    ("Timestamp", "2024-02-20T24:00:00Z"): NO_SUCH_TIME,
    ("Timestamp", "0000-01-01T00:00:00Z"): YEAR_ZERO,
    ("Timestamp", "20240220T050607Z"): LEGACY,
    ("Date", "2024-02-30"): NO_SUCH_TIME,
    ("Date", "2023-02-29"): NO_SUCH_TIME,
    ("Date", "20240220"): LEGACY,
    ("Base85", "~~~~~"): OVERFLOW,
    ("Base85", "|NsC1"): OVERFLOW,
    ("Base85", "~~"): OVERFLOW,
    ("Base85", "~~~"): OVERFLOW,
    ("Base85", "~~~~"): OVERFLOW,
    ("Base85", 'ab"cd'): NOT_BASE85,
    ("Base85", "ab'cd"): NOT_BASE85,
    ("Base85", "ébcde"): NOT_BASE85,
    ("Base85", "ab\ncd"): NOT_BASE85,
}
"""Where the reference and the specification differ over a value, and what the specification says."""

PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "Domain": Domain.from_text,
    "UserID": UserID.from_text,
    "RandomID": RandomID.from_text,
    "WAddress": WAddress.from_text,
    "MAddress": MAddress.from_text,
    "MServerPath": ServerPath.from_text,
    "CryptoString": CryptoString.from_text,
    "Timestamp": lambda text: format_timestamp(parse_timestamp(text)),
    "Date": lambda text: format_date(parse_date(text)),
    "Base85": lambda text: base85.decode(text).hex(),
}


def answer(kind: str, text: str) -> str | None:
    """What our parser makes of a text, as text; nothing if it refuses."""
    try:
        return str(PARSERS[kind](text))
    except BadValue:
        return None


def probes() -> Iterator[tuple[str, str, str | None]]:
    """Every probe of the reference: type, input, and its answer."""
    for kind, rows in REFERENCE["types"].items():
        for row in rows:
            yield kind, row["in"], row["fromString"]
    for row in REFERENCE["timestamps"]["fromString"]:
        yield "Timestamp", row["in"], row["fromString"]
    for row in REFERENCE["timestamps"]["fromDateString"]:
        yield "Date", row["in"], row["toDateString"]
    for row in REFERENCE["base85_decode_probes"]:
        failed = "Exception" in row["result"]
        yield "Base85", row["text"], None if failed else row["result"]


class ProbeTests(SynchronousTestCase):
    maxDiff = None

    def test_every_difference_from_the_reference_is_listed(self) -> None:
        """No probe is answered otherwise than by the reference but for the listed ones, and those all are."""
        differing = {(kind, text) for kind, text, says in probes() if answer(kind, text) != says}
        self.assertEqual(sorted(differing - DIFFERENCES.keys()), [])
        self.assertEqual(sorted(DIFFERENCES.keys() - differing), [])

    def test_what_a_probe_says_beside_its_text(self) -> None:
        """Whether an ID is a workspace's, a path a file's, a CryptoString's data these bytes."""
        for row in REFERENCE["types"]["MAddress"]:
            if "more" in row and answer("MAddress", row["in"]) is not None:
                owner = MAddress.from_text(row["in"]).id
                self.assertEqual(isinstance(owner, RandomID), row["more"] == "true")
        for row in REFERENCE["types"]["MServerPath"]:
            if answer("MServerPath", row["in"]) is not None:
                is_file = ServerPath.from_text(row["in"]).is_file
                self.assertIn(f"isFile={str(is_file).lower()} ", row["more"])
        for row in REFERENCE["types"]["CryptoString"]:
            if " raw=Illegal" not in row.get("more", " raw=Illegal") and answer("CryptoString", row["in"]):
                self.assertIn(f"raw={CryptoString.from_text(row['in']).raw.hex()} ", row["more"])

    def test_the_values_in_the_json_forms(self) -> None:
        found = REFERENCE["type_json"]
        for kind in ("Domain", "UserID", "RandomID"):
            value = json.loads(found[kind])["value"]
            self.assertEqual(answer(kind, value), value)
        address = json.loads(found["WAddress"])
        text = f"{address['id']['value']}/{address['domain']['value']}"
        self.assertEqual(answer("WAddress", text), text)
        for kind in ("MServerPath", "CryptoString"):
            self.assertEqual(answer(kind, json.loads(found[kind])), json.loads(found[kind]))

    def test_timestamps_in_json(self) -> None:
        """What the reference writes to the second is read; what it writes with a fraction is not."""
        found = REFERENCE["timestamps"]
        for name in ("set json", "midnight json"):
            text = json.loads(found[name])
            self.assertEqual(answer("Timestamp", text), text)
        self.assertIsNone(answer("Timestamp", json.loads(found["json"])))
        self.assertIsNone(answer("Timestamp", found["year 10000"]))
        self.assertEqual(answer("Date", found["toDateString"]), found["toDateString"])


class Base85VectorTests(SynchronousTestCase):
    def test_values(self) -> None:
        for row in VALUES["base85"]:
            self.assertEqual(base85.encode(bytes.fromhex(row["hex"])), row["base85"])
            self.assertEqual(base85.decode(row["base85"]).hex(), row["hex"])

    def test_reference(self) -> None:
        for row in REFERENCE["base85"]:
            self.assertEqual(base85.encode(bytes.fromhex(row["hex"])), row["text"])
            self.assertEqual(base85.decode(row["text"]).hex(), row["hex"])


class HashVectorTests(SynchronousTestCase):
    def test_values(self) -> None:
        inputs = {"abc": b"abc", "1 MiB of zeros": bytes(2**20)}
        for row in VALUES["hashes"]:
            for algorithm in HASH_ALGORITHMS:
                expected = parse_hash(row[algorithm])
                self.assertEqual(hash_bytes(inputs[row["name"]], algorithm), expected)

    def test_reference(self) -> None:
        for row in REFERENCE["hashes"]:
            data = bytes.fromhex(row["data_hex"])
            for algorithm, says in (("BLAKE2B-256", row["blake2b_256"]), ("SHA-256", row["sha_256"])):
                made = hash_bytes(data, algorithm)
                # The reference does not hash what is empty; here an empty file has a hash.
                self.assertEqual(str(made) if data else "EmptyDataException", says)

    def test_the_reference_mislabels_the_hash_of_a_file(self) -> None:
        """What it calls SHA-256 of a file is BLAKE2B-256; ours is SHA-256."""
        row = REFERENCE["hash_file"]
        data = bytes.fromhex(row["data_hex"])
        self.assertEqual(str(hash_bytes(data)), row["hashFile BLAKE2B_256"])
        self.assertNotEqual(str(hash_bytes(data, "SHA-256")), row["hashFile SHA_256"])
        self.assertEqual(parse_hash(row["hashFile SHA_256"]).data, hash_bytes(data).data)

    def test_hashes_of_keys(self) -> None:
        for key, expected in (
            (VALUES["key_hash"]["key"], VALUES["key_hash"]["hash"]),
            (REFERENCE["sealed_box"]["key"]["public"], REFERENCE["sealed_box"]["public_key_hash"]),
            (REFERENCE["secret_box"]["key"], REFERENCE["secret_box"]["key_hash"]),
        ):
            self.assertEqual(str(hash_key(CryptoString.from_text(key))), expected)

    def test_published(self) -> None:
        """The drafts' example is well formed, of an algorithm that is not supported."""
        for row in VALUES["published"]:
            value = CryptoString.from_text(row["cryptostring"])
            self.assertEqual(value.raw.hex(), row["hex"])
            self.assertEqual(CryptoString.of(value.prefix, bytes.fromhex(row["hex"])), value)
            self.assertRaises(UnsupportedAlgorithm, parse_hash, row["cryptostring"])


class KeyVectorTests(SynchronousTestCase):
    def test_signatures(self) -> None:
        ours, theirs = VALUES["signature"], REFERENCE["signature"]
        message = bytes.fromhex(theirs["message_hex"])
        self._signs(ours["public"], ours["private"], ours["message"].encode(), ours["signature"])
        self._signs(theirs["key"]["public"], theirs["key"]["private"], message, theirs["signature"])

    def _signs(self, public: str, private: str, message: bytes, signature: str) -> None:
        made = CryptoString.from_text(signature)
        pair = SigningPair.from_cryptostrings(CryptoString.from_text(public), CryptoString.from_text(private))
        self.assertEqual(pair.sign(message), made)
        key = VerifyKey.from_cryptostring(CryptoString.from_text(public))
        self.assertTrue(key.verify(message, made))
        self.assertFalse(key.verify(message + b"x", made))

    def test_sealed_boxes(self) -> None:
        ours, theirs = VALUES["sealed"], REFERENCE["sealed_box"]
        plain = bytes.fromhex(theirs["plain_hex"])
        self._opens(ours["public"], ours["private"], ours["ciphertext"], ours["plaintext"].encode())
        self._opens(theirs["key"]["public"], theirs["key"]["private"], theirs["cipher"], plain)

    def _opens(self, public: str, private: str, box: str, plain: bytes) -> None:
        pair = EncryptionPair.from_cryptostrings(
            CryptoString.from_text(public), CryptoString.from_text(private)
        )
        self.assertEqual(pair.open(CryptoString.from_text(box)), plain)
        self.assertEqual(pair.open(pair.encryption_key.seal(b"")), b"")

    def test_secret_boxes(self) -> None:
        ours, theirs = VALUES["secret"], REFERENCE["secret_box"]
        for key, box, plain in (
            (ours["key"], ours["ciphertext"], ours["plaintext"].encode()),
            (theirs["key"], theirs["cipher"], bytes.fromhex(theirs["plain_hex"])),
            (theirs["key"], theirs["cipher_of_empty"], b""),
        ):
            secret = SecretKey.from_cryptostring(CryptoString.from_text(key))
            self.assertEqual(secret.open(CryptoString.from_text(box)), plain)


class PasswordVectorTests(SynchronousTestCase):
    def test_stored_hashes_of_the_reference_verify(self) -> None:
        """All but its default, which costs a gibibyte and seconds."""
        hasher = PasswordHasher(memory=8, time=1, parallelism=1)
        for name in ("cheap", "cheap_unicode"):
            row = REFERENCE["argon2id"][name]
            self.assertTrue(hasher.verify(row["hash"], row["password"]))
            self.assertFalse(hasher.verify(row["hash"], row["password"] + "x"))

    def test_parameters_are_read_from_every_hash(self) -> None:
        for row in REFERENCE["argon2id"].values():
            found = login_parameters(row["hash"], "", "", "")
            self.assertEqual(found.algorithm, row["algorithm"])
            self.assertEqual(found.salt, row["salt_after_setFromHash"])
            self.assertEqual(found.parameters, row["parameters_after_setFromHash"])
            same = PasswordHasher(row["memory_kib"], row["iterations"], row["threads"])
            self.assertFalse(same.needs_rehash(row["hash"]))

    def test_every_kind_of_argon2(self) -> None:
        """Also of the kind whose hash the reference cannot take."""
        for name in ("argon2d", "argon2id"):
            text: Any = REFERENCE["argon_class_probes"][f"argonPassFromHash({name})"]
            for kind in (name, "argon2i"):
                found = login_parameters(text.replace(name, kind, 1), "OLD", "old", "old")
                self.assertEqual(found.algorithm, kind.upper())
                self.assertEqual(found.salt, "anXvadxtNJAYa2cUQFqKSQ")
                self.assertEqual(found.parameters, "m=65536,t=2,p=1")
