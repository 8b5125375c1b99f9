"""Making and changing keycards (spec 04, *Identity*).

The user's private keys stay in the client. The server gets only the public keys and signatures of an entry.
"""

from attrs import frozen

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.client.errors import UnexpectedAnswer
from mensagod.crypto.cryptostring import CryptoString
from mensagod.keycards.compliance import check_sealed
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.errors import KeycardFault
from mensagod.keycards.making import UserKeys, sign_user
from mensagod.keycards.signatures import add_hash, check_signature
from mensagod.requests.identity import AddEntryFields, IsCurrentFields, RevokeFields, SignEntryFields
from mensagod.requests.passwords import PasswordFields
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.values.times import parse_integer
from mensagod.wire.fields import Fields
from mensagod.wire.messages import Response


@frozen
class NewOrganizationKeys:
    """The new keys of the organization after ``organization_revoke``, to publish in DNS.

    :ivar index: the index of the organization's new entry.
    """

    index: int
    primary_key: CryptoString
    encryption_key: CryptoString


async def add_entry(
    connection: ClientConnection, base: UserEntry, keys: UserKeys, organization: OrganizationEntry
) -> UserEntry:
    """Add an entry to the user's card; give the complete entry.

    :param base: see :func:`mensagod.keycards.making.make_user_root` and ``rotate_user``.
    :param keys: the private keys of ``base``.
    :param organization: the organization's current entry, verified; its key must have signed.
    :raises RequestRefused: if the server refuses it; with 412 if another device has added an entry meanwhile.
    :raises UnexpectedAnswer: if the organization's signature or the hash is wrong; nothing was added then.
    """
    return await _add(
        "ADDENTRY", connection, AddEntryFields(base_entry=base.text), base, (keys, organization)
    )


async def revoke(
    connection: ClientConnection,
    base: UserEntry,
    keys: UserKeys,
    organization: OrganizationEntry,
    *,
    password_hash: str,
) -> UserEntry:
    """Revoke the current entry of the user's card; give the entry that replaces it.

    :param base: see :func:`mensagod.keycards.making.revoke_user`.
    :raises RequestRefused: as :func:`add_entry`, and with 401 for a wrong password.
    """
    fields = RevokeFields(base_entry=base.text, password_hash=password_hash)
    return await _add("REVOKE", connection, fields, base, (keys, organization))


async def is_current(connection: ClientConnection, index: int, workspace: WorkspaceID | None = None) -> bool:
    """Tell whether an entry is the newest of its card.

    :param workspace: the organization's card is meant unless it is given.
    :raises RequestRefused: with 404 if there is no card.
    """
    fields = IsCurrentFields(index=index, workspace=workspace)
    response = await connection.request("ISCURRENT", fields, Status.OK)
    return required(response, "Is-Current", str).upper() == "YES"


async def organization_revoke(connection: ClientConnection, password_hash: str) -> NewOrganizationKeys:
    """Revoke the organization's keys; only the administrator may, if ``security.remote_orgrevoke`` is set."""
    response = await connection.request("ORGREVOKE", PasswordFields(password_hash=password_hash), Status.OK)
    return NewOrganizationKeys(
        required(response, "Index", parse_integer),
        required(response, "pvk", CryptoString.from_text),
        required(response, "ek", CryptoString.from_text),
    )


async def _add(
    action: str,
    connection: ClientConnection,
    fields: Fields,
    base: UserEntry,
    signers: tuple[UserKeys, OrganizationEntry],
) -> UserEntry:
    keys, organization = signers
    async with connection.turn() as turn:
        response = await turn.request(action, fields, Status.CONTINUE)
        entry = _complete(base, response, keys, organization)
        await turn.request(action, _signed(entry), Status.OK)
    return entry


def _complete(
    base: UserEntry, response: Response, keys: UserKeys, organization: OrganizationEntry
) -> UserEntry:
    """Add the server's lines and the user's signature to an entry, after verifying the server's lines."""
    entry = base
    try:
        for line in ("Organization-Signature", "Previous-Hash"):
            entry = entry.with_line(line, required(response, line, CryptoString.from_text))
        check_signature(entry, "Organization-Signature", organization.primary_key)
        entry = sign_user(add_hash(entry), keys)
        check_sealed(entry)
    except KeycardFault as fault:
        raise UnexpectedAnswer(f"What the server added to the entry is wrong: {fault}") from fault
    return entry


def _signed(entry: UserEntry) -> SignEntryFields:
    return SignEntryFields(
        signature=entry.authentication("User-Signature"), hash=entry.hash, previous_hash=entry.previous_hash
    )
