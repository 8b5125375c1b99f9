"""LOGIN, PASSWORD, DEVICE (spec 04, *Logging in*)."""

import base64
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar
from uuid import uuid4

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from mensagod.client.errors import RequestRefused
from mensagod.config import Config
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.passwords import PasswordHasher
from mensagod.crypto.sealing import EncryptionPair
from mensagod.status import Status
from mensagod.storage import processes, sessions, workspaces
from mensagod.storage.devices import Presented
from mensagod.storage.workspaces import find_workspace
from mensagod.threads.fair_queue import Client
from mensagod.values.identity import DeviceID, WorkspaceID
from tests.commands.cases import CommandTestCase
from tests.serving import CHEAP, Person

NO_WORKSPACE = "99999999-9999-4999-8999-999999999999"
P = ParamSpec("P")
T = TypeVar("T")

ZERO = "00000000-0000-0000-0000-000000000000"
MISMATCH = "Session state mismatch"
LATER = {
    "PASSWORD": {"Password-Hash": "a password hash of somebody"},
    "DEVICE": {"Device-ID": str(DeviceID.random()), "Device-Key": str(EncryptionPair.generate().public)},
}


class LoginTests(CommandTestCase):
    """The first step."""

    async def test_opened_challenge_and_parameters(self) -> None:
        """The answer proves that the server has the organization's key, and the password's parameters."""
        alice = await self.settle("alice")
        await self.change(
            "UPDATE workspaces SET password_algorithm = 'ARGON2ID', password_salt = 'salt',"
            " password_parameters = 'm=1,t=1,p=1'"
        )
        text, sealed = self.challenge()
        fields = {**self.login_fields(alice), "Challenge": sealed}
        answer = await self.assert_answer(await self.client(), "LOGIN", fields, Status.CONTINUE)
        self.assertEqual(
            answer.data,
            {
                "Response": text,
                "Password-Algorithm": "ARGON2ID",
                "Password-Salt": "salt",
                "Password-Parameters": "m=1,t=1,p=1",
            },
        )

    async def test_no_parameters(self) -> None:
        """Where the client gave no parameters the fields are there and empty."""
        alice = await self.settle("alice")
        answer = await self.assert_answer(
            await self.client(), "LOGIN", self.login_fields(alice), Status.CONTINUE
        )
        self.assertEqual(
            {answer.data[f"Password-{name}"] for name in ("Algorithm", "Salt", "Parameters")}, {""}
        )

    async def test_fields(self) -> None:
        """Each field is checked in its turn, all of them before anything is looked up."""
        unknown = Person(WorkspaceID.from_text(NO_WORKSPACE), None)
        required = {
            "Login-Type": ("plain", "LDAP"),
            "Workspace-ID": ("alice", NO_WORKSPACE[:-1], f"{NO_WORKSPACE}\n", NO_WORKSPACE.replace("-", "")),
            "Challenge": ("none", "CURVE25519:", f"CURVE25519:{'a' * 20} "),
        }
        await self.assert_fields(await self.client(), "LOGIN", self.login_fields(unknown), required)

    async def test_every_status(self) -> None:
        """What a workspace hears depends on its status; each refusal leaves the session as it was."""
        expected = {
            "active": Status.CONTINUE,
            "approved": Status.CONTINUE,
            "pending": Status.PENDING,
            "disabled": Status.UNAVAILABLE,
            "suspended": Status.UNAVAILABLE,
            "unpaid": Status.PAYMENT_REQUIRED,
        }
        alice = await self.settle("alice")
        for status, code in expected.items():
            await self.change("UPDATE workspaces SET status = %s WHERE id = %s", status, alice.workspace.uuid)
            client = await self.client()
            answer = await self.assert_answer(client, "LOGIN", self.login_fields(alice), code)
            if code is Status.UNAVAILABLE:
                self.assertIn(status, answer.info)
            if code is not Status.CONTINUE:
                self.assertTrue(answer.info)
                await self.assert_answer(client, "PASSWORD", LATER["PASSWORD"], Status.BAD_REQUEST, MISMATCH)
                await self.assert_answer(client, "LOGIN", self.login_fields(alice), code)

    async def test_preregistered(self) -> None:
        """A workspace whose owner has not come yet says so."""
        fields = {
            **self.login_fields(Person(WorkspaceID.random(), None)),
            "Workspace-ID": "1" * 8 + "-1111-4111-8111-" + "1" * 12,
        }
        await self.assert_answer(await self.client(), "LOGIN", fields, Status.PROCESS_INCOMPLETE)

    async def test_unknown_and_archived_look_the_same(self) -> None:
        """Nobody learns which IDs were in use once."""
        alice = await self.settle("alice")
        await self.change(
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s",
            alice.workspace.uuid,
        )
        client = await self.client()
        archived = await self.ask(client, "LOGIN", self.login_fields(alice))
        unknown = await self.ask(client, "LOGIN", {**self.login_fields(alice), "Workspace-ID": NO_WORKSPACE})
        self.assertEqual(archived.status, Status.NOT_FOUND)
        self.assertEqual(archived, unknown)
        # Nor by how long it takes: no more of the one is read than of the other.
        for workspace in (alice.workspace, WorkspaceID.from_text(NO_WORKSPACE)):
            self.assertIsNone(await self.database.read(find_workspace, workspace))
        # Also where the challenge is wrong, which is looked at only afterwards.
        broken = {**self.login_fields(alice), "Challenge": "CURVE25519:abcde"}
        self.assertEqual(await self.ask(client, "LOGIN", broken), archived)

    async def test_no_oracle(self) -> None:
        """What opens to anything but 32 bytes in Base85 is answered as what does not open."""
        alice = await self.settle("alice")
        client = await self.client()
        good = base64.b85encode(os.urandom(32))
        stranger = EncryptionPair.generate().encryption_key
        key = self.organization.encryption.encryption_key
        texts = [
            b"",
            good[:-1],
            good + b"0",
            good + b"\n",
            b'"' * 40,
            b"\xff" * 40,
            b"~" * 40,
            b'{"to":"x","senderDom":"y"}',
            f"MENSAGO-SERVERID/1 receiver example.com example.com {good.decode()}".encode(),
            good * 20,
        ]
        sealed = [str(key.seal(text)) for text in texts]
        sealed += [str(stranger.seal(good)), "CURVE25519:abcde", f"CURVE25519:{'a' * 5000}"]
        answers = [
            await self.ask(client, "LOGIN", {**self.login_fields(alice), "Challenge": box}) for box in sealed
        ]
        self.assertEqual({answer.status for answer in answers}, {Status.KEY_FAILURE})
        self.assertEqual({answer.to_bytes() for answer in answers}, {answers[0].to_bytes()})

    async def test_other_algorithm(self) -> None:
        """What no key of ours can be meant for is told so: that is no secret."""
        alice = await self.settle("alice")
        client = await self.client()
        fields = {**self.login_fields(alice), "Challenge": "AES-256:abcde"}
        answer = await self.assert_answer(client, "LOGIN", fields, Status.ALGORITHM_NOT_SUPPORTED)
        self.assertIn("CURVE25519", answer.info)

    async def test_recent_key_opens(self) -> None:
        """A key that was rotated out still opens what was sealed to it."""
        alice = await self.settle("alice")
        old = EncryptionPair.generate()
        keyring = self.service.server.keyring
        self.service.assembly.keys.keyring = evolve(keyring, encryption=(*keyring.encryption, old))
        text = base64.b85encode(os.urandom(32))
        fields = {**self.login_fields(alice), "Challenge": old.encryption_key.seal(text)}
        answer = await self.assert_answer(await self.client(), "LOGIN", fields, Status.CONTINUE)
        self.assertEqual(answer.data["Response"], text.decode())

    async def test_out_of_order(self) -> None:
        """A step out of its order is refused, and the login goes on from where it was."""
        alice = await self.settle("alice")
        client = await self.client()
        for action, fields in LATER.items():
            await self.assert_answer(client, action, fields, Status.BAD_REQUEST, MISMATCH)
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.BAD_REQUEST, MISMATCH)
        await self.assert_answer(client, "DEVICE", LATER["DEVICE"], Status.BAD_REQUEST, MISMATCH)
        password = {"Password-Hash": alice.password}
        await self.assert_answer(client, "PASSWORD", password, Status.CONTINUE)
        await self.assert_answer(client, "PASSWORD", password, Status.BAD_REQUEST, MISMATCH)
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.BAD_REQUEST, MISMATCH)
        early = {**alice.device_fields, "Response": "x"}
        await self.assert_answer(client, "DEVICE", early, Status.BAD_REQUEST, MISMATCH)
        second = await self.answered_challenge(client, alice)
        await self.assert_answer(client, "DEVICE", second, Status.OK)
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.BAD_REQUEST, MISMATCH)
        for action in ("LOGIN", *LATER):
            await self.assert_answer(client, action, LATER.get(action), Status.BAD_REQUEST, MISMATCH)
            await self.assert_answer(client, action, {}, Status.BAD_REQUEST, MISMATCH)

    async def test_cancel_starts_over(self) -> None:
        """CANCEL gives an unfinished login up, wherever it stands."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        await self.answered_challenge(client, alice)
        await self.assert_answer(client, "CANCEL", {}, Status.OK)
        await self.assert_answer(client, "DEVICE", LATER["DEVICE"], Status.BAD_REQUEST, MISMATCH)
        await self.log_in(client, alice)


class PasswordTests(CommandTestCase):
    """The second step."""

    def configure(self, config: Config) -> Config:
        return evolve(config, security=evolve(config.security, max_password_checks=1))

    async def test_fields(self) -> None:
        """The hash has 16 to 128 characters; a bad one leaves the login where it was."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        good = {"Password-Hash": alice.password}
        await self.assert_fields(client, "PASSWORD", good, {"Password-Hash": ("x" * 15, "x" * 129)})
        await self.assert_answer(client, "PASSWORD", good, Status.CONTINUE)

    async def test_longest_and_shortest(self) -> None:
        """Lengths count code points, whatever they are."""
        for password in ("\N{GRINNING FACE}" * 16, "\N{GRINNING FACE}" * 128):
            person = await self.settle()
            person.password = password
            await self.change(
                "UPDATE workspaces SET password_hash = %s WHERE id = %s",
                CHEAP.hash(password),
                person.workspace.uuid,
            )
            await self.enter(person)

    async def test_wrong_password_starts_over(self) -> None:
        """After a wrong password the client begins again with LOGIN."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        wrong = {"Password-Hash": alice.password + "!"}
        await self.assert_answer(client, "PASSWORD", wrong, Status.AUTHENTICATION_FAILURE)
        right = {"Password-Hash": alice.password}
        await self.assert_answer(client, "PASSWORD", right, Status.BAD_REQUEST, MISMATCH)
        await self.log_in(client, alice)

    async def test_wrong_password_takes_its_time(self) -> None:
        """The refusal comes after the delay of the configuration, and holds up nobody else."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        fields = {"Password-Hash": "wrong" * 4}
        await self.assert_delayed(client, "PASSWORD", fields, Status.AUTHENTICATION_FAILURE)

    async def test_account_without_password(self) -> None:
        """An account that lost its password between the steps refuses as for a wrong one."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        await self.change("UPDATE workspaces SET status = 'archived', password_hash = NULL")
        fields = {"Password-Hash": alice.password}
        await self.assert_answer(client, "PASSWORD", fields, Status.AUTHENTICATION_FAILURE)

    async def test_impatient_pool(self) -> None:
        """A password that waits too long for its check gets 303, and may be sent again."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        workers = self.service.assembly.password_checks
        self.assertEqual(workers._timeout, 10)
        workers._timeout = 0.05
        go = threading.Event()
        self.addCleanup(go.set)
        other = Deferred.fromCoroutine(workers.run(go.wait))
        fields = {"Password-Hash": alice.password}
        await self.assert_answer(client, "PASSWORD", fields, Status.SERVER_UNAVAILABLE)
        go.set()
        await other
        await self.assert_answer(client, "PASSWORD", fields, Status.CONTINUE)

    async def store_hash(self, person: Person, text: str) -> None:
        await self.change(
            "UPDATE workspaces SET password_hash = %s WHERE id = %s", text, person.workspace.uuid
        )

    async def test_policy_change(self) -> None:
        """A password that was stored under another policy is stored anew after it was right."""
        alice = await self.settle("alice")
        await self.change(
            "UPDATE workspaces SET password_hash = %s WHERE id = %s",
            PasswordHasher(8, 1, 1).hash(alice.password),
            alice.workspace.uuid,
        )
        await self.enter(alice)
        stored = await self.value("SELECT password_hash FROM workspaces WHERE id = %s", alice.workspace.uuid)
        self.assertIn("m=8192", stored)
        self.assertTrue(CHEAP.verify(stored, alice.password))
        # A password that was changed meanwhile is not changed back.
        await self.database.run(workspaces.replace_password_hash, alice.workspace, "it was", "it is")
        again = await self.value("SELECT password_hash FROM workspaces WHERE id = %s", alice.workspace.uuid)
        self.assertEqual(again, stored)

    async def test_policy_change_for_two(self) -> None:
        """Two logins at once that find the old policy both go on to the end."""
        alice = await self.settle("alice")
        old = PasswordHasher(8, 1, 1).hash(alice.password)
        await self.store_hash(alice, old)
        clients = [await self.client(), await self.client()]
        await gatherResults([Deferred.fromCoroutine(self.until_device(one, alice)) for one in clients])
        for client in clients:
            second = await self.answered_challenge(client, alice)
            await self.assert_answer(client, "DEVICE", second, Status.OK)

    async def test_changed_while_it_is_stored_anew(self) -> None:
        """A password that is changed between its check and its storing is wrong."""
        alice = await self.settle("alice")
        old = PasswordHasher(8, 1, 1).hash(alice.password)
        await self.store_hash(alice, old)
        server = self.service.server
        checks = server.password_checks

        class ChangedMeanwhile:
            """Has the password changed once the old one was right."""

            async def run_for(
                self, client: Client, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
            ) -> T:
                result = await checks.run_for(client, work, *args, **kwargs)
                if getattr(work, "__name__", "") == "hash":
                    await store_hash(alice, CHEAP.hash("another"))
                return result

        store_hash = self.store_hash
        self.patch(server, "password_checks", ChangedMeanwhile())
        client = await self.client()
        await self.assert_answer(client, "LOGIN", self.login_fields(alice), Status.CONTINUE)
        fields = {"Password-Hash": alice.password}
        await self.assert_answer(client, "PASSWORD", fields, Status.AUTHENTICATION_FAILURE)


