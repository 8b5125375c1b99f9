"""A new ``organization.key``: the private keys encrypted anew, and the file replaced (spec 06, *Files*).

In this order: the next key goes to disk beside the present one; one transaction encrypts all private keys
with it; it takes the place of the present one. Wherever that stops, one of the two files opens the database.
"""

from contextlib import suppress
from datetime import datetime

from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import SecretKey
from mensagod.organization import keycard
from mensagod.organization.key_file import adopt_next, changing, read_candidates, write_next
from mensagod.organization.key_file import read_organization_key as read_key
from mensagod.organization.keycard import Replacement
from mensagod.organization.keyring import KeyringFault, choose_master
from mensagod.storage import keycards, keys
from mensagod.storage.connections import Connection
from mensagod.storage.transactions import transaction


def rekey(config: Config, connection: Connection) -> bool:
    """Replace the key; tell whether that was done, or else an interrupted change was brought to its end.

    :raises KeyringFault: if the file cannot be used, or is another database's.
    :raises OSError: if the file cannot be written; nothing is changed then.
    """
    path = config.organization_key
    with changing(path):
        if finish(config, connection):
            return False
        with transaction(connection) as txn:
            keycards.lock_organization(txn)
            old, new = read_key(path), SecretKey.generate()
            choose_master(keys.live_keys(txn), [old])
            write_next(path, new)
            keycard.reencrypt(txn, old, new)
        adopt_next(path)
        return True


def revoke_with_new_key(
    config: Config, connection: Connection, expected: CryptoString, now: datetime
) -> Replacement:
    """Revoke the organization's keys, and replace ``organization.key`` also where it is lost.

    :param expected: as for :func:`mensagod.organization.keycard.revoke`, whose :class:`Overtaken` is raised.
    :raises OSError: if the file cannot be written; nothing is changed then.
    """
    path = config.organization_key
    with changing(path):
        # If this is interrupted, what an earlier change left may be all that opens the database.
        with suppress(KeyringFault):
            finish(config, connection)
        with transaction(connection) as txn:
            new = SecretKey.generate()
            change = keycard.revoke_anew(txn, new, expected, now)
            write_next(path, new, config.path)
        adopt_next(path)
        return change


def is_unfinished(config: Config, connection: Connection) -> bool:
    """Tell whether only the key that waits beside the present one opens the database.

    :raises KeyringFault: if neither does.
    """
    path = config.organization_key
    with transaction(connection) as txn:
        stored = keys.live_keys(txn)
    master = choose_master(stored, read_candidates(path))
    try:
        return read_key(path) != master
    except KeyringFault:
        return True


def finish(config: Config, connection: Connection) -> bool:
    """Bring an interrupted change to its end; tell whether there was one."""
    if not is_unfinished(config, connection):
        return False
    adopt_next(config.organization_key)
    return True
