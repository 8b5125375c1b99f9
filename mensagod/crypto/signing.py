"""ED25519 signatures (spec 02, *CryptoStrings and algorithms*)."""

from typing import Final, Self

import nacl.signing
from attrs import field, frozen
from nacl.exceptions import CryptoError

from mensagod.crypto.cryptostring import CryptoString
from mensagod.errors import BadValue

ED25519: Final = "ED25519"
_KEY_SIZE: Final = 32
_SIGNATURE_SIZE: Final = 64


def parse_signature(text: str) -> CryptoString:
    """Parse a signature, without checking its length.

    :raises UnsupportedAlgorithm: if it is not of ED25519.
    :raises BadValue: if it is not a CryptoString.
    """
    signature = CryptoString.from_text(text)
    signature.require([ED25519])
    return signature


@frozen
class VerifyKey:
    """The public key of a signing pair.

    :ivar public: the key as text.
    """

    public: CryptoString
    _key: nacl.signing.VerifyKey = field(repr=False, eq=False)

    @classmethod
    def from_cryptostring(cls, public: CryptoString) -> Self:
        """Make one from its text.

        :raises UnsupportedAlgorithm: if it is not of ED25519.
        :raises BadValue: if it is not 32 bytes.
        """
        public.require([ED25519])
        return cls(public, nacl.signing.VerifyKey(public.exactly(_KEY_SIZE)))

    def verify(self, data: bytes, signature: CryptoString) -> bool:
        """Tell whether ``signature`` is a signature of ``data`` by the private key.

        A malformed signature, or one of another algorithm, does not verify.
        """
        if signature.prefix != ED25519:
            return False
        try:
            self._key.verify(data, signature.exactly(_SIGNATURE_SIZE))
        except (BadValue, CryptoError):
            return False
        return True


@frozen
class SigningPair:
    """A signing key pair. The ``repr`` shows neither the seed nor the key object.

    :ivar public: the public key.
    :ivar private: the 32-byte seed, which is a secret.
    """

    public: CryptoString
    private: CryptoString = field(repr=False)
    _key: nacl.signing.SigningKey = field(repr=False, eq=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a new pair from the system's randomness."""
        return cls._from_key(nacl.signing.SigningKey.generate())

    @classmethod
    def from_private(cls, private: CryptoString) -> Self:
        """Make a pair from the seed.

        :raises UnsupportedAlgorithm: if it is not of ED25519.
        :raises BadValue: if it is not 32 bytes.
        """
        private.require([ED25519])
        return cls._from_key(nacl.signing.SigningKey(private.exactly(_KEY_SIZE)))

    @classmethod
    def from_cryptostrings(cls, public: CryptoString, private: CryptoString) -> Self:
        """Make a pair from the texts of both keys; raise :class:`BadValue` if they do not belong together."""
        pair = cls.from_private(private)
        if pair.public != public:
            raise BadValue("the public key is not that of the private key")
        return pair

    @classmethod
    def _from_key(cls, key: nacl.signing.SigningKey) -> Self:
        public = CryptoString.of(ED25519, bytes(key.verify_key))
        return cls(public, CryptoString.of(ED25519, bytes(key)), key)

    def sign(self, data: bytes) -> CryptoString:
        """Make a detached signature of ``data``."""
        return CryptoString.of(ED25519, self._key.sign(data).signature)

    @property
    def verify_key(self) -> VerifyKey:
        """The public key as a key to verify with."""
        return VerifyKey.from_cryptostring(self.public)
