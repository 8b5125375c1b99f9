"""PREREG and REGCODE (spec 04, *Registering*)."""

import threading

from attrs import evolve
from twisted.internet.defer import Deferred

from mensagod.client.connection import ClientConnection
from mensagod.config import Config
from mensagod.status import Status
from mensagod.threads.pool import WorkerPool
from mensagod.values.identity import DeviceID, Domain, WorkspaceID
from tests.commands.cases import CommandTestCase
from tests.serving import ADMIN, CHEAP, CODE, Person

EXTRA = Domain.from_text("example.net")
ZERO = "00000000-0000-0000-0000-000000000000"
FREE = "99999999-9999-4999-8999-999999999999"


class RegistrationTestCase(CommandTestCase):
    """A server of two domains, with default quotas."""

    def configure(self, config: Config) -> Config:
        return evolve(config, global_=evolve(config.global_, extra_domains=(EXTRA,), default_quota=3))

    async def root(self) -> ClientConnection:
        client, _ = await self.admin()
        return client

    def regcode_fields(self, person: Person, code: str = CODE) -> dict[str, object]:
        return {
            "Workspace-ID": person.workspace,
            "Reg-Code": code,
            "Password-Hash": person.password,
            **person.device_fields,
        }

    def occupy(self, workers: WorkerPool) -> None:
        """Keep all threads of a workers busy until the test ends."""
        go = threading.Event()
        for _ in range(self.service.server.config.security.max_password_checks):
            busy = Deferred.fromCoroutine(workers.run(go.wait))
            self.addCleanup(lambda busy: busy, busy)
        self.addCleanup(go.set)


