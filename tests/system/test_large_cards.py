"""A card of ten thousand entries, for four clients at once, in bounded memory."""

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol

from mensagod.client.connection import ClientConnection
from mensagod.keycards.carddata import frame_entry, framed_size
from mensagod.keycards.making import UserKeys, make_user_root
from mensagod.status import Status
from mensagod.storage import keycards
from mensagod.storage.keycards import StoredEntry
from mensagod.storage.rows import Transaction
from mensagod.values.identity import WorkspaceID
from mensagod.wire.frames import FINAL, HEADER_SIZE, SINGLE, START, encode_message
from mensagod.wire.messages import Request, Response
from tests.serving import DOMAIN, ServerTestCase

ENTRIES = 10_000
ROOM = 64 * 1024 * 1024
FILLER = 'Zoë "the \\ back" ' * 58
PREFIX, SUFFIX = "Type:User\r\nIndex:", f"\r\nName:{FILLER}x\r\n"


def fill(txn: Transaction, owner: WorkspaceID) -> None:
    """Make a long card at once."""
    txn.execute(
        "INSERT INTO keycard_entries (owner, workspace, number, text, hash, signed, expires)"
        " SELECT %(owner)s, %(owner)s, number, %(prefix)s || number || %(suffix)s, 'x', now(), now()"
        " FROM generate_series(1, %(count)s) AS number",
        {"owner": owner.uuid, "prefix": PREFIX, "suffix": SUFFIX, "count": ENTRIES},
    )


def texts() -> Iterator[str]:
    return (f"{PREFIX}{number}{SUFFIX}" for number in range(1, ENTRIES + 1))


def expected() -> tuple[int, str]:
    """Give Total-Size and the hash of the answer, without ever having it in one piece."""
    total = sum(framed_size(text) for text in texts())
    rest = Response(Status.OK, data={"Item-Count": str(ENTRIES), "Total-Size": str(total), "Card-Data": ""})
    head, tail = rest.to_bytes()[:-3], rest.to_bytes()[-3:]
    digest = hashlib.sha256(head)
    for text in texts():
        digest.update(msgspec.json.encode(frame_entry(text))[1:-1])
    digest.update(tail)
    return total, digest.hexdigest()


