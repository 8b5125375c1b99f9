"""The organization's private keys in memory, and how they are kept on disk (spec 03 and 06, *Files*)."""

from collections.abc import Sequence

from attrs import field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair, SealBroken, SecretKey
from mensagod.crypto.signing import SigningPair
from mensagod.storage.keys import StoredKey

KEEP_DAYS = 30
"""How long a key that was rotated out still opens what was sealed to it (spec 03, *The server's duties*)."""


class KeyringFault(Exception):
    """One sentence about keys that cannot be used, and what to do about it."""


@frozen
class Keyring:
    """The keys that the server signs and opens with.

    :ivar signing: the current pair.
    :ivar encryption: the pairs that open, the current one first.
    """

    signing: SigningPair = field(repr=False)
    encryption: tuple[EncryptionPair, ...] = field(repr=False)

    @classmethod
    def from_stored(cls, keys: Sequence[StoredKey], master: SecretKey) -> "Keyring":
        """Decrypt stored keys with the key from ``organization.key``.

        :raises KeyringFault: if there are none, or the key is not theirs.
        """
        signing: SigningPair | None = None
        encryption: list[EncryptionPair] = []
        for key in keys:
            private = _open(key, master)
            if key.purpose == "encryption":
                pair = EncryptionPair.from_cryptostrings(key.public, private)
                encryption.insert(0 if key.status == "current" else len(encryption), pair)
            elif key.status == "current":
                signing = SigningPair.from_cryptostrings(key.public, private)
        if signing is None or not encryption:
            raise KeyringFault("the database holds no keys of the organization: run `mensagod init`")
        return cls(signing, tuple(encryption))

    @property
    def public_encryption_key(self) -> CryptoString:
        """What clients and other servers seal to now."""
        return self.encryption[0].public

    def open(self, box: CryptoString) -> bytes:
        """Open what was sealed to a current or recent encryption key.

        :raises SealBroken: if none of them opens it.
        """
        for pair in self.encryption:
            try:
                return pair.open(box)
            except SealBroken:
                continue
        raise SealBroken("not sealed to a key of this organization")


def protect(pair: SigningPair | EncryptionPair, master: SecretKey) -> StoredKey:
    """Encrypt a fresh pair for the database, as the current one of its purpose."""
    purpose = "signing" if isinstance(pair, SigningPair) else "encryption"
    return StoredKey(pair.public, purpose, master.seal(str(pair.private).encode("ascii")), "current")


def _open(key: StoredKey, master: SecretKey) -> CryptoString:
    try:
        return CryptoString.from_text(master.open(key.private).decode("ascii"))
    except SealBroken as error:
        raise KeyringFault(
            "organization.key does not open the organization's private keys in the database: put back"
            " the file that belongs to this database"
        ) from error