class PreregTests(RegistrationTestCase):
    """Accounts that the administrator makes."""

    async def test_demands(self) -> None:
        """Who is not logged in is told so before anything else, and so is who is not the administrator."""
        bad = {"Workspace-ID": "x", "User-ID": "a b", "Domain": "-"}
        client = await self.client()
        await self.assert_answer(client, "PREREG", bad, Status.UNAUTHORIZED, "Login required")
        client = await self.enter(await self.settle("alice"))
        await self.assert_answer(client, "PREREG", bad, Status.FORBIDDEN)

    async def test_fields(self) -> None:
        """Reserved names, mixed scripts and the server's own ID are given to nobody."""
        optional = {
            "Workspace-ID": ("alice", ZERO),
            "User-ID": (
                "a b",
                "admin",
                "Abuse",
                "support",
                "\N{CYRILLIC SMALL LETTER ER}aypal",
                FREE,
                "a/b",
                "x" * 200,
            ),
            "Domain": ("a..b", "exa mple.com"),
        }
        await self.assert_fields(await self.root(), "PREREG", {}, {}, optional)

    async def test_everything_chosen(self) -> None:
        """The administrator can choose ID, name and any domain of the server."""
        fields = {"Workspace-ID": FREE.upper(), "User-ID": "Alice", "Domain": "EXAMPLE.net"}
        answer = await self.assert_answer(await self.root(), "PREREG", fields, Status.OK)
        self.assertEqual(
            {name: answer.data[name] for name in ("Workspace-ID", "User-ID", "Domain")},
            {"Workspace-ID": FREE, "User-ID": "alice", "Domain": "example.net"},
        )
        self.assertEqual(
            await self.rows(
                "SELECT id::text, domain, status, password_hash FROM workspaces WHERE id <> %s", ADMIN.uuid
            ),
            [(FREE, "example.net", "preregistered", None)],
        )
        self.assertEqual(
            await self.rows("SELECT user_id, domain, kind FROM names WHERE workspace = %s", FREE),
            [("alice", "example.net", "current")],
        )
        self.assertEqual(await self.value("SELECT count(*) FROM mailboxes WHERE workspace = %s", FREE), 0)

    async def test_nothing_chosen(self) -> None:
        """Without fields the server makes an ID in its own domain, and no name."""
        answer = await self.assert_answer(await self.root(), "PREREG", {}, Status.OK)
        self.assertEqual(set(answer.data), {"Workspace-ID", "Domain", "Reg-Code"})
        self.assertEqual(answer.data["Domain"], "example.com")
        self.assertEqual(len(answer.data["Reg-Code"].split("-")), 6)

    async def test_strangers_are_not_in_the_way(self) -> None:
        """Whatever strangers try, the administrator's codes are made."""
        root = await self.root()
        self.occupy(self.service.assembly.code_checks)
        await self.assert_answer(root, "PREREG", {}, Status.OK)

    async def test_code_is_stored_hashed_and_not_logged(self) -> None:
        """Only Argon2id of the code is kept, and nothing secret is logged."""
        lines = self.captured_log()
        root = await self.root()
        answer = await self.assert_answer(root, "PREREG", {"User-ID": "alice"}, Status.OK)
        code = answer.data["Reg-Code"]
        alice = Person(WorkspaceID.from_text(answer.data["Workspace-ID"]), "alice")
        stored = await self.value("SELECT code_hash FROM preregistrations")
        self.assertTrue(stored.startswith("$argon2id$v=19$m=8192,t=1,p=1$"))
        self.assertTrue(CHEAP.verify(stored, code))
        await self.assert_answer(
            await self.client(), "REGCODE", self.regcode_fields(alice, code), Status.REGISTERED
        )
        await self.enter(alice)
        log = "".join(lines)
        for secret in (code, alice.password, str(alice.keys.private), stored):
            self.assertNotIn(secret, log)

    async def test_taken(self) -> None:
        """An ID that was ever given out is not given out again, in whatever form it was."""
        root = await self.root()
        alice = await self.settle("alice")
        archived = await self.settle("archie")
        await self.change(
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
            archived.workspace.uuid,
        )
        await self.assert_answer(root, "PREREG", {"Workspace-ID": FREE, "User-ID": "waiting"}, Status.OK)
        for user_id, kind in (("nick", "alias"), ("once", "former")):
            await self.change(
                "INSERT INTO names (domain, user_id, workspace, kind, unicode)"
                " VALUES ('example.com', %s, %s, %s, '15')",
                user_id,
                alice.workspace.uuid,
                kind,
            )
        before = await self.value("SELECT count(*) FROM workspaces")
        for fields, field in (
            ({"Workspace-ID": alice.workspace}, "Workspace-ID"),
            ({"Workspace-ID": archived.workspace, "User-ID": "fresh"}, "Workspace-ID"),
            ({"Workspace-ID": FREE}, "Workspace-ID"),
            ({"User-ID": "alice"}, "User-ID"),
            ({"User-ID": "archie"}, "User-ID"),
            ({"User-ID": "waiting"}, "User-ID"),
            ({"User-ID": "nick"}, "User-ID"),
            ({"User-ID": "once"}, "User-ID"),
        ):
            answer = await self.assert_answer(root, "PREREG", fields, Status.RESOURCE_EXISTS)
            self.assertEqual(answer.data, {"Field": field})
        self.assertEqual(await self.value("SELECT count(*) FROM workspaces"), before)
        await self.assert_answer(root, "PREREG", {"User-ID": "alice", "Domain": EXTRA}, Status.OK)

    async def test_foreign_domain(self) -> None:
        """A domain that is not the server's is refused."""
        await self.assert_answer(await self.root(), "PREREG", {"Domain": "example.org"}, Status.BAD_REQUEST)

    async def test_one_name_twice_at_once(self) -> None:
        """Of two who ask for one name at once, one gets it."""
        root = await self.root()
        other = await self.enter(await self.settle("other"))
        for _, member in self.service.assembly.sessions:
            member.is_admin = True
        both = [
            Deferred.fromCoroutine(self.ask(client, "PREREG", {"User-ID": "alice"}))
            for client in (root, other)
        ]
        answers = [await answer for answer in both]
        self.assertEqual({answer.status for answer in answers}, {Status.OK, Status.RESOURCE_EXISTS})
        (refused,) = [answer for answer in answers if answer.status != Status.OK]
        self.assertEqual(refused.data, {"Field": "User-ID"})
        self.assertEqual(await self.value("SELECT count(*) FROM preregistrations"), 1)


