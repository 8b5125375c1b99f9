"""The organization's key pairs in the database, with encrypted private keys (spec 06, *Files*).

A private key is erased as soon as it is no longer needed: a signing key when it is no longer current, an
encryption key when it is revoked, or some time after it was rotated out.
"""

from collections.abc import Collection
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


def current_keys(txn: Transaction) -> list[StoredKey]:
    """Give the current keys."""
    txn.execute("SELECT public, purpose, private, status FROM organization_keys WHERE status = 'current'")
    return many(StoredKey.from_row, txn)


def usable_keys(txn: Transaction) -> list[StoredKey]:
    """Give the current keys, then those that were retired and are not erased, the newest first.

    No clock is asked: a key that a wrong one takes for old still opens what was sealed to it.
    """
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE private IS NOT NULL"
        " ORDER BY retired DESC NULLS FIRST"
    )
    return many(StoredKey.from_row, txn)


def live_keys(txn: Transaction) -> list[StoredKey]:
    """Give every key pair whose private key is not erased."""
    txn.execute(
        "SELECT public, purpose, private, status FROM organization_keys WHERE private IS NOT NULL"
        " ORDER BY created, public"
    )
    return many(StoredKey.from_row, txn)


def retire_current(txn: Transaction, now: datetime) -> None:
    """Retire the current keys, before new ones are added.

    The private signing key is erased. The private encryption key is kept until :func:`erase`.

    :param now: the time of this machine. It counts if the database's clock is behind: a key that is retired
        in the past would be kept for too short a time.
    """
    txn.execute(
        "UPDATE organization_keys SET status = 'previous', retired = greatest(now(), %s),"
        " private = CASE purpose WHEN 'signing' THEN NULL ELSE private END WHERE status = 'current'",
        (now,),
    )


def revoke_all(txn: Transaction) -> None:
    """Revoke all keys and erase their private keys, before new ones are added."""
    txn.execute(
        "UPDATE organization_keys SET status = 'revoked', retired = coalesce(retired, now()), private = NULL"
        " WHERE status <> 'revoked'"
    )


@frozen
class Retired:
    """A key pair that was rotated out, whose private key is not erased.

    :ivar is_misdated: whether it was retired at a time that cannot be: ahead of now, or before it was made.
        Otherwise the time for which it is kept is over.
    """

    public: CryptoString
    is_misdated: bool


@frozen
class Finding:
    """What is to be done about retired keys.

    :ivar now: the time by the database's clock, at which that was found out.
    """

    now: datetime
    keys: tuple[Retired, ...]


_CLOCK = " FROM (SELECT now() AS time) AS clock"
_MISDATED = "(retired > clock.time + interval '1 hour' OR retired < created - interval '1 hour')"
_OVER = "retired <= clock.time - %(days)s * interval '1 day'"
_COLUMNS = "SELECT clock.time, public, " + _MISDATED + " AS is_misdated"
_KEPT = " LEFT JOIN organization_keys ON status = 'previous' AND private IS NOT NULL"
_NOTABLE = " AND (" + _MISDATED + " OR " + _OVER + ") ORDER BY public"
_FIND = _COLUMNS + _CLOCK + _KEPT + _NOTABLE
_NAMED = " WHERE public = ANY(%(keys)s) AND status = 'previous' AND "
_SET_NULL = "UPDATE organization_keys SET private = NULL"
_ERASE = _SET_NULL + _CLOCK + _NAMED + "NOT " + _MISDATED + " AND " + _OVER
_SET_TIMES = "UPDATE organization_keys SET retired = clock.time, created = least(created, clock.time)"
_RETIRE_ANEW = _SET_TIMES + _CLOCK + _NAMED + _MISDATED


def find_over(txn: Transaction, days: int) -> Finding:
    """Find the retired keys to erase, and those with a wrong date; one statement, which only reads.

    :param days: for how many days a key is kept.
    """
    txn.execute(_FIND, {"days": days})
    rows: list[Row] = many(lambda row: row, txn)
    found = (Retired(CryptoString.from_text(row.public), row.is_misdated) for row in rows if row.public)
    return Finding(rows[0].time, tuple(found))


def erase(txn: Transaction, keys: Collection[CryptoString], days: int) -> None:
    """Erase the private keys of those that were retired ``days`` days ago or earlier."""
    txn.execute(_ERASE, {"keys": [str(key) for key in keys], "days": days})


def retire_anew(txn: Transaction, keys: Collection[CryptoString]) -> None:
    """Let those count as retired just now whose dates cannot be right."""
    txn.execute(_RETIRE_ANEW, {"keys": [str(key) for key in keys]})


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
