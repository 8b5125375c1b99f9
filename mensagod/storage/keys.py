"""The organization's keys as they are stored: the private ones only encrypted (spec 06, *Files*)."""

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.storage.rows import Row, Transaction, many


@frozen
class StoredKey:
    """A key pair of the organization.

    :ivar private: a secret box over the private key's text.
    """

    public: CryptoString
    purpose: str
    private: CryptoString
    status: str

    @classmethod
    def from_row(cls, row: Row) -> "StoredKey":
        """Make one from its columns."""
        return cls(
            CryptoString.from_text(row.public), row.purpose, CryptoString.from_text(row.private), row.status
        )


def add_key(txn: Transaction, key: StoredKey) -> None:
    """Store a new key pair."""
    txn.execute(
        "INSERT INTO organization_keys (public, purpose, private, status) VALUES (%s, %s, %s, %s)",
        (str(key.public), key.purpose, str(key.private), key.status),
    )


def usable_keys(txn: Transaction, days: int) -> list[StoredKey]:
    """Give the current keys and those that ceased to be current at most ``days`` ago, newest first."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE status = 'current'"
        " OR (status = 'previous' AND retired > now() - %s * interval '1 day')"
        " ORDER BY retired DESC NULLS FIRST",
        (days,),
    )
    return many(StoredKey.from_row, txn)
