"""The organization's key pairs in the database, with encrypted private keys (spec 06, *Files*).

A private key is erased as soon as it is no longer needed: a signing key when it is no longer current, an
encryption key when it is revoked, or some time after it was rotated out.
"""

from datetime import datetime

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.storage.rows import Row, Transaction, many


@frozen
class StoredKey:
    """A key pair of the organization whose private key is not erased.

    :ivar private: the private key's text in a secret box.
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
    """Give the current keys, and the not erased ones that were retired within ``days`` days, newest first."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE status = 'current'"
        " OR (private IS NOT NULL AND retired > now() - %s * interval '1 day')"
        " ORDER BY retired DESC NULLS FIRST",
        (days,),
    )
    return many(StoredKey.from_row, txn)


def live_keys(txn: Transaction) -> list[StoredKey]:
    """Give every key pair whose private key is not erased."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE private IS NOT NULL"
        " ORDER BY created, public"
    )
    return many(StoredKey.from_row, txn)


def retire_current(txn: Transaction) -> None:
    """Retire the current keys, before new ones are added.

    The private signing key is erased. The private encryption key is kept until :func:`erase_retired`.
    """
    txn.execute(
        "UPDATE organization_keys SET status = 'previous', retired = now(),"
        " private = CASE purpose WHEN 'signing' THEN NULL ELSE private END WHERE status = 'current'"
    )


def revoke_all(txn: Transaction) -> None:
    """Revoke all keys and erase their private keys, before new ones are added."""
    txn.execute(
        "UPDATE organization_keys SET status = 'revoked', retired = coalesce(retired, now()), private = NULL"
        " WHERE status <> 'revoked'"
    )


def erase_retired(txn: Transaction, days: int) -> None:
    """Erase the private keys that were retired ``days`` days ago or earlier."""
    txn.execute(
        "UPDATE organization_keys SET private = NULL"
        " WHERE private IS NOT NULL AND retired <= now() - %s * interval '1 day'",
        (days,),
    )


def replace_private(txn: Transaction, public: CryptoString, private: CryptoString) -> None:
    """Store another encryption of a private key, unless the key has been erased meanwhile."""
    txn.execute(
        "UPDATE organization_keys SET private = %s WHERE public = %s AND private IS NOT NULL",
        (str(private), str(public)),
    )


@frozen
class KeyState:
    """The public part of a key pair and its state, for the operator.

    :ivar retired: when it was retired; ``None`` if it is current.
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
    """Give the state of all key pairs, including erased ones, the newest first."""
    txn.execute(
        "SELECT public, purpose, status, retired FROM organization_keys"
        " ORDER BY retired DESC NULLS FIRST, purpose DESC, public"
    )
    return many(KeyState.from_row, txn)
