"""The device that a client runs on."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.requests.devices import PresentedDevice
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
    def presented(self) -> PresentedDevice:
        """The fields of a request that present the device."""
        return PresentedDevice(id=self.id, key=self.keys.encryption_key, info=self.info)
