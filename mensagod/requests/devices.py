"""Fields of devices that several requests share (spec 04, *Logging in*)."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey
from mensagod.errors import BadValue
from mensagod.values.identity import SERVER_DEVICE, DeviceID
from mensagod.wire.fields import Fields, optional, required


def parse_device_id(text: str) -> DeviceID:
    """Parse the ID of a client's device; the one that is reserved for the server is refused."""
    device = DeviceID.from_text(text)
    if device == SERVER_DEVICE:
        raise BadValue("this ID is reserved for the server")
    return device


def parse_device_key(text: str) -> EncryptionKey:
    """Parse a device's public key.

    :raises mensagod.errors.UnsupportedAlgorithm: if the prefix is not CURVE25519.
    :raises BadValue: if it does not decode to a key of 32 bytes.
    """
    return EncryptionKey.from_cryptostring(CryptoString.from_text(text))


def parse_device_info(text: str) -> CryptoString | None:
    """Parse a Device-Info; today's client library sends the text ``null`` for none."""
    return None if text == "null" else CryptoString.from_text(text)


@frozen(kw_only=True)
class PresentedDevice(Fields):
    """The data that a device sends about itself."""

    id: DeviceID = required("Device-ID", parse_device_id, "the device")
    key: EncryptionKey = required("Device-Key", parse_device_key, "its public encryption key")
    info: CryptoString | None = optional(
        "Device-Info", parse_device_info, "its description, encrypted for the user's other devices"
    )
