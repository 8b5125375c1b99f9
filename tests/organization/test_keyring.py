"""The organization's private keys in memory."""

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.sealing import EncryptionPair, SealBroken, SecretKey
from mensagod.crypto.signing import SigningPair
from mensagod.organization.keyring import Keyring, KeyringFault, choose_master, protect


class KeyringTests(SynchronousTestCase):
    """Stored keys become what the server signs and opens with."""

    def setUp(self) -> None:
        self.master = SecretKey.generate()
        self.signing, self.old_signing = SigningPair.generate(), SigningPair.generate()
        self.encryption, self.old_encryption = EncryptionPair.generate(), EncryptionPair.generate()
        self.stored = [
            evolve(protect(self.old_encryption, self.master), status="previous"),
            protect(self.encryption, self.master),
            protect(self.signing, self.master),
            evolve(protect(self.old_signing, self.master), status="previous"),
        ]

    def test_status(self) -> None:
        """Only the current pair signs; the previous one opens still, after the current one."""
        keyring = Keyring.from_stored(self.stored, SecretKey.generate(), self.master)
        self.assertEqual(keyring.signing.public, self.signing.public)
        self.assertEqual(
            [pair.public for pair in keyring.encryption], [self.encryption.public, self.old_encryption.public]
        )
        for pair in (self.encryption, self.old_encryption):
            self.assertEqual(keyring.open(pair.encryption_key.seal(b"hello")), b"hello")
        stranger = EncryptionPair.generate().encryption_key
        self.assertRaises(SealBroken, keyring.open, stranger.seal(b"hello"))

    def test_known(self) -> None:
        """Pairs that are known already need no decryption; others do."""
        keyring = Keyring.from_stored(self.stored, self.master)
        self.assertEqual(Keyring.from_stored(self.stored, known=keyring), keyring)
        new = protect(EncryptionPair.generate(), self.master)
        self.assertRaises(KeyringFault, lambda: Keyring.from_stored([*self.stored, new], known=keyring))

    def test_missing(self) -> None:
        """Without a current pair of each kind there is no keyring."""
        for stored in ([], self.stored[:2], self.stored[2:]):
            fault = self.assertRaises(KeyringFault, Keyring.from_stored, stored, self.master)
            self.assertIn("contains no keys", str(fault))
        self.assertRaises(KeyringFault, choose_master, [], [self.master])

    def test_wrong_master(self) -> None:
        """With the key of another database there is none either."""
        fault = self.assertRaises(KeyringFault, Keyring.from_stored, self.stored, SecretKey.generate())
        self.assertIn("restore the file that belongs to this database", str(fault))

    def test_secrets_not_shown(self) -> None:
        """What a keyring prints of itself has no private keys."""
        self.assertNotIn("ED25519", repr(Keyring.from_stored(self.stored, self.master)))
