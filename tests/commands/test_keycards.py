"""GETCARD, ORGCARD, USERCARD, TRANSFER (spec 04, *Identity*)."""

from datetime import UTC, datetime

from attrs import evolve

from mensagod.client.lookups import get_card
from mensagod.config import Config
from mensagod.keycards.carddata import compose_card_data
from mensagod.status import Status
from mensagod.storage import keycards
from mensagod.storage.keycards import ORGANIZATION, StoredEntry
from mensagod.values.identity import Domain, WorkspaceID
from mensagod.wire.messages import Response
from tests.commands.cases import CommandTestCase
from tests.serving import ADMIN, DOMAIN

EXTRA = Domain.from_text("example.net")
NOW = datetime.now(UTC)
MISMATCH = "Session state mismatch"


def entry(number: int) -> StoredEntry:
    """Make an entry as the database keeps it; nobody verifies it on its way to a client."""
    return StoredEntry(number, f"Type:User\r\nIndex:{number}\r\nName:Zoë\r\n", f"hash {number}", NOW, NOW)


class GetCardTests(CommandTestCase):
    """Keycards, for whoever asks."""

    async def prepare(self) -> None:
        await super().prepare()
        self.alice = await self.settle("alice")
        for number in range(1, 5):
            await self.database.run(keycards.add_entry, self.alice.workspace, entry(number))

    def card(self, *numbers: int) -> str:
        return compose_card_data([entry(number).text for number in numbers])

    async def fetch(self, fields: dict[str, object], action: str = "GETCARD") -> tuple[Response, Response]:
        client = await self.client()
        offer = await self.assert_answer(client, action, fields, Status.TRANSFER)
        return offer, await self.ask(client, "TRANSFER")

    async def test_fields(self) -> None:
        """Each field is checked in its turn."""
        await self.assert_fields(
            await self.client(),
            "GETCARD",
            {"Owner": "example.com", "Start-Index": "1"},
            {"Start-Index": ("x", "1.0", "-", "+1", "٣", "1" * 33, " 1")},
            {"End-Index": ("x", "-1", "9" * 33)},
        )
        await self.assert_fields(
            await self.client(),
            "GETCARD",
            {"Start-Index": "1"},
            {},
            {"Owner": ("a b/example.com", "alice/", "/example.com", "a/b/c", "exa_mple", "alice/a..b")},
        )

    async def test_ranges(self) -> None:
        """0 and less mean the current entry; the end may lie beyond the last."""
        owner = {"Owner": self.alice.workspace}
        for start, end, numbers in (
            ("1", None, (1, 2, 3, 4)),
            ("0", None, (4,)),
            ("-1", None, (4,)),
            (f"-{'9' * 32}", None, (4,)),
            ("0", "0", (4,)),
            ("0", "3", (4,)),
            ("2", "3", (2, 3)),
            ("3", "3", (3,)),
            ("4", "2147483647", (4,)),
            ("1", "99", (1, 2, 3, 4)),
            ("4", str(2**31), (4,)),
            ("1", "9" * 32, (1, 2, 3, 4)),
        ):
            _, answer = await self.fetch({**owner, "Start-Index": start, "End-Index": end})
            self.assertEqual(answer.data.get("Card-Data"), self.card(*numbers), f"{start} to {end}")
            self.assertEqual(answer.data["Item-Count"], str(len(numbers)))

    async def test_sizes(self) -> None:
        """Both answers tell the count and the size in bytes of what comes."""
        offer, answer = await self.fetch({"Owner": self.alice.workspace, "Start-Index": "1"})
        size = str(len(self.card(1, 2, 3, 4).encode()))
        self.assertEqual(offer.data, {"Item-Count": "4", "Total-Size": size})
        self.assertEqual(answer.status, Status.OK)
        self.assertEqual({name: answer.data[name] for name in offer.data}, dict(offer.data))
        self.assertEqual(str(len(answer.data["Card-Data"].encode())), size)

    async def test_bad_ranges(self) -> None:
        """An end below the start is refused, a start beyond the end finds nothing."""
        client = await self.client()
        owner = {"Owner": self.alice.workspace}
        for start, end, status in (
            ("3", "2", Status.BAD_REQUEST),
            ("1", "0", Status.BAD_REQUEST),
            ("9", "8", Status.BAD_REQUEST),
            ("5", None, Status.NOT_FOUND),
            ("5", "9", Status.NOT_FOUND),
            ("9" * 32, None, Status.NOT_FOUND),
        ):
            fields = {**owner, "Start-Index": start, "End-Index": end}
            await self.assert_answer(client, "GETCARD", fields, status)

    async def test_owners(self) -> None:
        """A card is found by every form of its owner; without one it is the organization's."""
        for owner in (
            "alice/example.com",
            "ALICE/Example.COM",
            f"{self.alice.workspace}/example.com",
            str(self.alice.workspace).upper(),
        ):
            _, answer = await self.fetch({"Owner": owner, "Start-Index": "4"})
            self.assertEqual(answer.data["Card-Data"], self.card(4))
        root = await self.value("SELECT text FROM keycard_entries WHERE owner = %s", ORGANIZATION.uuid)
        for organization in (None, "example.com"):
            _, answer = await self.fetch({"Owner": organization, "Start-Index": "1"})
            self.assertEqual(answer.data["Card-Data"], compose_card_data([root]))
        self.assertEqual(await get_card(await self.client()), [root])

    async def test_unknown_owners(self) -> None:
        """Other domains, unknown names and who has no card are not found."""
        bob = await self.settle("bob")
        client = await self.client()
        for owner in (
            "example.org",
            "alice/example.org",
            f"{self.alice.workspace}/example.org",
            "nobody/example.com",
            "bob/example.com",
            bob.workspace,
            ADMIN,
            ORGANIZATION,
            f"{ORGANIZATION}/example.com",
            WorkspaceID.random(),
        ):
            await self.assert_answer(
                client, "GETCARD", {"Owner": owner, "Start-Index": "1"}, Status.NOT_FOUND
            )
        # A request that found nothing waits for no second step.
        await self.assert_answer(client, "TRANSFER", {}, Status.BAD_REQUEST)

    async def test_snapshot(self) -> None:
        """What was offered is what is sent, whatever happens to the card meanwhile."""
        client = await self.client()
        fields = {"Owner": self.alice.workspace, "Start-Index": "3"}
        await self.assert_answer(client, "GETCARD", fields, Status.TRANSFER)
        await self.database.run(keycards.add_entry, self.alice.workspace, entry(5))
        answer = await self.assert_answer(client, "TRANSFER", {}, Status.OK)
        self.assertEqual(answer.data["Card-Data"], self.card(3, 4))
        await self.assert_answer(client, "TRANSFER", {}, Status.BAD_REQUEST)

    async def test_older_names(self) -> None:
        """The older commands say 104 twice."""
        for action, fields in (
            ("ORGCARD", {"Start-Index": "1"}),
            ("USERCARD", {"Owner": f"alice/{DOMAIN}", "Start-Index": "1"}),
        ):
            offer, answer = await self.fetch(dict(fields), action)
            self.assertEqual((offer.status, answer.status), (Status.TRANSFER, Status.TRANSFER))
            self.assertIn("Card-Data", answer.data)

    async def test_older_owners(self) -> None:
        """ORGCARD has no Owner, USERCARD must have one."""
        client = await self.client()
        for action, fields in (
            ("ORGCARD", {"Start-Index": "1", "Owner": "example.com"}),
            ("ORGCARD", {"Start-Index": "1", "Owner": self.alice.workspace}),
            ("USERCARD", {"Start-Index": "1"}),
        ):
            await self.assert_answer(client, action, fields, Status.BAD_REQUEST)

    async def test_not_there(self) -> None:
        """The card of who is archived, or was never registered, is not found."""
        client = await self.client()
        for status in ("archived", "preregistered"):
            await self.change(
                "UPDATE workspaces SET status = %s, password_hash = NULL WHERE id = %s",
                status,
                self.alice.workspace.uuid,
            )
            for owner in (
                self.alice.workspace,
                f"{self.alice.workspace}/example.com",
                "alice/example.com",
            ):
                fields = {"Owner": owner, "Start-Index": "1"}
                await self.assert_answer(client, "GETCARD", fields, Status.NOT_FOUND)

    async def test_given_up(self) -> None:
        """Another command than TRANSFER gives the offer up and is not run."""
        client = await self.client()
        await self.assert_answer(client, "GETCARD", {"Start-Index": "1"}, Status.TRANSFER)
        await self.assert_answer(client, "GETCARD", {"Start-Index": "1"}, Status.BAD_REQUEST, MISMATCH)
        await self.assert_answer(client, "TRANSFER", {}, Status.BAD_REQUEST)


class DomainsTests(CommandTestCase):
    """A server of two domains."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))

    async def test_other_domain(self) -> None:
        """An address leads to the card of a workspace in its own domain only, whether by ID or by name."""
        client = await self.client()
        people = [await self.settle("alice"), await self.settle("bob", domain=EXTRA)]
        for person in people:
            await self.database.run(keycards.add_entry, person.workspace, entry(1))
        for person in people:
            for domain in (DOMAIN, EXTRA, DOMAIN):
                status = Status.TRANSFER if domain == person.domain else Status.NOT_FOUND
                for user in (person.workspace, person.user_id):
                    fields = {"Owner": f"{user}/{domain}", "Start-Index": "1"}
                    answer = await self.assert_answer(client, "GETCARD", fields, status)
                    if answer.status is Status.TRANSFER:
                        await self.assert_answer(client, "TRANSFER", {}, Status.OK)
        nobody = {"Owner": f"{WorkspaceID.random()}/{DOMAIN}", "Start-Index": "1"}
        await self.assert_answer(client, "GETCARD", nobody, Status.NOT_FOUND)
