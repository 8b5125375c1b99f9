"""The organization's keys as they are stored: the private ones only encrypted (spec 06, *Files*)."""

from datetime import datetime

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


def live_keys(txn: Transaction) -> list[StoredKey]:
    """Give every key pair that was not revoked, however old it is."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE status <> 'revoked'"
        " ORDER BY created, public"
    )
    return many(StoredKey.from_row, txn)


def retire_current(txn: Transaction) -> None:
    """Make room for new current keys: those until now open what was sealed to them, for a while."""
    txn.execute("UPDATE organization_keys SET status = 'previous', retired = now() WHERE status = 'current'")


def revoke_all(txn: Transaction) -> None:
    """Make room for new current keys: none of those until now is ever used again."""
    txn.execute(
        "UPDATE organization_keys SET status = 'revoked', retired = coalesce(retired, now())"
        " WHERE status <> 'revoked'"
    )


def replace_private(txn: Transaction, public: CryptoString, private: CryptoString) -> None:
    """Store a private key anew, encrypted otherwise than before."""
    txn.execute("UPDATE organization_keys SET private = %s WHERE public = %s", (str(private), str(public)))


@frozen
class KeyState:
    """What the operator may know of a key pair.

    :ivar retired: when it ceased to be current; ``None`` if it is.
    """

    public: CryptoString
    purpose: str
    status: str
    retired: datetime | None

    @classmethod
    def from_row(cls, row: Row) -> "KeyState":
        """Make one from its columns."""
        return cls(CryptoString.from_text(row.public), row.purpose, row.status, row.retired)


def list_states(txn: Transaction) -> list[KeyState]:
    """Give the state of every key pair there ever was, the newest first."""
    txn.execute(
        "SELECT public, purpose, status, retired FROM organization_keys"
        " ORDER BY retired DESC NULLS FIRST, purpose DESC, public"
    )
    return many(KeyState.from_row, txn)
