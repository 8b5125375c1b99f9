"""The organization's keys as they are stored: the private ones only encrypted (spec 06, *Files*).

A private key is erased as soon as nothing is to be done with it any more: a signing key when it ceases to be
current, an encryption key when it is revoked, or some time after it was rotated out.
"""

from datetime import datetime

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.storage.rows import Row, Transaction, many


@frozen
class StoredKey:
    """A key pair of the organization, whose private key is not erased.

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
    """Give the current keys, and those that open still and were current ``days`` ago, newest first."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE status = 'current'"
        " OR (private IS NOT NULL AND retired > now() - %s * interval '1 day')"
        " ORDER BY retired DESC NULLS FIRST",
        (days,),
    )
    return many(StoredKey.from_row, txn)


def live_keys(txn: Transaction) -> list[StoredKey]:
    """Give every key pair whose private key is not erased, however old it is."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE private IS NOT NULL"
        " ORDER BY created, public"
    )
    return many(StoredKey.from_row, txn)


def retire_current(txn: Transaction) -> None:
    """Make room for new current keys: those until now open what was sealed to them, for a while.

    The private signing key is erased.
    """
    txn.execute(
        "UPDATE organization_keys SET status = 'previous', retired = now(),"
        " private = CASE purpose WHEN 'signing' THEN NULL ELSE private END WHERE status = 'current'"
    )


def revoke_all(txn: Transaction) -> None:
    """Make room for new current keys: those until now are never used again, and erased."""
    txn.execute(
        "UPDATE organization_keys SET status = 'revoked', retired = coalesce(retired, now()), private = NULL"
        " WHERE status <> 'revoked'"
    )


def erase_retired(txn: Transaction, days: int) -> None:
    """Erase the private keys that :func:`usable_keys` gives no more."""
    txn.execute(
        "UPDATE organization_keys SET private = NULL"
        " WHERE private IS NOT NULL AND retired <= now() - %s * interval '1 day'",
        (days,),
    )


def replace_private(txn: Transaction, public: CryptoString, private: CryptoString) -> None:
    """Store a private key anew, encrypted otherwise than before; one that was erased meanwhile stays so."""
    txn.execute(
        "UPDATE organization_keys SET private = %s WHERE public = %s AND private IS NOT NULL",
        (str(private), str(public)),
    )


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
