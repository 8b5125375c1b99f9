"""A message that is handed in twice is sent once (spec 04, *Sending*)."""

from typing import Any

from twisted.internet.defer import gatherResults

from mensagod.delivery import placing
from mensagod.errors import ServerUnavailable
from mensagod.status import Status
from mensagod.storage import submissions
from mensagod.storage.attempts import CommitUnknown
from mensagod.wire.messages import Response
from tests.commands.test_sending import ELSEWHERE, SendTestCase
from tests.serving import DOMAIN


class TwiceTests(SendTestCase):
    """The same bytes again."""

    async def names(self, text: str, domain: object, times: int) -> list[str]:
        """Hand a message in again and again; give the file names that are answered."""
        answers = [await self.hand_in(text, domain) for _ in range(times)]
        self.assertEqual({answer.status for answer in answers}, {Status.OK})
        return [answer.data["FileName"] for answer in answers]

    async def test_again(self) -> None:
        """It has the file name of the first time, and stands in the queue once."""
        first, second = await self.names(self.abroad(), ELSEWHERE, 2)
        self.assertEqual(first, second)
        await self.assert_stored(1)

    async def test_written_again(self) -> None:
        """What is written to the store again for nothing does not stay there."""
        self.limit_inline(0)
        await self.names(self.abroad(), ELSEWHERE, 1)
        await self.names(self.letter(), DOMAIN, 1)
        self.assertEqual(await self.value("SELECT count(*) FROM garbage"), 0)
        text = self.abroad()
        await self.names(text, ELSEWHERE, 3)
        self.assertEqual(len(self.on_disk()), 3)
        for table in ("garbage", "writings"):
            self.assertEqual(await self.value(f"SELECT count(*) FROM {table}"), 0)
        await self.assert_stored(2)

    async def test_after_delivery(self) -> None:
        """Also when it was delivered: the recipient has it once."""
        text = self.letter()
        (first,) = await self.names(text, DOMAIN, 1)
        self.assertEqual(await self.names(text, DOMAIN, 2), [first, first])
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 1)
        await self.assert_consistent()

    async def test_another(self) -> None:
        """Other bytes are another message, whoever they are for."""
        names = [(await self.names(self.abroad(), ELSEWHERE, 1))[0] for _ in range(2)]
        self.assertEqual(len(set(names)), 2)

    async def test_after_a_day(self) -> None:
        """After a day it is another message, and one that was noted under a wrong clock is forgotten, too."""
        text = self.abroad()
        names = await self.names(text, ELSEWHERE, 1)
        for moment in ("now() - interval '25 hours'", "now() + interval '10 years'"):
            await self.change(f"UPDATE submissions SET at = {moment}")
            names += await self.names(text, ELSEWHERE, 2)
        self.assertEqual([names.index(name) for name in names], [0, 1, 1, 3, 3])

    async def test_forgotten(self) -> None:
        """What is too old is removed."""
        for text in (self.abroad(), self.abroad()):
            await self.names(text, ELSEWHERE, 1)
        await self.database.run(submissions.forget_old)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 2)
        await self.change("UPDATE submissions SET at = now() - interval '25 hours'")
        await self.database.run(submissions.forget_old)
        self.assertEqual(await self.value("SELECT count(*) FROM submissions"), 0)

    async def test_at_once(self) -> None:
        """Two connections hand it in at the same time: one message, and both hear its name."""
        others = [await self.enter(self.alice) for _ in range(4)]
        text = self.abroad()
        fields = {"Message": text, "Domain": ELSEWHERE}
        answers = await gatherResults([client.request("SEND", fields, Status.OK) for client in others])
        self.assertEqual(len({answer.data["FileName"] for answer in answers}), 1)
        await self.assert_stored(1)

    async def test_costs_nothing(self) -> None:
        """A repetition counts against no limit: the rate of the device, the quota."""
        size = len(text := self.abroad())
        await self.change(
            "UPDATE mailboxes SET quota = %s WHERE workspace = %s", size, self.alice.workspace.uuid
        )
        names = await self.names(text, ELSEWHERE, 3)
        self.assertEqual(len(set(names)), 1)
        refused = await self.hand_in(self.abroad(), ELSEWHERE)
        self.assertEqual(refused.status, Status.QUOTA_INSUFFICIENT)

    async def test_unknown_commit(self) -> None:
        """After a 303 of a message that was accepted the client repeats, and hears its name."""
        text = self.abroad()
        answer = await self.with_lost_answer(text)
        self.assertEqual(answer.status, Status.SERVER_UNAVAILABLE)
        await self.assert_stored(1)
        (name,) = await self.names(text, ELSEWHERE, 1)
        self.assertEqual(name, await self.value("SELECT name FROM queue"))
        await self.assert_stored(1)

    async def test_unknown_commit_of_a_local_message(self) -> None:
        """So it is with a message that was delivered, in the row or in the store: once."""
        for kibibytes in (8, 0):
            self.limit_inline(kibibytes)
            text = self.letter()
            answer = await self.with_lost_answer(text, DOMAIN)
            self.assertEqual(answer.status, Status.SERVER_UNAVAILABLE)
            await self.names(text, DOMAIN, 2)
        self.assertEqual(len(await self.delivered(self.bob.workspace)), 2)
        await self.assert_consistent()

    async def with_lost_answer(self, text: str, domain: object = ELSEWHERE) -> Response:
        """Hand a message in of whose commit the database's answer gets lost."""
        database = self.service.assembly.database
        run = database.run

        async def lossy(interaction: Any, *args: Any, **kwargs: Any) -> Any:
            result = await run(interaction, *args, **kwargs)
            if interaction is placing.accept:
                raise CommitUnknown
            return result

        self.patch(database, "run", lossy)
        answer = await self.hand_in(text, domain)
        self.patch(database, "run", run)
        self.assertTrue(issubclass(CommitUnknown, ServerUnavailable))
        return answer
