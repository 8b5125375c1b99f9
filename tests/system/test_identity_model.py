"""Random histories of cards, on two servers with one database, against a model in memory."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from mensagod.client.connection import ClientConnection, connect
from mensagod.client.lookups import get_card
from mensagod.config.listeners import parse_listener
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.making import UserKeys
from mensagod.keycards.organizations import OrganizationHistory
from mensagod.keycards.verification import verify_card
from mensagod.organization import keycard
from mensagod.organization.key_file import read_candidates
from mensagod.server.service import MensagoService
from mensagod.status import Status
from mensagod.storage import workspaces
from mensagod.values.identity import UserID
from tests.commands.identity_cases import Holder, IdentityTestCase, flipped
from tests.serving import Person

STEPS = 100
SEED = 20240301
ROTATIONS = 12
"""Far more within a day than verifiers bear with are no organization's."""
NAMES = ("alice", "bob", "carol", "dave", "erin")


@define
class Model:
    """What must be true of names.

    :ivar owners: who may have a name, for good.
    :ivar current: the name of each.
    """

    owners: dict[str, int] = field(factory=dict)
    current: dict[int, str] = field(factory=dict)

    def may_take(self, who: int, name: str) -> bool:
        return self.owners.get(name, who) == who

    def take(self, who: int, name: str) -> None:
        self.owners[name] = who
        self.current[who] = name


