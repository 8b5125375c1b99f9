"""Revoking the organization's keys on a running server (spec 04, ORGREVOKE)."""

from twisted.logger import Logger

from mensagod.errors import ServerUnavailable
from mensagod.keycards.entries import OrganizationEntry
from mensagod.operations.parts import Parts
from mensagod.organization import keycard
from mensagod.organization.keyring import KeyringFault

_log = Logger(namespace="mensagod.commands.organization")


async def revoke_organization(parts: Parts) -> OrganizationEntry:
    """Revoke the organization's current entry and keys; give the entry with the new ones.

    :raises ServerUnavailable: if they were changed at the same time, or ``organization.key`` is the wrong
        file.
    """
    current = await parts.database.read(keycard.current_entry)
    try:
        change = await parts.keys.apply(keycard.revoke, current.hash)
    except keycard.Overtaken:
        raise ServerUnavailable("Somebody else has just changed the organization's keycard") from None
    except KeyringFault as fault:
        _log.critical("ORGREVOKE failed: {fault}", fault=str(fault), event="keys_faulty")
        raise ServerUnavailable("The organization.key of this server is not the right one") from None
    return change.entry
