"""The device that a client runs on."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.values.identity import DeviceID


@frozen
class DeviceCredentials:
    """Who the device is and how it proves it.

    :ivar info: its description, sealed for the other devices of the user.
    """

    id: DeviceID
    keys: EncryptionPair
    info: CryptoString | None = None

    @property
    def fields(self) -> dict[str, object]:
        """The fields of a request that present the device."""
        return {"Device-ID": self.id, "Device-Key": self.keys.public, "Device-Info": self.info}
