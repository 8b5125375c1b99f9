"""A new organization.key, and all the places where making it can stop."""

import os
from datetime import UTC, datetime

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_bytes
from mensagod.crypto.sealing import SecretKey
from mensagod.installation.faults import InstallationFault
from mensagod.installation.opening import open_installation
from mensagod.organization import keycard
from mensagod.organization.key_file import (
    OrganizationKeyFault,
    adopt_next,
    changing,
    next_path,
    read_candidates,
    write_next,
)
from mensagod.organization.keyring import Keyring, KeyringFault
from mensagod.organization.rekeying import is_unfinished, rekey, revoke_with_new_key
from mensagod.storage import keys
from mensagod.storage.rows import Transaction
from tests.installation.installed import InstalledTestCase


class RekeyingTestCase(InstalledTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.publics = self.public_keys(*read_candidates(self.key_file))
        self.content = self.key_file.read_bytes()

    def public_keys(self, *masters: SecretKey) -> list[str]:
        """Open the keys as a server does at its start."""
        keyring = Keyring.from_stored(self.do(keys.usable_keys), *masters)
        return [str(keyring.signing.public), *(str(pair.public) for pair in keyring.encryption)]

    def rekey(self) -> bool:
        with open_installation(self.config) as connection:
            return rekey(self.config, connection)

    def assert_starts(self) -> None:
        """A server starts with the files as they are."""
        self.assertEqual(self.public_keys(*read_candidates(self.key_file)), self.publics)

    def assert_settled(self) -> None:
        """The file opens the keys, and there is no other."""
        self.assertEqual(self.public_keys(self.master), self.publics)
        self.assertFalse(next_path(self.key_file).exists())


class CrashTests(RekeyingTestCase):
    def test_whole(self) -> None:
        """Nothing in between is left."""
        self.assertTrue(self.rekey())
        self.assertNotEqual(self.key_file.read_bytes(), self.content)
        self.assert_settled()

    def test_half_a_file(self) -> None:
        """It stops while the next key is being written: nothing has happened yet."""
        next_path(self.key_file).write_bytes(b"XSALSA20:abc")
        self.assert_starts()
        self.assertTrue(self.rekey())
        self.assert_settled()

    def test_before_the_commit(self) -> None:
        """It stops before the database knows of the next key: the present one is right."""
        write_next(self.key_file, SecretKey.generate())
        self.assert_starts()
        self.assertTrue(self.rekey())
        self.assert_settled()

    def test_after_the_commit(self) -> None:
        """It stops before the file is in its place: a server starts, and the next rekey completes it."""
        old, new = self.master, SecretKey.generate()
        write_next(self.key_file, new)
        self.do(keycard.reencrypt, old, new)
        self.assert_starts()
        with open_installation(self.config) as connection:
            self.assertTrue(is_unfinished(self.config, connection))
        self.assertFalse(self.rekey())
        self.assertEqual(self.master, new)
        self.assert_settled()

    def test_present_file_lost(self) -> None:
        """The next key alone will do, too."""
        old, new = self.master, SecretKey.generate()
        write_next(self.key_file, new)
        self.do(keycard.reencrypt, old, new)
        self.key_file.unlink()
        self.assert_starts()
        self.assertFalse(self.rekey())
        self.assert_settled()


class RevocationTests(RekeyingTestCase):
    """A new file for revoked keys, where a rekey stopped after the commit."""

    def setUp(self) -> None:
        super().setUp()
        old, self.waiting = self.master, SecretKey.generate()
        write_next(self.key_file, self.waiting)
        self.do(keycard.reencrypt, old, self.waiting)

    def revoke(self, expected: CryptoString) -> None:
        with open_installation(self.config) as connection:
            revoke_with_new_key(self.config, connection, expected, datetime.now(UTC))

    def test_interrupted(self) -> None:
        """If the revocation stops before the commit, the key that opens the database is there still."""

        def refuse(txn: Transaction) -> None:
            txn.execute(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN RAISE EXCEPTION ''no''; END'"
            )
            txn.execute(
                "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON keycard_entries"
                " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()"
            )

        self.do(refuse)
        self.assertRaises(InstallationFault, self.revoke, self.card()[0].hash)
        self.assert_starts()
        self.assertIn(self.waiting, read_candidates(self.key_file))

    def test_overtaken(self) -> None:
        """If somebody else was faster, too."""
        self.assertRaises(InstallationFault, self.revoke, hash_bytes(b"another"))
        self.assert_starts()

    def test_whole(self) -> None:
        """Else the file is that of the new keys, and no other is left."""
        self.revoke(self.card()[0].hash)
        self.assertNotEqual(self.master, self.waiting)
        self.publics = self.public_keys(self.master)
        self.assert_settled()
        self.assertEqual(self.publics[0], str(self.card()[1].primary_key))


class RefusalTests(RekeyingTestCase):
    def test_wrong_file(self) -> None:
        """With the key of another database nothing is changed, neither there nor on disk."""
        self.key_file.write_text(f"{SecretKey.generate().secret}\n")
        content = self.key_file.read_bytes()
        error = self.assertRaises(InstallationFault, self.rekey)
        self.assertIn("restore the file that belongs to this database", str(error))
        self.assertEqual(self.key_file.read_bytes(), content)
        self.assertFalse(next_path(self.key_file).exists())
        self.key_file.write_bytes(self.content)
        self.assert_settled()

    def test_missing_file(self) -> None:
        """A lost file is told of, not replaced."""
        self.key_file.unlink()
        self.assertIn("is missing", str(self.assertRaises(InstallationFault, self.rekey)))
        self.assertFalse(self.key_file.exists())

    def test_two_at_once(self) -> None:
        """While one changes the file, another is refused."""
        with changing(self.key_file):
            error = self.assertRaises(InstallationFault, self.rekey)
        self.assertIn("Another process is changing", str(error))
        self.assertTrue(self.rekey())

    def test_unwritable(self) -> None:
        """Where the next key cannot be written, the database stays as it was."""
        next_path(self.key_file).mkdir()
        (next_path(self.key_file) / "something").touch()
        self.assertRaises(InstallationFault, self.rekey)
        self.assertEqual(self.key_file.read_bytes(), self.content)
        self.assertEqual(self.public_keys(self.master), self.publics)

    def test_wrong_old_key(self) -> None:
        """Nothing is encrypted anew that cannot be opened."""
        wrong = SecretKey.generate()
        self.assertRaises(KeyringFault, self.do, keycard.reencrypt, wrong, SecretKey.generate())
        self.assert_settled()

    def test_older_schema(self) -> None:
        """A database that no server has brought up to date is refused."""
        self.do(lambda txn: txn.execute("DELETE FROM schema_versions WHERE version > 1"))
        self.assertIn("start the server once", str(self.assertRaises(InstallationFault, self.rekey)))


class FileTests(RekeyingTestCase):
    def test_next(self) -> None:
        """The next key is only for the owner of the present one, and takes its place whole."""
        key = SecretKey.generate()
        write_next(self.key_file, key)
        found = next_path(self.key_file).stat()
        self.assertEqual(found.st_mode & 0o777, 0o600)
        self.assertEqual(found.st_uid, self.key_file.stat().st_uid)
        adopt_next(self.key_file)
        self.assertEqual(read_candidates(self.key_file), (key,))

    def test_link(self) -> None:
        """A link in the place of the next key is not followed."""
        target = self.directory / "elsewhere"
        os.symlink(target, next_path(self.key_file))
        write_next(self.key_file, SecretKey.generate())
        self.assertFalse(target.exists())

    def test_neither(self) -> None:
        """Without either file the present one is named."""
        self.key_file.unlink()
        error = self.assertRaises(OrganizationKeyFault, read_candidates, self.key_file)
        self.assertIn("organization.key is missing", str(error))
