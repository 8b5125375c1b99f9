"""The credentials of the client's device."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.requests.devices import PresentedDevice
from mensagod.values.identity import DeviceID


@frozen
class DeviceCredentials:
    """The ID and the key pair of a device.

    :ivar info: its description, sealed for the user's other devices.
    """

    id: DeviceID
    keys: EncryptionPair
    info: CryptoString | None = None

    @property
    def presented(self) -> PresentedDevice:
        """The fields of a request that present the device."""
        return PresentedDevice(id=self.id, key=self.keys.encryption_key, info=self.info)
