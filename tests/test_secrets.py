"""What must not be seen in logs and tracebacks."""

from twisted.trial.unittest import SynchronousTestCase

from mensagod.requests.passwords import NewPassword, PasswordFields
from mensagod.storage.preregistrations import Preregistration
from mensagod.storage.workspaces import Credentials
from mensagod.values.identity import Domain, WorkspaceID
from mensagod.wire.messages import Request

SECRET = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$" + "A" * 43


class RepresentationTests(SynchronousTestCase):
    def test_hidden(self) -> None:
        """The representation of a value shows no secret that it holds."""
        for value in (
            NewPassword.from_hash(SECRET),
            PasswordFields(password_hash=SECRET),
            Credentials(SECRET),
            Preregistration(WorkspaceID.random(), Domain("example.com"), SECRET),
            Request("PASSWORD", {"Password-Hash": SECRET}),
        ):
            self.assertNotIn(SECRET, repr(value))
            self.assertIn(type(value).__name__, repr(value))
