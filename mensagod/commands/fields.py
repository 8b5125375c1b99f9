"""Groups of fields that several commands share (spec 02 and 04)."""

from attrs import field, frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import LoginParameters, login_parameters, parse_password_hash
from mensagod.crypto.sealing import EncryptionKey
from mensagod.errors import BadValue
from mensagod.values.identity import SERVER_DEVICE, DeviceID
from mensagod.wire.messages import Request

MAX_PARAMETER = 1024
"""The longest text that a client may have kept for it beside its password, in code points."""


def parse_parameter(text: str) -> str:
    """Check what a client wants to be given back at its logins."""
    if len(text) > MAX_PARAMETER:
        raise BadValue(f"at most {MAX_PARAMETER} characters")
    return text


def parse_device_id(text: str) -> DeviceID:
    """Read the ID of a client's device; the one that stands for the server is nobody's."""
    device = DeviceID.from_text(text)
    if device == SERVER_DEVICE:
        raise BadValue("this ID stands for the server")
    return device


def parse_device_key(text: str) -> EncryptionKey:
    """Read a device's public key.

    :raises mensagod.errors.UnsupportedAlgorithm: for another prefix than CURVE25519.
    :raises BadValue: unless it decodes to a key of 32 bytes.
    """
    return EncryptionKey.from_cryptostring(CryptoString.from_text(text))


def parse_device_info(text: str) -> CryptoString | None:
    """Read a Device-Info; the text ``null`` is today's client library's way to give none."""
    return None if text == "null" else CryptoString.from_text(text)


@frozen
class NewPassword:
    """A password as a client sets it.

    :ivar hash: what the client made of it; a secret.
    """

    hash: str = field(repr=False)
    parameters: LoginParameters

    @classmethod
    def from_request(cls, request: Request, prefix: str = "") -> "NewPassword":
        """Take it from a request, where the fields' names may have a prefix."""
        text = request.required(f"{prefix}Password-Hash", parse_password_hash)
        algorithm, salt, parameters = (
            request.optional(f"{prefix}Password-{name}", parse_parameter, "")
            for name in ("Algorithm", "Salt", "Parameters")
        )
        return cls(text, login_parameters(text, algorithm, salt, parameters))


@frozen
class NewDevice:
    """A device as it presents itself."""

    id: DeviceID
    key: EncryptionKey
    info: CryptoString | None

    @classmethod
    def from_request(cls, request: Request) -> "NewDevice":
        """Take it from ``Device-ID``, ``Device-Key`` and ``Device-Info``."""
        return cls(
            request.required("Device-ID", parse_device_id),
            request.required("Device-Key", parse_device_key),
            request.optional("Device-Info", parse_device_info),
        )
