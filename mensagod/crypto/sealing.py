"""Sealed texts: CURVE25519 sealed boxes and XSALSA20 secret boxes (spec 02)."""

from typing import Final, Self

import nacl.public
import nacl.secret
import nacl.utils
from attrs import field, frozen
from nacl.bindings import crypto_box_SEALBYTES, crypto_scalarmult
from nacl.exceptions import CryptoError

from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue

CURVE25519: Final = "CURVE25519"
XSALSA20: Final = "XSALSA20"
_KEY_SIZE: Final = 32
_SECRET_OVERHEAD: Final = nacl.secret.SecretBox.NONCE_SIZE + nacl.secret.SecretBox.MACBYTES


class SealBroken(BadValue):
    """A sealed text cannot be opened: it is malformed, changed, of another algorithm or for another key."""


@frozen
class EncryptionKey:
    """A public encryption key.

    :ivar public: the key as text.
    """

    public: CryptoString
    _box: nacl.public.SealedBox[nacl.public.PublicKey] = field(repr=False, eq=False)

    @classmethod
    def from_cryptostring(cls, public: CryptoString) -> Self:
        """Make one from its text.

        :raises UnsupportedAlgorithm: if it is not of CURVE25519.
        :raises BadValue: if it is not 32 bytes, or is a point of low order.
        """
        public.require([CURVE25519])
        raw = public.exactly(_KEY_SIZE)
        _refuse_low_order(raw)
        return cls(public, nacl.public.SealedBox(nacl.public.PublicKey(raw)))

    def __str__(self) -> str:
        return str(self.public)

    def seal(self, plain: bytes) -> CryptoString:
        """Seal ``plain``, which may be empty, so that only the private key opens it."""
        return CryptoString.of(CURVE25519, self._box.encrypt(plain))


@frozen
class EncryptionPair:
    """An encryption key pair. The ``repr`` shows neither the private key nor the key object.

    :ivar public: the public key.
    :ivar private: the private key, which is a secret.
    """

    public: CryptoString
    private: CryptoString = field(repr=False)
    _box: nacl.public.SealedBox[nacl.public.PrivateKey] = field(repr=False, eq=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair from the system's randomness."""
        return cls._from_key(nacl.public.PrivateKey.generate())

    @classmethod
    def from_cryptostrings(cls, public: CryptoString, private: CryptoString) -> Self:
        """Make a pair from the texts of both keys.

        :raises UnsupportedAlgorithm: if the private key is not of CURVE25519.
        :raises BadValue: if it is not 32 bytes, or the public key does not belong to it.
        """
        private.require([CURVE25519])
        pair = cls._from_key(nacl.public.PrivateKey(private.exactly(_KEY_SIZE)))
        if pair.public != public:
            raise BadValue("the public key is not that of the private key")
        return cls(public, private, pair._box)

    @classmethod
    def _from_key(cls, key: nacl.public.PrivateKey) -> Self:
        public = CryptoString.of(CURVE25519, bytes(key.public_key))
        return cls(public, CryptoString.of(CURVE25519, bytes(key)), nacl.public.SealedBox(key))

    def open(self, box: CryptoString) -> bytes:
        """Open a text that was sealed to the public key; raise :class:`SealBroken` if that fails."""
        return _open(self._box, box, CURVE25519, crypto_box_SEALBYTES)

    @property
    def encryption_key(self) -> EncryptionKey:
        """The public key as a key to seal with."""
        return EncryptionKey.from_cryptostring(self.public)


@frozen
class SecretKey:
    """A symmetric key. The ``repr`` does not show it.

    :ivar secret: the key as text, which is a secret.
    """

    secret: CryptoString = field(repr=False)
    _box: nacl.secret.SecretBox = field(repr=False, eq=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new key from the system's randomness."""
        raw = nacl.utils.random(_KEY_SIZE)
        return cls(CryptoString.of(XSALSA20, raw), nacl.secret.SecretBox(raw))

    @classmethod
    def from_cryptostring(cls, secret: CryptoString) -> Self:
        """Make one from its text.

        :raises UnsupportedAlgorithm: if it is not of XSALSA20.
        :raises BadValue: if it is not 32 bytes.
        """
        secret.require([XSALSA20])
        return cls(secret, nacl.secret.SecretBox(secret.exactly(_KEY_SIZE)))

    def seal(self, plain: bytes) -> CryptoString:
        """Seal ``plain``, which may be empty, with a random nonce, which precedes the result."""
        return CryptoString.of(XSALSA20, bytes(self._box.encrypt(plain)))

    def open(self, box: CryptoString) -> bytes:
        """Open a text that was sealed with this key; raise :class:`SealBroken` if that fails."""
        return _open(self._box, box, XSALSA20, _SECRET_OVERHEAD)


def _open(
    opener: nacl.public.SealedBox[nacl.public.PrivateKey] | nacl.secret.SecretBox,
    box: CryptoString,
    prefix: str,
    overhead: int,
) -> bytes:
    if box.prefix != prefix:
        raise SealBroken(f"the sealed text is not of {prefix}")
    try:
        raw = box.raw
        if len(raw) >= overhead:
            return opener.decrypt(raw)
    except (BadValue, CryptoError):
        pass
    raise SealBroken("the sealed text does not open")


def _refuse_low_order(raw: bytes) -> None:
    """Refuse a point of low order: its shared secrets are zero, and libsodium would fail when sealing."""
    try:
        crypto_scalarmult(bytes(_KEY_SIZE), raw)
    except CryptoError:
        raise BadValue("nothing can be sealed to this key") from None
