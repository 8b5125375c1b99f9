"""Changing the key in ``organization.key`` (spec 06, *Files*).

The steps: the next key is written to disk beside the present one; one transaction encrypts all private keys
with it; its file replaces the present one. After an interruption at any point, the key in one of the two
files decrypts the private keys.
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
    """Change the key, or complete a change that was interrupted.

    :returns: whether the key was changed; false if an interrupted change was completed.
    :raises KeyringFault: if the file cannot be used, or does not belong to this database.
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
    """Revoke the organization's keys and change ``organization.key``, even if that file is lost.

    :param expected: the hash of the entry that the caller saw as the current one.
    :raises mensagod.organization.keycard.Overtaken: if another entry is the current one.
    :raises OSError: if the file cannot be written; nothing is changed then.
    """
    path = config.organization_key
    with changing(path):
        # Complete an earlier change first: its next key, which is overwritten below, may be the only one that
        # decrypts the private keys if this is interrupted.
        with suppress(KeyringFault):
            finish(config, connection)
        with transaction(connection) as txn:
            new = SecretKey.generate()
            change = keycard.revoke_anew(txn, new, expected, now)
            write_next(path, new, config.path)
        adopt_next(path)
        return change


def is_unfinished(config: Config, connection: Connection) -> bool:
    """Tell whether a change was interrupted: only the next key decrypts the private keys.

    :raises KeyringFault: if neither key does.
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
    """Complete an interrupted change; tell whether there was one."""
    if not is_unfinished(config, connection):
        return False
    adopt_next(config.organization_key)
    return True
