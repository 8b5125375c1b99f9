"""organization.key: what the organization's private keys are encrypted with (spec 06, *Files*)."""

from pathlib import Path

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey


class OrganizationKeyFault(Exception):
    """One sentence about a key file that cannot be used, and what to do."""


def read_organization_key(path: Path) -> SecretKey:
    """Read the key; :class:`OrganizationKeyFault` if it cannot be used."""
    return SecretKey.from_cryptostring(CryptoString.from_text(path.read_text().strip()))
