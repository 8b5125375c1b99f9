"""Requests of a login (spec 04, *Logging in*)."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import CURVE25519
from mensagod.errors import BadValue
from mensagod.requests.devices import PresentedDevice
from mensagod.values.identity import WorkspaceID
from mensagod.wire.fields import Fields, group, refused, required

PLAIN = "PLAIN"


def parse_login_type(text: str) -> str:
    """Parse a Login-Type; there is only one."""
    if text != PLAIN:
        raise BadValue("the only login type is PLAIN")
    return text


def parse_challenge(text: str) -> CryptoString:
    """Parse a sealed challenge.

    :raises mensagod.errors.UnsupportedAlgorithm: if the prefix is not CURVE25519.
    """
    challenge = CryptoString.from_text(text)
    challenge.require([CURVE25519])
    return challenge


@frozen(kw_only=True)
class LoginFields(Fields):
    """LOGIN."""

    login_type: str = required("Login-Type", parse_login_type, "the only type")
    workspace: WorkspaceID = required("Workspace-ID", WorkspaceID.from_text, "the workspace that logs in")
    challenge: CryptoString = required(
        "Challenge", parse_challenge, "32 random bytes in Base85, sealed to the organization's key"
    )


@frozen(kw_only=True)
class DeviceFields(Fields):
    """DEVICE, the first request."""

    response: None = refused("Response", "belongs to the second request")
    device: PresentedDevice = group(PresentedDevice)


@frozen(kw_only=True)
class DeviceResponseFields(Fields):
    """DEVICE, the second request."""

    device: PresentedDevice = group(PresentedDevice)
    response: str = required("Response", str, "the opened challenge", secret=True)
