"""What the tests of keycards ask again and again."""

from datetime import UTC, datetime

from mensagod.client import identity
from mensagod.client.connection import ClientConnection
from mensagod.client.lookups import get_card
from mensagod.crypto.cryptostring import CryptoString
from mensagod.keycards import making
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.making import UserKeys
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.verification import verify_card
from mensagod.status import Status
from mensagod.values.identity import WAddress
from mensagod.wire.messages import Response
from tests.commands.cases import CommandTestCase
from tests.serving import Person


class Holder:
    """Somebody who keeps the private keys of a card."""

    def __init__(self, person: Person):
        self.person = person
        self.card: list[UserEntry] = []
        self.keys: list[UserKeys] = []

    def root(self, keys: UserKeys, **more: str) -> UserEntry:
        """Make a first entry as the client sends it."""
        return making.make_user_root(
            keys, self.person.workspace, self.person.domain, datetime.now(UTC), _names(more)
        )

    def rotation(self, keys: UserKeys, **more: str) -> UserEntry:
        """Make the next entry as the client sends it."""
        old = self.keys[-1].contact_signing
        return making.rotate_user(self.card[-1], old, keys, datetime.now(UTC), _names(more))

    def next(self, keys: UserKeys, **more: str) -> UserEntry:
        """Make whatever entry follows."""
        return self.rotation(keys, **more) if self.card else self.root(keys, **more)

    def revocation(self, keys: UserKeys, **more: str) -> UserEntry:
        """Make the entry that revokes the current one, as the client sends it."""
        return making.revoke_user(self.card[-1], keys, datetime.now(UTC), _names(more))

    def took(self, entry: UserEntry, keys: UserKeys) -> None:
        """Note that the server has the entry."""
        self.card.append(entry)
        self.keys.append(keys)

    @property
    def address(self) -> WAddress:
        return self.person.address


def _names(more: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in more.items()}


class IdentityTestCase(CommandTestCase):
    """A server, and people with cards."""

    async def organization_card(self) -> list[OrganizationEntry]:
        return [OrganizationEntry.from_text(text) for text in await get_card(await self.client())]

    async def current_organization(self) -> OrganizationEntry:
        return (await self.organization_card())[-1]

    async def holder(self, user_id: str | None = None) -> tuple[ClientConnection, Holder]:
        """Make an account, and log in."""
        person = await self.settle(user_id)
        return await self.enter(person), Holder(person)

    async def add(self, client: ClientConnection, holder: Holder, **more: str) -> UserEntry:
        """Add the entry that follows."""
        keys = UserKeys()
        base = holder.next(keys, **more)
        entry = await identity.add_entry(client, base, keys, await self.current_organization())
        holder.took(entry, keys)
        return entry

    async def revoke(self, client: ClientConnection, holder: Holder) -> UserEntry:
        """Revoke the current entry."""
        keys = UserKeys()
        entry = await identity.revoke(
            client,
            holder.revocation(keys),
            keys,
            await self.current_organization(),
            password_hash=holder.person.password,
        )
        holder.took(entry, keys)
        return entry

    async def begin(self, client: ClientConnection, base: str, action: str = "ADDENTRY") -> Response:
        """Do the first step, which succeeds."""
        return await self.assert_answer(client, action, {"Base-Entry": base}, Status.CONTINUE)

    def signed(self, base: UserEntry, answer: Response, keys: UserKeys) -> UserEntry:
        """Complete an entry with what the server answered and the user's signature."""
        entry = base
        for line in ("Organization-Signature", "Previous-Hash", "Hash"):
            entry = entry.with_line(line, answer.data[line])
        return making.sign_user(entry, keys)

    async def assert_refused(self, client: ClientConnection, base: str, status: Status) -> Response:
        """The first step must be refused, and leave nothing pending."""
        answer = await self.assert_answer(client, "ADDENTRY", {"Base-Entry": base}, status)
        await self.assert_answer(client, "IDLE", {}, Status.OK)
        return answer

    async def assert_card(self, holder: Holder) -> None:
        """What the server serves is what the holder made, and verifies."""
        texts = await get_card(await self.client(), holder.address)
        self.assertEqual(texts, [entry.text for entry in holder.card])
        history = OrganizationHistory.from_entries(await self.organization_card())
        verify_card(texts, datetime.now(UTC), history).require()


def without(entry: UserEntry, *names: str) -> UserEntry:
    """Give an entry with fewer lines."""
    return UserEntry.from_fields({name: text for name, text in entry.fields.items() if name not in names})


def flipped(signature: CryptoString) -> CryptoString:
    """Give another signature of the same form."""
    last = "1" if signature.data[5] != "1" else "2"
    return CryptoString(signature.prefix, signature.data[:5] + last + signature.data[6:])
