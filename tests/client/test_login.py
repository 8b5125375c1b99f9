"""Logging in: each side proves who it is (spec 04, *Logging in*)."""

import base64
import os
from collections.abc import Callable

from mensagod.client.devices import DeviceCredentials
from mensagod.client.errors import Disconnected, RequestRefused, ServerNotProven, UnexpectedAnswer
from mensagod.client.login import LoginResult, log_in, present_device
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.status import Status
from mensagod.values.identity import DeviceID, WorkspaceID
from mensagod.wire.messages import Request, Response
from tests.client.scripted import ClientTestCase, Reply, ok, reply

WID = WorkspaceID.from_text("22222222-2222-2222-2222-222222222222")
GO_ON = reply(Status.CONTINUE)


class LoginTests(ClientTestCase):
    """Three steps, with a challenge each way."""

    def setUp(self) -> None:
        """A server with a key and a device with a key."""
        super().setUp()
        self.organization = EncryptionPair.generate()
        self.device = DeviceCredentials(DeviceID.random(), EncryptionPair.generate())
        self.nonce = base64.b85encode(os.urandom(32))

    def prove(self, request: Request) -> Response:
        """Answer the client's challenge as the right server does."""
        opened = self.organization.open(CryptoString.from_text(request.data["Challenge"])).decode()
        return reply(Status.CONTINUE, Response=opened, Password_Algorithm="", Password_Salt="")

    def challenge(self, text: bytes) -> Response:
        """Challenge the device with some text."""
        return reply(Status.CONTINUE, Challenge=str(self.device.keys.encryption_key.seal(text)))

    def check(self, answer: Response) -> Callable[[Request], Response]:
        """Say ``answer`` if the device opened the challenge."""

        def line(request: Request) -> Response:
            right = request.data.get("Response") == self.nonce.decode()
            return answer if right else reply(Status.UNAUTHORIZED)

        return line

    def log_in(self, *script: Reply) -> LoginResult:
        """Log in."""
        self.connection = self.open(*script)
        key = self.organization.public
        return self.run_(log_in(self.connection, WID, "a password hash", self.device, key))

    def fail_to_log_in(self, error: type[Exception], *script: Reply) -> Exception:
        """Give the error of a login."""
        self.connection = self.open(*script)
        key = self.organization.public
        failed: Exception = self.failure(
            log_in(self.connection, WID, "a password hash", self.device, key), error
        )
        return failed

    def test_user(self) -> None:
        """A user logs in; all that the server was asked is what the spec says."""
        found = self.log_in(self.prove, GO_ON, self.challenge(self.nonce), self.check(ok(Is_Admin="False")))
        self.assertEqual(found, LoginResult(is_admin=False, key_info=None))
        login, password, first, second = (request.data for request in self.server.requests)
        self.assertEqual(self.server.actions, ["LOGIN", "PASSWORD", "DEVICE", "DEVICE"])
        self.assertEqual((login["Login-Type"], login["Workspace-ID"]), ("PLAIN", str(WID)))
        opened = self.organization.open(CryptoString.from_text(login["Challenge"]))
        self.assertEqual(len(base64.b85decode(opened)), 32)
        self.assertEqual(password, {"Password-Hash": "a password hash"})
        self.assertEqual(
            first, {"Device-ID": str(self.device.id), "Device-Key": str(self.device.keys.public)}
        )
        self.assertEqual(second, first | {"Response": self.nonce.decode()})

    def test_administrator(self) -> None:
        """The server says who the administrator is."""
        end = self.check(ok(Is_Admin="True"))
        self.assertTrue(self.log_in(self.prove, GO_ON, self.challenge(self.nonce), end).is_admin)

    def test_approved(self) -> None:
        """A device that has just been approved gets the user's keys."""
        answer = reply(Status.APPROVED, Is_Admin="False", Key_Info="CURVE25519:keys")
        found = self.log_in(self.prove, GO_ON, self.challenge(self.nonce), self.check(answer))
        self.assertEqual(found.key_info, CryptoString("CURVE25519", "keys"))

    def test_fresh_challenges(self) -> None:
        """No two logins use the same challenge."""
        sent = set()
        for _ in range(2):
            self.fail_to_log_in(RequestRefused, reply(Status.NOT_FOUND))
            sealed = CryptoString.from_text(self.server.requests[0].data["Challenge"])
            sent.add(self.organization.open(sealed))
        self.assertEqual(len(sent), 2)

    def test_wrong_server(self) -> None:
        """A server that cannot open the challenge never gets the password."""
        for answer in (
            GO_ON,
            reply(Status.CONTINUE, Response="guessed"),
            reply(Status.CONTINUE, Response="é"),
        ):
            self.fail_to_log_in(ServerNotProven, answer)
            self.assertEqual(self.server.actions, ["LOGIN"])
            self.failureResultOf(self.connection.request("IDLE"), Disconnected)

    def test_refusals(self) -> None:
        """A refusal at any step is the caller's to see; the connection stays."""
        for status, script in (
            (Status.PENDING, [reply(Status.PENDING)]),
            (Status.AUTHENTICATION_FAILURE, [self.prove, reply(Status.AUTHENTICATION_FAILURE)]),
            (Status.FORBIDDEN, [self.prove, GO_ON, reply(Status.FORBIDDEN)]),
            (Status.UNAUTHORIZED, [self.prove, GO_ON, self.challenge(b"A" * 40), self.check(ok())]),
        ):
            error = self.fail_to_log_in(RequestRefused, *script)
            self.assertIsInstance(error, RequestRefused)
            self.assertEqual(getattr(error, "status", None), status)
            self.assertFalse(self.server.lost)

    def test_approval(self) -> None:
        """A new device waits for approval and tries again on the same connection."""
        self.fail_to_log_in(RequestRefused, self.prove, GO_ON, reply(Status.APPROVAL_REQUIRED))
        answer = reply(Status.APPROVED, Is_Admin="False", Key_Info="CURVE25519:keys")
        self.server.script = [reply(Status.PENDING), self.challenge(self.nonce), self.check(answer)]
        error = self.failure(present_device(self.connection, self.device), RequestRefused)
        self.assertEqual(error.status, Status.PENDING)
        self.assertIsNotNone(self.run_(present_device(self.connection, self.device)).key_info)

    def test_no_oracle(self) -> None:
        """The device opens nothing for the server that is not a challenge."""
        for text in (b"XSALSA20:a secret", b"", b"\xff", b"A" * 39, b"A" * 45, b'"' * 40):
            self.fail_to_log_in(UnexpectedAnswer, self.prove, GO_ON, self.challenge(text))
            self.assertEqual(self.server.actions, ["LOGIN", "PASSWORD", "DEVICE"])
        stranger = EncryptionPair.generate().encryption_key.seal(self.nonce)
        for challenge in (str(stranger), "", "x"):
            answer = reply(Status.CONTINUE, Challenge=challenge)
            self.fail_to_log_in(UnexpectedAnswer, self.prove, GO_ON, answer)

    def test_absurd_end(self) -> None:
        """An end that does not say who logged in is none."""
        for answer in (ok(), ok(Is_Admin="perhaps"), ok(Is_Admin="True", Key_Info="x")):
            self.fail_to_log_in(
                UnexpectedAnswer, self.prove, GO_ON, self.challenge(self.nonce), self.check(answer)
            )
