"""What there is to say of an installation that begins: its administrator's code."""

import os

from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.passwords import PasswordHasher
from mensagod.installation.overview import Overview
from mensagod.process.accounts import acting_as
from tests.accounts import IS_ROOT, account_with_own_group
from tests.directories import scratch_of
from tests.keycards.cards import Organization


class UnusedCodeTests(SynchronousTestCase):
    """The file that keeps the code until it is used."""

    def setUp(self) -> None:
        self.directory = scratch_of(self, "overview")
        self.file = self.directory / "registration-code"
        self.file.write_text("some-code\n")

    def unused_code(self, code: str | None) -> str | None:
        """Ask for it where the database has the hash of ``code``, or none any more."""
        code_hash = None if code is None else PasswordHasher(8, 1, 1).hash(code)
        return Overview(Organization().current, None, code_hash).unused_code(self.file)

    def test_unused(self) -> None:
        """It is given while it is the one to register with, and kept in any case."""
        self.assertEqual(self.unused_code("some-code"), "some-code")
        self.assertIsNone(self.unused_code("another-code"))
        self.assertTrue(self.file.exists())

    def test_used(self) -> None:
        """Once it was used its file goes; without a file there is none to give."""
        self.assertIsNone(self.unused_code(None))
        self.assertFalse(self.file.exists())
        self.assertIsNone(self.unused_code("some-code"))

    def test_directory_of_another(self) -> None:
        """Where the server cannot remove the file it empties it."""
        self.directory.chmod(0o555)
        self.addCleanup(self.directory.chmod, 0o755)
        account = account_with_own_group() if IS_ROOT else None
        if account is not None:
            os.chown(self.file, account.uid, account.gid)
        with acting_as(account):
            self.assertIsNone(self.unused_code(None))
        self.assertEqual(self.file.read_bytes(), b"")
