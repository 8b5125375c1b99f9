"""The limits of looking up names (spec 04, GETWID, *Failure limits*)."""

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from mensagod.client.connection import ClientConnection
from mensagod.config.listeners import parse_listener
from mensagod.keycards.making import UserKeys
from mensagod.operations.limits import Limits
from mensagod.server.service import MensagoService
from mensagod.status import Status
from mensagod.values.identity import Domain
from mensagod.values.times import parse_timestamp
from mensagod.wire.messages import Response
from tests.commands.identity_cases import IdentityTestCase

MISSES = (
    "SELECT (SELECT count(*) FROM unnest(times) AS time WHERE time > now() - interval '5 minutes')"
    " FROM failures"
)
NOBODY = {"User-ID": "nobody"}
OWNER = {"Owner": "nobody/example.com", "Start-Index": "1"}


class LookupLimitTests(IdentityTestCase):
    """Who collects names is slowed down, then locked out."""

    async def prepare(self) -> None:
        await super().prepare()
        self.clock = Clock()
        self.service.server.limits = Limits(self.clock)

    async def pass_time(self, seconds: int) -> None:
        """Let time pass for what is counted, in the database and in the memory of the process."""
        self.clock.advance(seconds)
        await self.change("UPDATE lookups SET since = since - %s * interval '1 second'", seconds)
        await self.change(
            "UPDATE failures SET times = ARRAY(SELECT time - %s * interval '1 second'"
            " FROM unnest(times) WITH ORDINALITY AS slot (time, number) ORDER BY number)",
            seconds,
        )

    async def lookups(
        self, client: ClientConnection, count: int, user_id: str, status: Status
    ) -> list[Response]:
        """Look up a name many times at once; each answer must have this status."""
        requests = [
            client.request("GETWID", {"User-ID": user_id}, status, Status.TERMINATED) for _ in range(count)
        ]
        answers = [await request for request in requests]
        self.assertEqual({answer.status for answer in answers}, {status})
        return answers

    async def other_client(self, service: MensagoService) -> ClientConnection:
        original, self.service = self.service, service
        try:
            return await self.client()
        finally:
            self.service = original

    async def another_service(self) -> MensagoService:
        config = self.base_config()
        network = evolve(config.network, listen=(parse_listener("tcp:0:interface=127.0.0.1"),))
        return await self.serve(evolve(config, network=network))

    async def test_rate(self) -> None:
        """The 101st name within a minute is 414 on every connection from there; later it goes on."""
        await self.settle("alice")
        client = await self.client()
        await self.lookups(client, 99, "alice", Status.OK)
        await self.assert_answer(
            client, "GETCARD", {"Owner": "alice/example.com", "Start-Index": "1"}, Status.NOT_FOUND
        )
        for name in ("alice", "nobody"):
            await self.assert_answer(client, "GETWID", {"User-ID": name}, Status.LIMIT_REACHED)
        await self.assert_answer(await self.client(), "GETCARD", OWNER, Status.LIMIT_REACHED)
        self.assertEqual(await self.value("SELECT count(*) FROM failures"), 0)
        # Whose card it is, an ID says without a lookup.
        await self.assert_answer(client, "GETCARD", {"Start-Index": "1"}, Status.TRANSFER)
        await self.assert_answer(client, "CANCEL", {}, Status.OK)
        await self.pass_time(61)
        await self.assert_answer(client, "GETWID", {"User-ID": "alice"}, Status.OK)
        self.assertEqual(await self.value("SELECT taken FROM lookups"), 10)

    async def test_former_domain(self) -> None:
        """Who has a name in a domain that is not the server's any more is not found, which is a miss."""
        domain = Domain.from_text("example.net")
        await self.settle("alice", domain=domain)
        fields = {"User-ID": "alice", "Domain": domain}
        await self.assert_answer(await self.client(), "GETWID", fields, Status.NOT_FOUND)
        self.assertEqual(await self.value(MISSES), 1)

    async def test_misses(self) -> None:
        """The 50th miss is 405 and ends the connection; then all is 407, and a try restarts the lockout."""
        await self.settle("alice")
        client = await self.client()
        await self.lookups(client, 25, "nobody", Status.NOT_FOUND)
        await self.lookups(client, 1, "alice", Status.OK)
        await self.lookups(await self.client(), 23, "nobody", Status.NOT_FOUND)
        await self.assert_answer(client, "GETCARD", OWNER, Status.NOT_FOUND)
        answer = await self.assert_answer(client, "GETWID", NOBODY, Status.TERMINATED)
        await client.wait_closed()
        remaining = (await self.value("SELECT extract(epoch FROM locked_until - now()) FROM failures")) / 60
        self.assertTrue(29 < remaining <= 30, remaining)
        until = await self.value("SELECT locked_until FROM failures")
        self.assertEqual(parse_timestamp(answer.data["Lock-Time"]), until.replace(microsecond=0))
        await self.change("UPDATE failures SET locked_until = now() + interval '5 minutes'")
        client = await self.client()
        for action, fields in (("GETWID", {"User-ID": "alice"}), ("GETCARD", OWNER), ("GETWID", NOBODY)):
            answer = await self.assert_answer(client, action, fields, Status.UNAVAILABLE)
            lock_time = parse_timestamp(answer.data["Lock-Time"])
            self.assertLess(abs((lock_time - until).total_seconds()), 30)
        await self.assert_answer(client, "GETCARD", {"Start-Index": "1"}, Status.TRANSFER)

    async def test_wishes(self) -> None:
        """A name that is asked for in ADDENTRY counts as looked up, one that is taken as a miss."""
        await self.settle("bob")
        client, alice = await self.holder("alice")
        keys = UserKeys()
        for name in ("alice", None, "free"):
            base = alice.root(keys, **({} if name is None else {"User_ID": name}))
            await self.begin(client, base.text)
            await self.assert_answer(client, "CANCEL", {}, Status.OK)
        # One share, of which one lookup is used up.
        self.assertEqual(await self.value("SELECT taken FROM lookups"), 10)
        taken, free = (alice.root(keys, User_ID=name).text for name in ("bob", "carol"))
        for _ in range(49):
            await self.assert_answer(client, "ADDENTRY", {"Base-Entry": taken}, Status.RESOURCE_EXISTS)
        await self.assert_answer(client, "ADDENTRY", {"Base-Entry": taken}, Status.TERMINATED)
        client = await self.enter(alice.person)
        for text in (taken, free):
            await self.assert_answer(client, "ADDENTRY", {"Base-Entry": text}, Status.UNAVAILABLE)
        await self.assert_answer(client, "GETWID", {"User-ID": "bob"}, Status.UNAVAILABLE)
        own = alice.root(keys, User_ID="alice").text
        await self.begin(client, own)

    async def test_wishes_a_minute(self) -> None:
        """The 101st name that is asked for within a minute is 414."""
        client, alice = await self.holder("alice")
        await self.lookups(client, 100, "alice", Status.OK)
        base = alice.root(UserKeys(), User_ID="free").text
        await self.assert_answer(client, "ADDENTRY", {"Base-Entry": base}, Status.LIMIT_REACHED)

    async def test_lock_ends(self) -> None:
        """After the lockout all is as before."""
        await self.settle("alice")
        client = await self.client()
        await self.lookups(client, 49, "nobody", Status.NOT_FOUND)
        await self.assert_answer(client, "GETWID", NOBODY, Status.TERMINATED)
        await self.change("UPDATE failures SET locked_until = now() - interval '1 second'")
        await self.pass_time(61)
        client = await self.client()
        await self.lookups(client, 1, "alice", Status.OK)
        await self.lookups(client, 49, "nobody", Status.NOT_FOUND)
        await self.assert_answer(client, "GETWID", NOBODY, Status.TERMINATED)

    async def test_window(self) -> None:
        """Misses of more than five minutes ago do not count."""
        client = await self.client()
        await self.lookups(client, 49, "nobody", Status.NOT_FOUND)
        await self.pass_time(5 * 60)
        await self.lookups(client, 1, "nobody", Status.NOT_FOUND)
        self.assertEqual(await self.value(MISSES), 1)

    async def test_processes(self) -> None:
        """Processes count together, and a new one knows what there was."""
        second = await self.another_service()
        await self.lookups(await self.client(), 25, "nobody", Status.NOT_FOUND)
        other = await self.other_client(second)
        await self.lookups(other, 24, "nobody", Status.NOT_FOUND)
        await self.assert_answer(await self.client(), "GETWID", NOBODY, Status.TERMINATED)
        await self.assert_answer(other, "GETWID", NOBODY, Status.UNAVAILABLE)
        third = await self.another_service()
        await self.assert_answer(await self.other_client(third), "GETWID", NOBODY, Status.UNAVAILABLE)

    async def test_shares(self) -> None:
        """What one process has left of its share is its own; together they never pass the limit."""
        await self.settle("alice")
        second = await self.another_service()
        client, other = await self.client(), await self.other_client(await self.another_service())
        await self.lookups(client, 1, "alice", Status.OK)
        await self.lookups(other, 60, "alice", Status.OK)
        await self.lookups(await self.other_client(second), 30, "alice", Status.OK)
        await self.assert_answer(other, "GETWID", NOBODY, Status.LIMIT_REACHED)
        await self.lookups(client, 9, "alice", Status.OK)
        await self.assert_answer(client, "GETWID", NOBODY, Status.LIMIT_REACHED)

    async def test_many_at_once(self) -> None:
        """Clients that ask at the same time do not take a share each."""
        await self.settle("alice")
        clients = [await self.client() for _ in range(8)]
        asked = [Deferred.fromCoroutine(self.lookups(client, 1, "alice", Status.OK)) for client in clients]
        await gatherResults(asked)
        self.assertEqual(await self.value("SELECT taken FROM lookups"), 10)

    async def test_refused_from_memory(self) -> None:
        """Who has looked up too much is refused without the database until the minute is over."""
        await self.settle("alice")
        client = await self.client()
        await self.lookups(client, 100, "alice", Status.OK)
        await self.assert_answer(client, "GETWID", NOBODY, Status.LIMIT_REACHED)
        await self.change("DELETE FROM lookups")
        await self.lookups(client, 5, "alice", Status.LIMIT_REACHED)
        self.assertEqual(await self.value("SELECT count(*) FROM lookups"), 0)
        self.clock.advance(60)
        await self.lookups(client, 1, "alice", Status.OK)

    async def test_locked_out_from_memory(self) -> None:
        """Who is locked out is refused without the database for a second; then a try restarts the lockout."""
        client = await self.client()
        await self.lookups(client, 49, "nobody", Status.NOT_FOUND)
        await self.assert_answer(client, "GETWID", NOBODY, Status.TERMINATED)
        client = await self.client()
        await self.lookups(client, 1, "nobody", Status.UNAVAILABLE)
        await self.change("UPDATE failures SET locked_until = now() + interval '5 minutes'")
        await self.lookups(client, 20, "nobody", Status.UNAVAILABLE)
        minutes = "SELECT extract(epoch FROM locked_until - now()) / 60 FROM failures"
        self.assertLess(await self.value(minutes), 6)
        self.clock.advance(1)
        await self.lookups(client, 2, "nobody", Status.UNAVAILABLE)
        self.assertGreater(await self.value(minutes), 29)
        await self.change("DELETE FROM failures")
        self.clock.advance(1)
        await self.lookups(client, 1, "nobody", Status.NOT_FOUND)