def resident() -> int:
    """Tell how much memory this process takes."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Fetcher(Protocol):
    """Asks for a card and keeps nothing of it but its hash.

    :ivar pause: for how many seconds it reads nothing when the card begins to come.
    """

    transport: ITCPTransport

    def __init__(self, clock: IReactorTime, owner: WorkspaceID, pause: float):
        self.clock = clock
        self.owner = owner
        self.pause = pause
        self.done: Deferred[str] = Deferred()
        self.offer: Response | None = None
        self.most = 0
        self._digest = hashlib.sha256()
        self._buffer = b""
        self._greeted = False

    def dataReceived(self, data: bytes) -> None:
        self.most = max(self.most, resident())
        self._buffer += data
        if not self._greeted:
            _, newline, self._buffer = self._buffer.partition(b"\n")
            self._greeted = bool(newline)
            self._send(Request("GETCARD", {"Owner": str(self.owner), "Start-Index": "1"}))
        while len(self._buffer) >= HEADER_SIZE:
            kind, size = self._buffer[0], int.from_bytes(self._buffer[1:HEADER_SIZE], "big")
            if len(self._buffer) < HEADER_SIZE + size:
                return
            payload = self._buffer[HEADER_SIZE : HEADER_SIZE + size]
            self._buffer = self._buffer[HEADER_SIZE + size :]
            self._take(kind, payload)

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == SINGLE:
            self.offer = Response.from_bytes(payload)
            self._send(Request("TRANSFER"))
        elif kind == START:
            self.transport.pauseProducing()  # type: ignore[attr-defined]
            self.clock.callLater(self.pause, self.transport.resumeProducing)  # type: ignore[attr-defined]
        else:
            self._digest.update(payload)
        if kind == FINAL:
            self.done.callback(self._digest.hexdigest())

    def _send(self, request: Request) -> None:
        self.transport.write(encode_message(request.to_bytes()))


class LargeCardTests(ServerTestCase):
    """GETCARD of what does not fit into memory several times."""

    async def test_four_at_once(self) -> None:
        """Each gets every byte, slow ones too, and the server stays within 64 MiB above idle."""
        owner = (await self.settle("alice")).workspace
        await self.database.run(fill, owner)
        total, digest = expected()
        self.assertGreater(total, 10_000_000)
        idle = resident()
        fetchers = [Fetcher(IReactorTime(reactor), owner, pause) for pause in (0, 0, 0.3, 0.6)]
        for fetcher in fetchers:
            await connectProtocol(clientFromString(reactor, f"tcp:127.0.0.1:{self.port}"), fetcher)
            self.addCleanup(fetcher.transport.loseConnection)
        digests = await gatherResults([fetcher.done for fetcher in fetchers])
        self.assertEqual(digests, [digest] * 4)
        for fetcher in fetchers:
            offer = fetcher.offer
            self.assertIsNotNone(offer)
            if offer is not None:
                self.assertEqual(offer.data, {"Item-Count": str(ENTRIES), "Total-Size": str(total)})
        grown = max(fetcher.most for fetcher in fetchers) - idle
        self.assertLess(grown, ROOM, f"{grown} bytes more than idle")
        self.assertEqual(len(self.service.assembly.resolver.cache), 0)

    async def test_parts(self) -> None:
        """A few entries of a large card come as those of a small one; the newest one too."""
        owner = (await self.settle("alice")).workspace
        await self.database.run(fill, owner)
        client = await self.client()
        for start, end, numbers in (
            (5000, 5001, (5000, 5001)),
            (0, None, (ENTRIES,)),
            (9999, None, (9999, 10000)),
        ):
            async with client.turn() as turn:
                fields = {"Owner": owner, "Start-Index": start, "End-Index": end}
                await turn.request("GETCARD", fields, Status.TRANSFER)
                answer = await turn.request("TRANSFER", {}, Status.OK)
            card = "".join(frame_entry(f"{PREFIX}{number}{SUFFIX}") for number in numbers)
            self.assertEqual(answer.data["Card-Data"], card)
        answer = await client.request("ISCURRENT", {"Index": ENTRIES, "Workspace-ID": owner}, Status.OK)
        self.assertEqual(answer.data["Is-Current"], "YES")

    async def test_offers(self) -> None:
        """What is offered and not taken costs next to nothing: a small card, and a part of a large one."""
        owners = [(await self.settle(name)).workspace for name in ("alice", "bob")]
        await self.database.run(fill, owners[0])
        now = datetime.now(UTC)
        # One such character, and each of the text takes four bytes.
        entry = make_user_root(UserKeys(), owners[1], DOMAIN, now, {"Name": "Zoë \U0001f600"})
        for number in range(1, 111):
            stored = StoredEntry(number, entry.text, "x", now, now)
            await self.database.run(keycards.add_entry, owners[1], stored)
        clients = [await self.client() for _ in range(40)]
        for owner, end in ((owners[1], None), (owners[0], 50)):
            await self.offer(clients[0], owner, end)
            await clients[0].request("CANCEL", {}, Status.OK)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for owner, end in ((owners[1], None), (owners[0], 50)):
            before = tracemalloc.get_traced_memory()[0]
            for client in clients:
                await self.offer(client, owner, end)
            grown = tracemalloc.get_traced_memory()[0] - before
            # Some may be read anew while the server is too slow to trust its memory.
            self.assertLess(grown, len(clients) * 100_000, f"{grown} bytes for {len(clients)} offers")
            for client in clients:
                await client.request("CANCEL", {}, Status.OK)

    async def offer(self, client: ClientConnection, owner: WorkspaceID, end: int | None) -> None:
        fields = {"Owner": owner, "Start-Index": 1, "End-Index": end}
        await client.request("GETCARD", fields, Status.TRANSFER)

    async def test_gone_meanwhile(self) -> None:
        """A client that hangs up in the middle leaves nothing behind."""
        owner = (await self.settle("alice")).workspace
        await self.database.run(fill, owner)
        client = await self.client()
        async with client.turn() as turn:
            await turn.request("GETCARD", {"Owner": owner, "Start-Index": 1}, Status.TRANSFER)
            waiting = turn.ask("TRANSFER").addErrback(lambda _: None)
        client.abort()
        await waiting
        await (await self.client()).request("IDLE", {}, Status.OK)
