"""Checking that a parsed entry is complete and its values are in range (spec 03, *Keycards*, 412)."""

from datetime import UTC, datetime, timedelta
from typing import Final

from mensagod.crypto.sealing import EncryptionKey
from mensagod.errors import BadValue
from mensagod.keycards.entries import Entry, UserEntry
from mensagod.keycards.errors import BadKeycardData, NoncompliantKeycard
from mensagod.keycards.signatures import check_hash, check_own_signature
from mensagod.values.times import MAX_INTEGER

MAX_TIME_TO_LIVE: Final = 30
"""Days (spec 03)."""
MAX_LIFETIME: Final = 1095
"""Days from the Timestamp to Expires (spec 03)."""
CLOCK_SLACK: Final = timedelta(days=1)
"""How far an entry's Timestamp may differ from the present (spec 03, *Chain rules*; 04, ADDENTRY)."""

_USER_KEYS: Final = 4


def check_body(entry: Entry) -> None:
    """Check that the body is complete and in range.

    :raises NoncompliantKeycard: if a required field is missing, Index is 0 or over 2^31-1,
        Time-To-Live is not 1 to 30, or Expires is before the Timestamp's day or more
        than 1095 days after it.
    """
    for rule in entry.schema.body:
        if rule.required and rule.name not in entry.fields:
            raise NoncompliantKeycard(f"Missing required field {rule.name}")
    if not 1 <= entry.index <= MAX_INTEGER:
        raise NoncompliantKeycard(f"Index is 1 to {MAX_INTEGER}")
    if not 1 <= entry.time_to_live <= MAX_TIME_TO_LIVE:
        raise NoncompliantKeycard(f"Time-To-Live is 1 to {MAX_TIME_TO_LIVE} days")
    if not 0 <= (entry.expires - entry.timestamp.date()).days <= MAX_LIFETIME:
        raise NoncompliantKeycard(f"Expires is at most {MAX_LIFETIME} days after the Timestamp, never before")


def required_authentication(entry: Entry) -> list[str]:
    """Give the names of the authentication lines that an entry must have to be complete (spec 03).

    The entry must have an Index.
    """
    absent: set[str] = set()
    if entry.index == 1 or entry.revokes is not None:
        absent.add("Custody-Signature")
    if entry.index == 1 and entry.schema.own_signature == "Organization-Signature":
        absent.add("Previous-Hash")
    return [name for name in entry.schema.authentication_names if name not in absent]


def check_complete(entry: Entry) -> None:
    """Check that an entry is complete; hash and signatures are not verified.

    :raises NoncompliantKeycard: as :func:`check_body`, and if an authentication line
        is missing, or Previous-Hash is not the Revoke value.
    """
    check_body(entry)
    for name in required_authentication(entry):
        if name not in entry.fields:
            raise NoncompliantKeycard(f"Missing required field {name}")
    if entry.revokes is not None and entry.revokes != entry.previous_hash:
        raise NoncompliantKeycard("The Previous-Hash of a revocation is its Revoke value")


def check_sealed(entry: Entry) -> None:
    """Check an entry without its chain: it is complete, its hash is right, its own signature verifies.

    :raises NoncompliantKeycard: if it is not complete, or the hash is wrong.
    :raises InvalidSignature: if its own signature does not verify.
    """
    check_complete(entry)
    check_hash(entry)
    check_own_signature(entry)


def check_base(entry: UserEntry, *, revocation: bool = False) -> None:
    """Check the form of a ``Base-Entry`` of ADDENTRY, or of REVOKE (spec 04, *Identity*).

    Its owner, its time and its predecessor are checked elsewhere.

    :param revocation: whether it must revoke; otherwise it must not.
    :raises BadKeycardData: if it has a line that the server or a later step adds, revokes although it must
        not, or has an encryption key of low order.
    :raises NoncompliantKeycard: if it is incomplete or out of range.
    """
    if "Revoke" in entry.fields and not revocation:
        raise BadKeycardData("An entry that revokes is not added this way")
    for name in entry.schema.authentication_names:
        if name in entry.fields and name != "Custody-Signature":
            raise BadKeycardData(f"A base entry has no {name}")
    check_body(entry)
    if revocation and entry.revokes is None:
        raise NoncompliantKeycard("Missing required field Revoke")
    if "Custody-Signature" in required_authentication(entry) and "Custody-Signature" not in entry.fields:
        raise NoncompliantKeycard("Missing required field Custody-Signature")
    if revocation and len(entry.keys) < _USER_KEYS:
        raise NoncompliantKeycard("The keys of a revocation differ from each other")
    check_encryption_keys(entry)


def check_time(entry: Entry, now: datetime) -> None:
    """Check the time of a new entry.

    :raises NoncompliantKeycard: if it has expired, or its Timestamp is more than a day from ``now``.
    """
    if abs(entry.timestamp - now) > CLOCK_SLACK:
        raise NoncompliantKeycard("Timestamp is more than a day from the present")
    if entry.is_expired(now.astimezone(UTC).date()):
        raise NoncompliantKeycard("The entry has expired")


def check_encryption_keys(entry: UserEntry) -> None:
    """Check that the encryption keys are not points of low order, to which nothing can be sealed.

    :raises BadKeycardData: if one is; the text names the field.
    """
    for name, key in (
        ("Encryption-Key", entry.encryption_key),
        ("Contact-Request-Encryption-Key", entry.contact_encryption_key),
    ):
        try:
            EncryptionKey.from_cryptostring(key)
        except BadValue as bad:
            raise BadKeycardData(f"Bad value for field {name}: {bad}") from None