class DeviceTests(CommandTestCase):
    """The third step."""

    async def device(self, person: Person) -> dict[str, str | None]:
        (row,) = await self.rows(
            "SELECT key, info, status, address, last_login FROM devices WHERE workspace = %s AND id = %s",
            person.workspace.uuid,
            person.device.uuid,
        )
        return dict(row._asdict())

    async def test_fields(self) -> None:
        """Each field is checked in its turn; a bad one leaves the login where it was."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        low_order = CryptoString.of("CURVE25519", bytes(32))
        required = {
            "Device-ID": ("phone", ZERO),
            "Device-Key": ("key", "CURVE25519:abcde", str(low_order)),
        }
        optional = {"Device-Info": ("text", "XSALSA20: ")}
        await self.assert_fields(client, "DEVICE", alice.device_fields, required, optional)
        unknown = {**alice.device_fields, "Device-Key": "AES-256:abcde"}
        answer = await self.assert_answer(client, "DEVICE", unknown, Status.ALGORITHM_NOT_SUPPORTED)
        self.assertIn("CURVE25519", answer.info)
        await self.assert_answer(client, "DEVICE", await self.answered_challenge(client, alice), Status.OK)

    async def test_logged_in(self) -> None:
        """A right response logs in: not as the administrator, with the three directories, in its own."""
        alice = await self.settle("alice")
        await self.change("DELETE FROM folders")
        client = await self.client()
        await self.until_device(client, alice)
        second = await self.answered_challenge(client, alice)
        answer = await self.assert_answer(client, "DEVICE", second, Status.OK)
        self.assertEqual(answer.data, {"Is-Admin": "False"})
        own = f"/ wsp {alice.workspace}"
        paths = await self.rows("SELECT path FROM folders ORDER BY path")
        self.assertEqual([row.path for row in paths], [own, f"{own} new", f"{own} settings"])
        self.assertEqual(await self.value("SELECT count(*) FROM updates"), 0)
        await self.change(
            "INSERT INTO contents (workspace, key, size, data) SELECT id, id, 2, 'ab' FROM workspaces"
        )
        await self.change(
            "INSERT INTO files (folder, name, workspace, time, size, content)"
            " SELECT id, %s, workspace, 1, 2, workspace FROM folders WHERE path = %s",
            f"1.2.{NO_WORKSPACE}",
            own,
        )
        listing = await self.assert_answer(client, "LIST", {}, Status.OK)
        self.assertEqual(listing.data["FileCount"], "1")
        self.assertIsNotNone((await self.device(alice))["last_login"])
        (session,) = await self.rows("SELECT workspace, device, address FROM sessions")
        self.assertEqual(session, (alice.workspace.uuid, alice.device.uuid, "127.0.0.1"))

    async def test_administrator(self) -> None:
        """Who is named admin in the main domain is told so, and nobody else."""
        client, person = await self.admin()
        self.assertTrue(await self.log_in(await self.client(), person))
        await self.change("UPDATE names SET kind = 'former' WHERE user_id = 'admin'")
        self.assertFalse(await self.log_in(await self.client(), person))
        # Who was told so keeps it until the session ends.
        await self.assert_answer(client, "PREREG", {}, Status.OK)

    async def test_wrong_key(self) -> None:
        """A registered device proves itself with the key that is stored, no other."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        stranger = EncryptionPair.generate()
        fields = {"Device-ID": alice.device, "Device-Key": stranger.public, "Device-Info": "XSALSA20:new"}
        await self.assert_answer(client, "DEVICE", fields, Status.UNAUTHORIZED)
        device = await self.device(alice)
        self.assertEqual((device["key"], device["info"]), (str(alice.keys.public), None))
        await self.assert_answer(client, "DEVICE", await self.answered_challenge(client, alice), Status.OK)

    async def test_wrong_response(self) -> None:
        """A wrong response, or one for another device, ends the login and changes nothing."""
        alice = await self.settle("alice")
        client = await self.client()
        other = str(DeviceID.random()), str(EncryptionPair.generate().public)
        for change in (
            {"Response": "x"},
            {"Response": "ä"},
            {"Device-ID": other[0]},
            {"Device-Key": other[1]},
        ):
            await self.until_device(client, alice)
            second = {**await self.answered_challenge(client, alice), "Device-Info": "XSALSA20:new", **change}
            await self.assert_answer(client, "DEVICE", second, Status.UNAUTHORIZED)
            self.assertIsNone((await self.device(alice))["info"])
            await self.assert_answer(client, "DEVICE", LATER["DEVICE"], Status.BAD_REQUEST, MISMATCH)
            await self.assert_answer(client, "IDLE", {"CountUpdates": "0"}, Status.UNAUTHORIZED)
        await self.log_in(client, alice)

    async def test_second_step_without_response(self) -> None:
        """Without its fields the second step is out of place, and the first may be asked again."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        await self.answered_challenge(client, alice)
        await self.assert_answer(client, "DEVICE", alice.device_fields, Status.BAD_REQUEST, MISMATCH)
        second = await self.answered_challenge(client, alice)
        await self.assert_answer(client, "DEVICE", second, Status.OK)

    async def test_challenge_is_fresh(self) -> None:
        """Each challenge is another, 32 bytes in Base85."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        texts = []
        for _ in range(2):
            texts.append(str((await self.answered_challenge(client, alice))["Response"]))
            await self.assert_answer(client, "IDLE", {}, Status.BAD_REQUEST, MISMATCH)
        self.assertEqual([len(base64.b85decode(text)) for text in texts], [32, 32])
        self.assertNotEqual(*texts)

    async def test_device_info(self) -> None:
        """Info replaces what is stored after the right response only; without any the old stays."""
        alice = await self.settle("alice")
        client = await self.client()
        for given, stored in (
            ("XSALSA20:one", "XSALSA20:one"),
            (None, "XSALSA20:one"),
            ("null", "XSALSA20:one"),
        ):
            await self.until_device(client, alice)
            before = (await self.device(alice))["info"]
            fields = {**alice.device_fields, "Device-Info": given}
            answer = await self.assert_answer(client, "DEVICE", fields, Status.CONTINUE)
            self.assertEqual((await self.device(alice))["info"], before)
            opened = alice.keys.open(CryptoString.from_text(answer.data["Challenge"])).decode()
            await self.assert_answer(client, "DEVICE", {**fields, "Response": opened}, Status.OK)
            self.assertEqual((await self.device(alice))["info"], stored)
            await self.assert_answer(client, "LOGOUT", {}, Status.OK)

    async def test_by_status(self) -> None:
        """A pending device waits, a blocked one is sent away, an approved one logs in."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.change("UPDATE devices SET status = 'pending'")
        await self.until_device(client, alice)
        for _ in range(2):
            await self.assert_answer(client, "DEVICE", alice.device_fields, Status.PENDING)
        await self.change("UPDATE devices SET status = 'approved'")
        await self.assert_answer(client, "DEVICE", await self.answered_challenge(client, alice), Status.OK)
        await self.change("UPDATE devices SET status = 'blocked'")
        client = await self.client()
        await self.until_device(client, alice)
        await self.assert_answer(client, "DEVICE", alice.device_fields, Status.FORBIDDEN)
        await client.wait_closed()

    async def test_unknown_beside_others(self) -> None:
        """A new device beside a registered or approved one is not let in, and not stored."""
        alice = await self.settle("alice")
        client = await self.client()
        await self.until_device(client, alice)
        for status in ("registered", "approved"):
            await self.change("UPDATE devices SET status = %s", status)
            await self.assert_answer(client, "DEVICE", LATER["DEVICE"], Status.NOT_IMPLEMENTED)
        self.assertEqual(await self.value("SELECT count(*) FROM devices"), 1)

    async def test_first_device(self) -> None:
        """Where no device is registered the next one is, with what it says of itself."""
        alice = await self.settle("alice")
        await self.change("DELETE FROM devices")
        client = await self.client()
        await self.until_device(client, alice)
        fields = {**alice.device_fields, "Device-Info": "XSALSA20:mine"}
        answer = await self.assert_answer(client, "DEVICE", fields, Status.CONTINUE)
        self.assertEqual(await self.value("SELECT count(*) FROM devices"), 0)
        opened = alice.keys.open(CryptoString.from_text(answer.data["Challenge"])).decode()
        await self.assert_answer(client, "DEVICE", {**fields, "Response": opened}, Status.OK)
        device = await self.device(alice)
        self.assertEqual(
            (device["key"], device["info"], device["status"], device["address"]),
            (str(alice.keys.public), "XSALSA20:mine", "registered", "127.0.0.1"),
        )

    async def test_two_first_devices(self) -> None:
        """Of two first devices at once one is registered; the other's login starts over."""
        alice = await self.settle("alice")
        await self.change("DELETE FROM devices")
        twin = evolve(alice, device=DeviceID.random(), keys=EncryptionPair.generate())
        halves = []
        for person in (alice, twin):
            client = await self.client()
            await self.until_device(client, person)
            halves.append((client, await self.answered_challenge(client, person)))
        both = [Deferred.fromCoroutine(self.ask(client, "DEVICE", fields)) for client, fields in halves]
        answers = [await answer for answer in both]
        self.assertEqual({answer.status for answer in answers}, {Status.OK, Status.BAD_REQUEST})
        self.assertEqual(await self.value("SELECT count(*) FROM devices"), 1)

    async def test_what_changed_since_the_challenge(self) -> None:
        """Workspace and device are looked at again when the response comes."""
        changes = {
            "UPDATE workspaces SET status = 'suspended' WHERE id = %s": Status.UNAVAILABLE,
            "UPDATE workspaces SET status = 'archived', password_hash = NULL WHERE id = %s": Status.NOT_FOUND,
            "DELETE FROM mailboxes WHERE workspace = %s": Status.NOT_FOUND,
            "UPDATE workspaces SET password_hash = 'another' WHERE id = %s": Status.BAD_REQUEST,
            "UPDATE devices SET status = 'blocked' WHERE workspace = %s": Status.BAD_REQUEST,
            "UPDATE devices SET key = 'CURVE25519:abcde' WHERE workspace = %s": Status.BAD_REQUEST,
        }
        for change, status in changes.items():
            person = await self.settle()
            client = await self.client()
            await self.until_device(client, person)
            second = await self.answered_challenge(client, person)
            await self.change(change, person.workspace.uuid)
            await self.assert_answer(client, "DEVICE", second, status)
            await self.assert_answer(client, "LIST", {}, Status.UNAUTHORIZED)
            # The login starts over.
            await self.assert_answer(client, "DEVICE", LATER["DEVICE"], Status.BAD_REQUEST, MISMATCH)
        self.assertEqual(await self.value("SELECT count(*) FROM sessions"), 0)

    async def test_two_sessions_of_a_device(self) -> None:
        """A device that is logged in twice is let in, and the log says so."""
        lines = self.captured_log()
        alice = await self.settle("alice")
        await self.enter(alice)
        self.assertFalse([line for line in lines if "logged in twice" in line])
        await self.enter(alice)
        (line,) = [line for line in lines if "logged in twice" in line]
        self.assertIn(str(alice.device), line)
        self.assertNotIn(alice.password, "".join(lines))

    async def test_process_taken_for_dead(self) -> None:
        """A process that others took for dead, after a while without database, lets clients in again."""
        alice = await self.settle("alice")
        await self.change("DELETE FROM processes")
        await self.enter(alice)
        self.assertEqual(await self.value("SELECT count(*) FROM sessions"), 1)

    async def test_dead_process(self) -> None:
        """A process that was silent for a minute is forgotten, with its sessions; others stay."""
        alice = await self.settle("alice")
        await self.enter(alice)
        run = self.database.run
        silences = {uuid4(): processes.DEAD_SECONDS + 1, uuid4(): processes.DEAD_SECONDS // 2}
        for process in silences:
            await run(processes.enroll, process, "another")
        for process, seconds in silences.items():
            there = Presented(alice.device, alice.keys.public, None, f"silent for {seconds}")
            await run(sessions.add_session, uuid4(), process, alice.workspace, there)
            await self.change(
                "UPDATE processes SET seen = now() - %s * interval '1 second' WHERE id = %s", seconds, process
            )
        await run(processes.enroll, self.service.assembly.sessions.process, "this one")
        rows = await self.rows("SELECT address FROM sessions ORDER BY address")
        self.assertEqual([row.address for row in rows], ["127.0.0.1", "silent for 30"])

    async def test_refusals_of_the_client(self) -> None:
        """The client of this package reports a refusal by its status."""
        alice = await self.settle("alice")
        alice.password += "!"
        with self.assertRaises(RequestRefused) as caught:
            await self.enter(alice)
        self.assertEqual(caught.exception.status, Status.AUTHENTICATION_FAILURE)
