"""Server and PostgreSQL killed at random under load (spec 05, *The queue*).

``MENSAGOD_TEST_KILLS`` is the number of kills, ``MENSAGOD_TEST_SEED`` repeats the choices of another run.
"""

import os
import sys
import time
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from mensagod.client.updates import UpdateRecord
from mensagod.values.identity import DeviceID, RandomID, WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from tests.system.connections import in_thread
from tests.system.correspondence import Correspondence
from tests.system.crashing import CrashingCluster
from tests.system.mail_checks import Mailbox, Message, faults
from tests.system.processes import ProcessTestCase

KILLS = int(os.environ.get("MENSAGOD_TEST_KILLS", "5"))
SEED = int(os.environ.get("MENSAGOD_TEST_SEED", time.time_ns() % 1_000_000))
PEOPLE = 5
ROUND = 25
"""Kills until all mailboxes are read and other people begin."""

WHAT = ("server", "database", "both")
LEASE_SECONDS = 10
PATIENCE_SECONDS = 60
"""How long is waited for what is still to be delivered, on a busy machine; then it counts as lost."""


class CrashTests(ProcessTestCase):
    """A server process and a PostgreSQL of its own, of which one or both are killed again and again."""

    timeout = 300 + 10 * KILLS

    def make_database(self) -> dict[str, Any]:
        self.own = CrashingCluster()
        self.addCleanup(self.own.remove)
        return self.own.parameters

    async def prepare(self) -> None:
        await super().prepare()
        self.chance = Random(SEED)
        self.server = self.process()
        await self.server.listens()

    async def kill(self, what: str) -> None:
        """Kill the server, the database or both, and start what was killed again."""
        if what != "database":
            self.server.kill()
        if what != "server":
            await in_thread(self.own.crash)
            await deferLater(reactor, self.chance.uniform(0, 0.3))
            await in_thread(self.own.start)
        if what != "database":
            self.server.start()

    async def test_killed(self) -> None:
        """What was acknowledged arrives exactly once, nothing arrives twice, and all counts are right."""
        sys.stdout.write(f"{KILLS} kills, seed {SEED} ")
        for begin in range(0, KILLS, ROUND):
            await self.live_through(min(ROUND, KILLS - begin))

    async def live_through(self, kills: int) -> None:
        """Have people write while kills happen; then read their mailboxes."""
        mail = Correspondence(self, lambda: self.server.port, self.chance, abandoned=0.2, hung_up=0.1)
        await mail.begin(PEOPLE)
        # Each kind of kill in turn, in an order of chance.
        order = [kind for _ in range(0, kills, len(WHAT)) for kind in self.chance.sample(WHAT, len(WHAT))]
        for what in order[:kills]:
            if self.chance.random() < 0.8:
                await mail.until_acknowledged(10)
            # Otherwise what has just begun to recover is killed again.
            await deferLater(reactor, self.chance.uniform(0, 0.5))
            await self.kill(what)
        await mail.until_acknowledged(10)
        await mail.end()
        await mail.settled(PATIENCE_SECONDS)
        self.assertEqual(await mail.faults(), [], f"seed {SEED}")


OWNER = WorkspaceID.random()
CONTENTS = (b"one", b"three")


def mailbox_of(*contents: bytes) -> Mailbox:
    """Make a mailbox without a fault."""
    names = [FileName.make(1, len(content)) for content in contents]
    paths = [ServerPath.new_messages(OWNER).child(name) for name in names]
    return Mailbox(
        files=dict(zip(names, contents, strict=True)),
        file_count=len(contents),
        records=[
            UpdateRecord(RandomID.random(), "CREATE", str(path), 1, DeviceID.random()) for path in paths
        ],
        record_count=len(contents),
        usage=sum(map(len, contents)),
    )


class CheckTests(SynchronousTestCase):
    """What the checker finds."""

    def faults(self, mailbox: Mailbox, *, acknowledged: bool = True) -> list[str]:
        messages = [Message(OWNER, content, acknowledged) for content in CONTENTS]
        return [fault.removeprefix(f"{OWNER}: ") for fault in faults(messages, {OWNER: mailbox})]

    def test_right(self) -> None:
        """What was acknowledged is there; what was not may be."""
        self.assertEqual(self.faults(mailbox_of(*CONTENTS)), [])
        self.assertEqual(self.faults(mailbox_of(), acknowledged=False), [])
        self.assertEqual(self.faults(mailbox_of(*CONTENTS), acknowledged=False), [])

    def test_contents(self) -> None:
        """A message that is lost, doubled, somebody else's or changed."""
        [lost] = self.faults(mailbox_of(b"one"))
        self.assertIn("5 bytes was acknowledged and is not there", lost)
        for acknowledged in (True, False):
            [doubled] = self.faults(mailbox_of(*CONTENTS, b"one"), acknowledged=acknowledged)
            self.assertIn("3 bytes is there 2 times", doubled)
        [foreign] = self.faults(mailbox_of(*CONTENTS, b"foreign"))
        self.assertIn("nobody sent", foreign)
        self.assertEqual(len(self.faults(mailbox_of(b"one", b"thrEE"))), 2)

    def test_counts(self) -> None:
        """A wrong count, and records that tell of other files or of none."""
        right = mailbox_of(*CONTENTS)
        for change, words in (
            ({"file_count": 1}, "counts 1 files instead of 2"),
            ({"record_count": 3}, "counts 3 update records instead of 2"),
            ({"usage": 0}, "counts 0 bytes in use instead of 8"),
            ({"records": mailbox_of(*CONTENTS).records}, "do not tell of just these 2 files"),
            ({"records": right.records[:1], "record_count": 1}, "do not tell of just these 2 files"),
            ({"records": [*right.records, right.records[0]], "record_count": 3}, "do not tell"),
        ):
            [fault] = self.faults(evolve(right, **change))
            self.assertIn(words, fault)
        names = [FileName.make(1, 4), *list(right.files)[1:]]
        renamed = evolve(right, files=dict(zip(names, CONTENTS, strict=True)))
        self.assertTrue(any("has 3 bytes" in fault for fault in self.faults(renamed)))
