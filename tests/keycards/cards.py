"""Vectors, fixed keys and ready-made cards for the tests of keycards."""

import json
from base64 import b85encode
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.crypto.signing import SigningPair
from mensagod.keycards import making
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.making import OrganizationKeys, UserKeys
from mensagod.values.identity import Domain, WAddress, WorkspaceID

VECTORS = Path(__file__).parent.parent / "vectors"
START = datetime(2024, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOMAIN = Domain.from_text("example.com")
ADMIN = WAddress.from_text("ae406c5e-2673-4d3e-af20-91325d9623ca/example.com")
WORKSPACE = WorkspaceID.from_text("4418bf6c-000b-4bb3-8111-316e72030468")


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def seed(name: str) -> bytes:
    return sha256(name.encode()).digest()


def signing_pair(name: str) -> SigningPair:
    return SigningPair.from_private(CryptoString("ED25519", b85encode(seed(name)).decode()))


def organization_keys(number: int) -> OrganizationKeys:
    return OrganizationKeys(signing_pair(f"organization {number}"), EncryptionPair.generate())


def user_keys(number: int) -> UserKeys:
    return UserKeys(
        signing_pair(f"contact {number}"),
        EncryptionPair.generate(),
        EncryptionPair.generate(),
        signing_pair(f"user {number}"),
    )


class Organization:
    """An organization with its card and the private keys of each entry."""

    def __init__(self, now: datetime = START):
        self.keys = [organization_keys(1)]
        self.card = [making.make_organization_root(self.keys[0], "Example, Inc.", DOMAIN, ADMIN, now=now)]

    @property
    def current(self) -> OrganizationEntry:
        return self.card[-1]

    def rotate(self, now: datetime) -> None:
        fresh = organization_keys(len(self.card) + 1)
        self.card.append(making.rotate_organization(self.current, self.keys[-1].primary, fresh, now))
        self.keys.append(fresh)

    def revoke(self, now: datetime) -> None:
        fresh = organization_keys(len(self.card) + 1)
        self.card.append(making.revoke_organization(self.current, fresh, now))
        self.keys.append(fresh)


class User:
    """A user of an organization, with card and private keys."""

    def __init__(self, organization: Organization, now: datetime = START):
        self.organization = organization
        self.keys: list[UserKeys] = []
        self.card: list[UserEntry] = []
        fresh = user_keys(1)
        self.add(making.make_user_root(fresh, WORKSPACE, DOMAIN, now, {"User-ID": "csimons"}), fresh)

    @property
    def current(self) -> UserEntry:
        return self.card[-1]

    def add(self, base: UserEntry, keys: UserKeys) -> None:
        previous = self.card[-1] if self.card else None
        organization = self.organization
        entry = making.countersign(base, organization.keys[-1].primary, organization.current, previous)
        self.card.append(making.sign_user(entry, keys))
        self.keys.append(keys)

    def rotate(self, now: datetime) -> None:
        fresh = user_keys(len(self.card) + 1)
        self.add(making.rotate_user(self.current, self.keys[-1].contact_signing, fresh, now), fresh)

    def revoke(self, now: datetime) -> None:
        fresh = user_keys(len(self.card) + 1)
        self.add(making.revoke_user(self.current, fresh, now), fresh)
