"""Fields about devices that several requests share (spec 04, *Logging in*)."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey
from mensagod.errors import BadValue
from mensagod.values.identity import SERVER_DEVICE, DeviceID
from mensagod.wire.fields import Fields, optional, required


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


@frozen(kw_only=True)
class PresentedDevice(Fields):
    """A device as it presents itself."""

    id: DeviceID = required("Device-ID", parse_device_id, "the device")
    key: EncryptionKey = required("Device-Key", parse_device_key, "its public encryption key")
    info: CryptoString | None = optional(
        "Device-Info", parse_device_info, "its description, sealed for its siblings"
    )
