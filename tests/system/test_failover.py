"""A database that fails over to its standby (spec 06, *Database*)."""

from random import Random
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from mensagod.status import Status
from mensagod.storage.availability import Writes
from tests.delivery.mail import MailTestCase
from tests.system.connections import in_thread
from tests.system.correspondence import Correspondence
from tests.system.replicas import ReplicatedCluster
from tests.waiting import until

PEOPLE = 5
OUTAGE_SECONDS = 0.5
PATIENCE_SECONDS = 30


class FailoverTests(MailTestCase):
    """A server whose database has a synchronous standby."""

    def make_database(self) -> dict[str, Any]:
        self.own = ReplicatedCluster()
        self.addCleanup(self.own.remove)
        return self.own.parameters

    async def test_promoted(self) -> None:
        """The primary dies under load and the standby takes over: nothing that was acknowledged is lost.

        Clients hear 303 meanwhile, and go on afterwards on the connections that they have.
        """
        mail = Correspondence(self, lambda: self.port, Random())
        await mail.begin(PEOPLE)
        await mail.until_acknowledged(10 * PEOPLE)
        await in_thread(self.own.primary.crash)
        await deferLater(reactor, OUTAGE_SECONDS)
        await in_thread(self.own.promote)
        self.own.lead_to(self.own.standby)
        await mail.until_acknowledged(10 * PEOPLE)
        await mail.end()
        await mail.settled(PATIENCE_SECONDS)
        self.assertEqual(await mail.faults(), [])
        self.assertEqual([one.losses for one in mail.people], [0] * PEOPLE)
        self.assertNotIn(0, [one.refusals for one in mail.people])

    async def assert_served(self, write: Status) -> None:
        """Reads are done, and writes have this answer."""
        message = {"Message": self.letter(), "Domain": "example.com"}
        for action, fields, status in (
            ("EXISTS", {"Path": f"/ wsp {self.alice.workspace}"}, Status.OK),
            ("SEND", message, write),
            ("LIST", {"Path": f"/ wsp {self.alice.workspace} new"}, Status.OK),
        ):
            await self.assert_answer(self.client_, action, fields, status)

    async def test_read_only(self) -> None:
        """A standby that nobody has promoted serves reads; back on the primary, writes are done at once."""
        await self.assert_served(Status.OK)
        await in_thread(self.own.primary.crash)
        self.own.lead_to(self.own.standby)
        availability = self.service.assembly.database._availability
        await until(lambda: availability.is_there and availability.writes is Writes.REFUSED)
        await self.assert_served(Status.SERVER_UNAVAILABLE)
        await in_thread(self.own.primary.start)
        self.own.lead_to(self.own.primary_directory)
        # The connections to the standby are still there, and good for reads.
        await until(lambda: availability.is_there and availability.writes is Writes.DONE)
        await self.assert_served(Status.OK)
