"""One address pipelines requests on many connections (spec 01, *Timeouts and limits*)."""

from itertools import groupby

from mensagod.server.protocol import MAX_REQUESTS_AT_ONCE, MensagoProtocol
from mensagod.server.turns import Client, Turns
from tests.conversations import request
from tests.system.connections import ConnectionTestCase, in_thread
from tests.system.sockets import Plug

FLOOD, HONEST = "127.0.0.2", "127.0.0.1"
CONNECTIONS = 12
REQUESTS = 1000
HONEST_REQUESTS = 200


class RequestFloodTests(ConnectionTestCase):
    """Another address gets every second turn, however many connections the first one has."""

    def watch(self) -> list[tuple[str, str]]:
        """Note from now on which sources begin to wait, and which have a turn."""
        events: list[tuple[str, str]] = []
        take_turn, wait = MensagoProtocol.take_turn, Turns.wait

        def noted_turn(protocol: MensagoProtocol) -> None:
            events.append(("turn", protocol.source))
            take_turn(protocol)

        def noted_wait(turns: Turns, client: Client) -> None:
            if not turns.is_waiting(client):
                events.append(("waits", client.source))
            wait(turns, client)

        self.patch(MensagoProtocol, "take_turn", noted_turn)
        self.patch(Turns, "wait", noted_wait)
        return events

    async def test_turns(self) -> None:
        """At most one turn of the flood comes between a request of another address and its turn."""
        flood = [await self.greeted(source=FLOOD) for _ in range(CONNECTIONS)]
        honest: Plug = await self.greeted(source=HONEST)
        events = self.watch()
        # Sent here, in the thread of the reactor, which finds all of it when it reads next.
        for plug in flood:
            plug.send(request("IDLE") * REQUESTS)
        honest.send(request("IDLE") * HONEST_REQUESTS)
        answers = await in_thread(honest.exchange, b"", HONEST_REQUESTS)
        self.assertEqual({int(answer.status) for answer in answers}, {200})
        passed = [name for name in events if name != ("waits", FLOOD)]
        turns = passed.count(("turn", HONEST))
        self.assertGreaterEqual(turns, HONEST_REQUESTS // MAX_REQUESTS_AT_ONCE)
        begin = passed.index(("waits", HONEST))
        runs = [(name, len(list(run))) for name, run in groupby(passed[begin:])]
        between = [length for name, length in runs[: 2 * turns] if name == ("turn", FLOOD)]
        self.assertIn(1, between)
        self.assertEqual(max(between), 1)
