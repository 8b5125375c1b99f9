"""Whatever a client asks, it gets an answer (spec 01, *Responses*)."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import blockingCallFromThread, deferToThread
from twisted.python.failure import Failure

from mensagod.sessions.exchange import GivenUp
from mensagod.sessions.outcomes import Hangup, SendRaw
from mensagod.sessions.session import Session
from mensagod.sessions.who import Member, Stranger
from mensagod.status import Status
from mensagod.wire.messages import Response
from tests.commands.cases import CommandTestCase
from tests.commands.test_files import HOSTILE

ACTIONS = {
    "LOGIN": ("Login-Type", "Workspace-ID", "Challenge"),
    "PASSWORD": ("Password-Hash",),
    "DEVICE": ("Device-ID", "Device-Key", "Device-Info", "Response"),
    "PREREG": ("Workspace-ID", "User-ID", "Domain"),
    "REGCODE": ("Workspace-ID", "User-ID", "Domain", "Reg-Code", "Password-Hash", "Device-ID", "Device-Key"),
    "GETWID": ("User-ID", "Domain"),
    "GETCARD": ("Owner", "Start-Index", "End-Index"),
    "TRANSFER": (),
    "SELECT": ("Path",),
    "EXISTS": ("Path",),
    "LIST": ("Path", "Time"),
    "DOWNLOAD": ("Path", "Offset", "Size"),
    "GETUPDATES": ("Time", "Since"),
    "SEND": ("Message", "Domain"),
    "IDLE": ("CountUpdates",),
    "CANCEL": (),
    "LOGOUT": (),
}
ID = "11111111-1111-4111-8111-111111111111"
KEY = "CURVE25519:" + "0" * 40
PLAUSIBLE = (
    *HOSTILE,
    *(f"/ {area} {ID}" for area in ("wsp", "out", "keys", "tmp")),
    *("PLAIN", ID, "00000000-0000-0000-0000-000000000000", KEY, "CURVE25519:" + "z" * 99, "admin", "alice"),
    *("example.com", "example.org", f"admin/{ID}", "alice/example.com", "0", "1", "-1", str(2**63 - 1)),
    *(
        "9" * 32,
        "null",
        "a password hash of somebody",
        "\ufffd" * 20,
        "a%sb%%(x)s'\";--\\",
        "\u202e\U0010ffff",
    ),
)
values = st.sampled_from(PLAUSIBLE) | st.text(max_size=200)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request of any command, with any text in its fields."""
    action = draw(st.sampled_from(sorted(ACTIONS)))
    names = [name for name in ACTIONS[action] if draw(st.integers(0, 9))]
    data = {name: draw(values) for name in names}
    return json.dumps({"Action": action, "Data": data}, ensure_ascii=draw(st.booleans())).encode(
        "utf-8", "surrogatepass"
    )


class AnyRequestTests(CommandTestCase):
    """Sessions of every kind and requests of every kind."""

    async def test_always_an_answer(self) -> None:
        """Whatever stands in the fields, the answer is well formed, its status is known, and never 300."""
        alice = await self.settle("alice")
        await self.enter(alice)
        ((_, member),) = self.service.assembly.sessions
        await deferToThread(self.try_all, member)

    def try_all(self, member: Member) -> None:
        """Try many requests. Runs in a thread, for Hypothesis cannot wait."""

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(st.lists(requests(), min_size=1, max_size=4), st.sampled_from(["nobody", "member", "admin"]))
        def check(messages: list[bytes], who: str) -> None:
            threads = IReactorFromThreads(reactor)
            converse: Callable[[], Any] = partial(self.converse, messages, who, member)
            blockingCallFromThread(threads, converse)

        check()

    def converse(self, messages: list[bytes], who: str, member: Member) -> Deferred[None]:
        return Deferred.fromCoroutine(self._converse(messages, who, member))

    async def _converse(self, messages: list[bytes], who: str, member: Member) -> None:
        session = Session(self.service.server, "127.0.0.1", "127.0.0.1")
        if who != "nobody":
            member.is_admin = who == "admin"
            session.who = member
        for message in messages:
            said = self.service.factory.dispatch.take(session, message)
            outcome = await said if isinstance(said, Deferred) else said
            if isinstance(outcome, Hangup):
                outcome = outcome.response or Response(Status.OK)
            if isinstance(outcome, SendRaw):
                outcome.resume(Failure(GivenUp()))
                continue
            self.assertIsInstance(outcome, Response)
            assert isinstance(outcome, Response)
            self.assertNotEqual(outcome.status, Status.INTERNAL_SERVER_ERROR, f"{message!r}")
            self.assertEqual(Response.from_bytes(outcome.to_bytes()).status, outcome.status)
        # The member is lent from another session, which goes on.
        session.give_up()
        session.who = Stranger()
