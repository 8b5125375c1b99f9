"""The organization's private keys in memory, and their encryption for the database (spec 03; 06, *Files*)."""

from collections.abc import Sequence

from attrs import field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair, SealBroken, SecretKey
from mensagod.crypto.signing import SigningPair
from mensagod.storage.keys import StoredKey

KEEP_DAYS = 30
"""How many days an encryption key is kept after it was rotated out (spec 03, *The server's duties*)."""

_NO_KEYS = "the database contains no keys of the organization: run `mensagod init`"
_WRONG_MASTER = (
    "organization.key does not decrypt the organization's private keys in the database: restore the file that"
    " belongs to this database"
)


class KeyringFault(Exception):
    """The organization's keys cannot be used. The text says why, and what to do."""


@frozen
class Keyring:
    """The organization's key pairs in decrypted form.

    :ivar signing: the current signing pair.
    :ivar encryption: the encryption pairs that may still be used, the current one first.
    """

    signing: SigningPair = field(repr=False)
    encryption: tuple[EncryptionPair, ...] = field(repr=False)

    @classmethod
    def from_stored(
        cls, keys: Sequence[StoredKey], *masters: SecretKey, known: "Keyring | None" = None
    ) -> "Keyring":
        """Decrypt stored keys with the key from ``organization.key``.

        :param masters: keys of which one decrypts them.
        :param known: an earlier keyring, whose pairs are reused without decryption if they are still stored.
        :raises KeyringFault: if there are no stored keys, or none of ``masters`` decrypts them.
        """
        signing: SigningPair | None = None
        encryption: list[EncryptionPair] = []
        pairs = {} if known is None else known._pairs
        for key in keys:
            if key.purpose == "signing" and key.status != "current":
                continue
            pair = pairs.get(key.public) or _decrypt(key, masters)
            if isinstance(pair, EncryptionPair):
                encryption.insert(0 if key.status == "current" else len(encryption), pair)
            else:
                signing = pair
        if signing is None or not encryption:
            raise KeyringFault(_NO_KEYS)
        return cls(signing, tuple(encryption))

    @property
    def _pairs(self) -> dict[CryptoString, SigningPair | EncryptionPair]:
        encryption: dict[CryptoString, SigningPair | EncryptionPair] = {
            pair.public: pair for pair in self.encryption
        }
        return encryption | {self.signing.public: self.signing}

    @property
    def public_encryption_key(self) -> CryptoString:
        """The current public key, to which clients and other servers seal."""
        return self.encryption[0].public

    def open(self, box: CryptoString) -> bytes:
        """Open a sealed text, with the current or an earlier encryption key.

        :raises SealBroken: if none of them opens it.
        """
        for pair in self.encryption:
            try:
                return pair.open(box)
            except SealBroken:
                continue
        raise SealBroken("not sealed to a key of this organization")


def protect(pair: SigningPair | EncryptionPair, master: SecretKey) -> StoredKey:
    """Encrypt a new pair for the database, as the current one of its purpose."""
    purpose = "signing" if isinstance(pair, SigningPair) else "encryption"
    return StoredKey(pair.public, purpose, master.seal(str(pair.private).encode("ascii")), "current")


def choose_master(keys: Sequence[StoredKey], masters: Sequence[SecretKey]) -> SecretKey:
    """Find the key that the private keys are encrypted with; it is the same for all of them.

    :raises KeyringFault: if it is none of ``masters``, or there are no private keys.
    """
    if not keys:
        raise KeyringFault(_NO_KEYS)
    for master in masters:
        try:
            master.open(keys[0].private)
        except SealBroken:
            continue
        return master
    raise KeyringFault(_WRONG_MASTER)


def _decrypt(key: StoredKey, masters: Sequence[SecretKey]) -> SigningPair | EncryptionPair:
    private = CryptoString.from_text(choose_master([key], masters).open(key.private).decode("ascii"))
    kind = SigningPair if key.purpose == "signing" else EncryptionPair
    return kind.from_cryptostrings(key.public, private)
