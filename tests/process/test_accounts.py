"""Accounts of this machine, without being root unless we are."""

import os
import pwd

from twisted.trial.unittest import SynchronousTestCase

from mensagod.process.accounts import AccountError, UnixAccount, can_reach, give, service_account
from tests.directories import scratch_of

OTHER = UnixAccount("nobody", 54321, 54321)


class ServiceAccountTests(SynchronousTestCase):
    def test_named(self) -> None:
        """The configured account is taken if there is one."""
        for entry in pwd.getpwall():
            if entry.pw_uid != 0:
                self.assertEqual(
                    service_account(entry.pw_name), UnixAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)
                )

    def test_fallback(self) -> None:
        """An account that is not there means ``nobody``."""
        self.assertEqual(service_account("no-such-account").name, "nobody")

    def test_root(self) -> None:
        """Root is refused: the server never serves as it."""
        self.assertRaises(AccountError, service_account, "root")


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.top = scratch_of(self, "accounts")
        self.file = self.top / "directory" / "file"
        self.file.parent.mkdir(mode=0o755)
        self.file.write_text("text")
        self.file.chmod(0o644)

    def test_reachable(self) -> None:
        """What all may pass and read is reachable; what does not exist keeps nobody."""
        self.assertIsNone(can_reach(self.file, OTHER))
        self.assertIsNone(can_reach(self.file.parent / "none" / "such", OTHER))

    def test_closed_directory(self) -> None:
        """A closed directory on the way is named, the first of several."""
        self.top.chmod(0o700)
        self.file.parent.chmod(0o700)
        self.assertEqual(can_reach(self.file, OTHER), self.top.resolve())

    def test_closed_file(self) -> None:
        """So is a file that may not be read."""
        self.file.chmod(0o600)
        self.assertEqual(can_reach(self.file, OTHER), self.file.resolve())

    def test_owner(self) -> None:
        """The owner falls in the owner's class, even where others have more."""
        owner = UnixAccount("nobody", os.geteuid(), OTHER.gid)
        self.file.chmod(0o604)
        self.assertIsNone(can_reach(self.file, owner))
        self.file.chmod(0o044)
        self.assertEqual(can_reach(self.file, owner), self.file.resolve())

    def test_symbolic_link(self) -> None:
        """A link is judged by where it leads."""
        link = self.top / "link"
        link.symlink_to(self.file.parent)
        self.file.parent.chmod(0o700)
        self.assertEqual(can_reach(link / "file", OTHER), self.file.parent.resolve())

    def test_give(self) -> None:
        """All in a directory goes to the account; what a link leads to does not."""
        account = OTHER if os.geteuid() == 0 else UnixAccount("me", os.geteuid(), os.getegid())
        outside = self.top / "outside"
        outside.write_text("not given")
        before = outside.stat().st_uid
        (self.file.parent / "link").symlink_to(outside)
        (self.file.parent / "deeper").mkdir()
        give([self.file.parent], account)
        for path in (self.file.parent, self.file, *self.file.parent.iterdir()):
            self.assertEqual(path.lstat().st_uid, account.uid)
        self.assertEqual(outside.stat().st_uid, before)