class IdentityModelTests(IdentityTestCase):
    """Whatever is tried in whatever order: the cards are what the model says, and verify."""

    async def prepare(self) -> None:
        await super().prepare()
        self.random = random.Random(SEED)
        network = evolve(self.base_config().network, listen=(parse_listener("tcp:0:interface=127.0.0.1"),))
        second = await self.serve(evolve(self.base_config(), network=network))
        self.services: tuple[MensagoService, ...] = (self.service, second)
        self.model = Model()
        self.rotations = 0
        self.holders: list[Holder] = []
        self.sessions: list[list[ClientConnection]] = []
        for _ in range(3):
            person = await self.settle()
            self.holders.append(Holder(person))
            self.sessions.append([await self.enter_at(service, person) for service in self.services])

    async def enter_at(self, service: MensagoService, person: Person) -> ClientConnection:
        port = service.listeners.addresses[0].rpartition(":")[2]
        client = await connect(clientFromString(reactor, f"tcp:127.0.0.1:{port}"))
        self.addCleanup(client.abort)
        await self.log_in(client, person)
        return client

    async def test_histories(self) -> None:
        """Adding, rotating, revoking, errors and races."""
        steps: tuple[Callable[[int], Awaitable[None]], ...] = (
            self.add_one,
            self.add_one,
            self.race,
            self.revoke_one,
            self.send_wrong,
            self.give_up,
            self.rotate_organization,
        )
        for _ in range(STEPS):
            await self.random.choice(steps)(self.random.randrange(len(self.holders)))
            # The limits are not what is tried here.
            await self.change("UPDATE keycard_entries SET created = created - interval '1 hour'")
            await self.change("TRUNCATE lookups, failures")
        for who in range(len(self.holders)):
            await self.compare(who)
            await self.compare_served(who)

    def draft(self, who: int, revoke: bool = False) -> tuple[UserEntry, UserKeys, str | None]:
        """Make what follows; sometimes it asks for a name."""
        keys, holder = UserKeys(), self.holders[who]
        name = self.random.choice(NAMES) if self.random.random() < 0.3 else None
        more = {"User_ID": name} if name else {}
        if name is None and holder.card and holder.card[-1].user_id is not None:
            name = str(holder.card[-1].user_id)
        make = holder.revocation if revoke else holder.next
        return make(keys, **more), keys, name

    async def begin_at(
        self, who: int, client: ClientConnection, draft: tuple[UserEntry, UserKeys, str | None], action: str
    ) -> UserEntry | None:
        """Do the first step; it fails exactly if the name is another's."""
        base, keys, name = draft
        fields: dict[str, object] = {"Base-Entry": base.text}
        if action == "REVOKE":
            fields["Password-Hash"] = self.holders[who].person.password
        answer = await self.ask(client, action, fields)
        free = name is None or self.model.may_take(who, name)
        self.assertEqual(answer.status, Status.CONTINUE if free else Status.RESOURCE_EXISTS, answer)
        return self.signed(base, answer, keys) if free else None

    def took(self, who: int, entry: UserEntry, keys: UserKeys, name: str | None) -> None:
        self.holders[who].took(entry, keys)
        if name is not None:
            self.model.take(who, name)

    async def add_one(self, who: int) -> None:
        """Add whatever follows, on either server."""
        await self.extend(who, "ADDENTRY")

    async def revoke_one(self, who: int) -> None:
        """Revoke, if there is anything."""
        if self.holders[who].card:
            await self.extend(who, "REVOKE")

    async def extend(self, who: int, action: str) -> None:
        client = self.random.choice(self.sessions[who])
        draft = self.draft(who, revoke=action == "REVOKE")
        entry = await self.begin_at(who, client, draft, action)
        if entry is not None:
            signature = {"User-Signature": entry.fields["User-Signature"]}
            await self.assert_answer(client, action, signature, Status.OK)
            self.took(who, entry, draft[1], draft[2])
            await self.compare(who)

    async def race(self, who: int) -> None:
        """Both servers get the same Index at once: one wins, the other hears 412."""
        prepared = []
        for client in self.sessions[who]:
            draft = self.draft(who)
            entry = await self.begin_at(who, client, draft, "ADDENTRY")
            if entry is not None:
                prepared.append((client, entry, draft))
        refusals = (Status.NONCOMPLIANT_KEYCARD_DATA,)
        answers = await gatherResults(
            [
                client.request(
                    "ADDENTRY", {"User-Signature": entry.fields["User-Signature"]}, Status.OK, *refusals
                )
                for client, entry, _ in prepared
            ]
        )
        won = [index for index, answer in enumerate(answers) if answer.status is Status.OK]
        self.assertEqual(len(won), min(1, len(prepared)))
        for index in won:
            _, entry, (_, keys, name) = prepared[index]
            self.took(who, entry, keys, name)

    async def send_wrong(self, who: int) -> None:
        """A wrong request changes nothing."""
        client = self.random.choice(self.sessions[who])
        base, keys, name = self.draft(who)
        wrong = {
            "Index": (str(base.index + 1 + self.random.randrange(3)), Status.NONCOMPLIANT_KEYCARD_DATA),
            "Domain": ("example.org", Status.BAD_KEYCARD_DATA),
            "Expires": ("2020-01-01", Status.NONCOMPLIANT_KEYCARD_DATA),
        }
        line, (value, status) = self.random.choice(list(wrong.items()))
        if line == "Index" and base.index == 1:
            return
        await self.assert_answer(client, "ADDENTRY", {"Base-Entry": base.with_line(line, value).text}, status)
        entry = await self.begin_at(who, client, (base, keys, name), "ADDENTRY")
        if entry is not None:
            signature = {"User-Signature": flipped(entry.authentication("User-Signature"))}
            await self.assert_answer(client, "ADDENTRY", signature, Status.INVALID_SIGNATURE)

    async def give_up(self, who: int) -> None:
        """An addition that is given up changes nothing."""
        client = self.random.choice(self.sessions[who])
        if await self.begin_at(who, client, self.draft(who), "ADDENTRY") is not None:
            await self.assert_answer(client, "CANCEL", {}, Status.OK)

    async def rotate_organization(self, who: int) -> None:
        """Another process gives the organization new keys; nobody is told."""
        if self.rotations == ROTATIONS:
            return
        self.rotations += 1
        masters = read_candidates(self.directory / "organization.key")
        current = await self.database.read(keycard.current_entry)
        await self.database.run(keycard.rotate, masters, current.hash, datetime.now(UTC))

    async def compare(self, who: int) -> None:
        """Card and name are what the model says, and the card verifies."""
        holder = self.holders[who]
        name = await self.database.read(workspaces.current_name, holder.person.workspace)
        self.assertEqual(name, UserID(self.model.current[who]) if who in self.model.current else None)
        if not holder.card:
            return
        texts = await self.value(
            "SELECT array_agg(text ORDER BY number) FROM keycard_entries WHERE owner = %s",
            holder.person.workspace.uuid,
        )
        self.assertEqual(texts, [entry.text for entry in holder.card])
        history = OrganizationHistory.from_entries(
            OrganizationEntry.from_text(text)
            for text in await self.value(
                "SELECT array_agg(text ORDER BY number) FROM keycard_entries WHERE workspace IS NULL"
            )
        )
        verify_card(texts, datetime.now(UTC), history).require()

    async def compare_served(self, who: int) -> None:
        """Both servers come to serve the card as it is."""
        holder, clock = self.holders[who], IReactorTime(reactor)
        for client in self.sessions[who]:
            while holder.card:
                served = await get_card(client, holder.address)
                if served == [entry.text for entry in holder.card]:
                    break
                await deferLater(clock, 0.05)
