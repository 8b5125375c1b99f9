"""GETWID (spec 04, *Identity*)."""

from attrs import evolve

from mensagod.client.lookups import get_workspace_id
from mensagod.config import Config
from mensagod.status import Status
from mensagod.values.identity import Domain, UserID
from tests.commands.cases import CommandTestCase

EXTRA = Domain.from_text("example.net")


class GetWIDTests(CommandTestCase):
    """Names lead to workspaces, for whoever asks."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,)))

    async def test_fields(self) -> None:
        """Name and domain are checked in their turn."""
        await self.assert_fields(
            await self.client(),
            "GETWID",
            {"User-ID": "alice"},
            {"User-ID": ("a b", "a/b", "x" * 200)},
            {"Domain": ("a..b",)},
        )

    async def test_found(self) -> None:
        """A name is found in its own domain, in any case, without a login; the ID's text is a name too."""
        alice = await self.settle("alice")
        elsewhere = await self.settle("alice", domain=EXTRA)
        client = await self.client()
        for user_id, domain, person in (
            ("alice", None, alice),
            ("ALICE", None, alice),
            ("alice", EXTRA, elsewhere),
            (str(elsewhere.workspace), EXTRA, elsewhere),
        ):
            found = await get_workspace_id(client, UserID.from_text(user_id), domain)
            self.assertEqual(found, person.workspace)

    async def test_alias(self) -> None:
        """An alias leads to its target, once that is registered."""
        client = await self.client()
        await self.assert_answer(client, "GETWID", {"User-ID": "abuse"}, Status.NOT_FOUND)
        _, admin = await self.admin()
        self.assertEqual(await get_workspace_id(client, UserID.from_text("abuse")), admin.workspace)

    async def test_not_found(self) -> None:
        """Unknown, former and archived names lead nowhere, nor do other domains, and all look alike."""
        once = await self.settle("once")
        await self.change("UPDATE names SET kind = 'former' WHERE user_id = 'once'")
        archie = await self.settle("archie")
        await self.change(
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
            archie.workspace.uuid,
        )
        client = await self.client()
        answers = [
            await self.ask(client, "GETWID", fields)
            for fields in (
                {"User-ID": "nobody"},
                {"User-ID": "once"},
                {"User-ID": "archie"},
                {"User-ID": str(archie.workspace)},
                {"User-ID": str(once.workspace), "Domain": EXTRA},
                {"User-ID": "admin"},
                {"User-ID": "alice", "Domain": "example.org"},
            )
        ]
        self.assertEqual({answer.status for answer in answers}, {Status.NOT_FOUND})
        self.assertEqual(len({answer.to_bytes() for answer in answers}), 1)