class RegcodeTests(RegistrationTestCase):
    """Accounts that their owners complete."""

    async def test_fields(self) -> None:
        """Each field is checked in its turn, all of them before the code."""
        good = self.regcode_fields(Person(ADMIN, "admin"))
        required = {
            "Reg-Code": ("x" * 7, "x" * 129),
            "Password-Hash": ("x" * 15, "x" * 129),
            "Device-ID": ("phone", ZERO),
            "Device-Key": ("key", "CURVE25519:abcde"),
        }
        client = await self.client()
        await self.assert_fields(client, "REGCODE", good, required)
        for name in ("Algorithm", "Salt", "Parameters"):
            field = f"Password-{name}"
            info = f"Bad value for field {field}"
            await self.assert_answer(client, "REGCODE", {**good, field: "x" * 1025}, Status.BAD_REQUEST, info)
        first = {"Workspace-ID": ("x",), "User-ID": ("a b",), "Domain": ("-.",), "Reg-Code": ("x",)}
        await self.assert_fields(client, "REGCODE", good, {}, {**first, "Device-Info": ("text",)})
        unsupported = {**good, "Device-Key": "AES-256:abcde"}
        await self.assert_answer(client, "REGCODE", unsupported, Status.ALGORITHM_NOT_SUPPORTED)

    async def test_neither_id(self) -> None:
        """One of the two IDs is needed, and missed before anything later."""
        await self.assert_answer(
            await self.client(),
            "REGCODE",
            {"Reg-Code": "x"},
            Status.BAD_REQUEST,
            "Missing required field Workspace-ID",
        )

    async def test_registered(self) -> None:
        """The right code makes an account with mailbox, directories and device, and is used up."""
        person = Person(ADMIN, "admin")
        client = await self.client()
        fields = {**self.regcode_fields(person), "Device-Info": "XSALSA20:mine", "Password-Salt": "salt"}
        answer = await self.assert_answer(client, "REGCODE", fields, Status.REGISTERED)
        self.assertEqual(
            answer.data, {"Workspace-ID": str(ADMIN), "User-ID": "admin", "Domain": "example.com"}
        )
        (row,) = await self.rows("SELECT status, password_hash, password_salt FROM workspaces")
        self.assertEqual((row.status, row.password_salt), ("active", "salt"))
        self.assertTrue(CHEAP.verify(row.password_hash, person.password))
        (device,) = await self.rows("SELECT id, key, info, status, address FROM devices")
        self.assertEqual(
            device, (person.device.uuid, str(person.keys.public), "XSALSA20:mine", "registered", "127.0.0.1")
        )
        self.assertEqual(await self.value("SELECT quota FROM mailboxes"), 3 * 1024 * 1024)
        self.assertEqual(await self.value("SELECT count(*) FROM folders"), 3)
        self.assertEqual(await self.value("SELECT count(*) FROM preregistrations"), 0)
        await self.assert_answer(client, "REGCODE", fields, Status.UNAUTHORIZED)
        self.assertTrue(await self.log_in(client, person))

    async def test_not_in_the_way_of_logins(self) -> None:
        """A stranger's code and password need none of the threads that logins need."""
        self.occupy(self.service.assembly.password_checks)
        fields = self.regcode_fields(Person(ADMIN, "admin"))
        await self.assert_answer(await self.client(), "REGCODE", fields, Status.REGISTERED)

    async def test_by_name(self) -> None:
        """Name and domain lead to the account as the ID does."""
        root = await self.root()
        made = await self.assert_answer(root, "PREREG", {"User-ID": "alice", "Domain": EXTRA}, Status.OK)
        alice = Person(WorkspaceID.from_text(made.data["Workspace-ID"]), "alice", domain=EXTRA)
        fields = {**self.regcode_fields(alice, made.data["Reg-Code"]), "Workspace-ID": "", "User-ID": "ALICE"}
        client = await self.client()
        await self.assert_answer(client, "REGCODE", fields, Status.UNAUTHORIZED)
        answer = await self.assert_answer(client, "REGCODE", {**fields, "Domain": EXTRA}, Status.REGISTERED)
        self.assertEqual((answer.data["User-ID"], answer.data["Domain"]), ("alice", "example.net"))
        self.assertFalse(await self.log_in(client, alice))

    async def test_without_name(self) -> None:
        """Where there is no name the ID's text stands in, in the request as in the answer."""
        made = await self.assert_answer(await self.root(), "PREREG", {}, Status.OK)
        person = Person(WorkspaceID.from_text(made.data["Workspace-ID"]), None)
        fields = {
            **self.regcode_fields(person, made.data["Reg-Code"]),
            "Workspace-ID": "",
            "User-ID": str(person.workspace).upper(),
            "Device-Info": "null",
        }
        answer = await self.assert_answer(await self.client(), "REGCODE", fields, Status.REGISTERED)
        self.assertEqual(answer.data["User-ID"], str(person.workspace))
        info = await self.value("SELECT info FROM devices WHERE workspace = %s", person.workspace.uuid)
        self.assertIsNone(info)

    async def test_parameters_from_the_hash(self) -> None:
        """A hash in Argon2's form tells its own parameters, which win over old ones in the fields."""
        person = Person(ADMIN, "admin", password="$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g")
        old = {"Password-Algorithm": "ARGON2I", "Password-Salt": "old", "Password-Parameters": "m=1"}
        fields = {**self.regcode_fields(person), **old}
        client = await self.client()
        await self.assert_answer(client, "REGCODE", fields, Status.REGISTERED)
        answer = await self.assert_answer(client, "LOGIN", self.login_fields(person), Status.CONTINUE)
        del answer.data["Response"]  # type: ignore[attr-defined]
        self.assertEqual(
            answer.data,
            {
                "Password-Algorithm": "ARGON2ID",
                "Password-Salt": "c2FsdHNhbHQ",
                "Password-Parameters": "m=65536,t=2,p=1",
            },
        )

    async def test_no_such_pair(self) -> None:
        """A wrong code, a wrong domain, an unknown ID and a registered one are answered alike."""
        alice = await self.settle("alice")
        client = await self.client()
        good = self.regcode_fields(Person(ADMIN, "admin"))
        answers = [
            await self.ask(client, "REGCODE", {**good, **change})
            for change in (
                {"Reg-Code": CODE + "x"},
                {"Domain": EXTRA},
                {"Domain": "example.org"},
                {"Workspace-ID": FREE},
                {"Workspace-ID": alice.workspace},
                {"Workspace-ID": "", "User-ID": "nobody"},
                {"Workspace-ID": "", "User-ID": FREE},
                {"Workspace-ID": ZERO},
            )
        ]
        self.assertEqual({answer.status for answer in answers}, {Status.UNAUTHORIZED})
        self.assertEqual({answer.to_bytes() for answer in answers}, {answers[0].to_bytes()})
        self.assertEqual(await self.value("SELECT count(*) FROM preregistrations"), 1)
        await self.assert_answer(client, "REGCODE", good, Status.REGISTERED)

    async def test_wrong_code_takes_its_time(self) -> None:
        """The refusal of a wrong code or ID comes after the delay of the configuration."""
        client = await self.client()
        good = self.regcode_fields(Person(ADMIN, "admin"))
        for change in ({"Reg-Code": CODE + "x"}, {"Workspace-ID": FREE}):
            await self.assert_delayed(client, "REGCODE", {**good, **change}, Status.UNAUTHORIZED)

    async def test_one_code_twice_at_once(self) -> None:
        """Of two who use one code at once, one gets the account, with its own password and device."""
        people = [Person(ADMIN, "admin", device=DeviceID.random()) for _ in range(2)]
        clients = [await self.client() for _ in people]
        both = [
            Deferred.fromCoroutine(self.ask(client, "REGCODE", self.regcode_fields(person)))
            for client, person in zip(clients, people, strict=True)
        ]
        statuses = [(await answer).status for answer in both]
        self.assertEqual(set(statuses), {Status.REGISTERED, Status.UNAUTHORIZED})
        winner = people[statuses.index(Status.REGISTERED)]
        (device,) = await self.rows("SELECT id FROM devices")
        self.assertEqual(device.id, winner.device.uuid)
        self.assertTrue(await self.log_in(clients[0], winner))
