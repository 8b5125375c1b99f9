"""Whose the files are that the server must read and not change."""

import grp
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.process import ownership
from mensagod.process.accounts import acting_as, is_own_group, service_account
from mensagod.process.ownership import Ownership
from tests.accounts import IS_ROOT, account_with_own_group, account_with_shared_group
from tests.directories import scratch_of


class GroupTests(SynchronousTestCase):
    """Who is in a group."""

    def test_own(self) -> None:
        """A group of one account is its own; one of several is nobody's, nor is one that does not exist."""
        self.assertTrue(is_own_group(account_with_own_group().gid))
        self.assertFalse(is_own_group(54321))

    def test_members(self) -> None:
        """Whoever is listed as a member counts, even one that this machine does not know."""
        account = account_with_own_group()
        group = grp.getgrgid(account.gid)
        for members, own in (([], True), ([account.name], True), (["root"], False), (["a", "b"], False)):
            listed = grp.struct_group((group.gr_name, group.gr_passwd, group.gr_gid, members))
            self.patch(grp, "getgrgid", {account.gid: listed}.__getitem__)
            self.assertEqual(is_own_group(account.gid), own, members)


class OwnUserTests(SynchronousTestCase):
    """Where all is ours."""

    def test_ours(self) -> None:
        """Nothing is given away, and nobody else reads it."""
        self.assertEqual(Ownership.in_directory(Path("/"), None), Ownership(-1, -1, 0o600))
        path = Path(self.mktemp())
        path.write_text("")
        path.chmod(0o640)
        before = path.stat()
        with path.open() as stream:
            Ownership.private_to(None).apply(stream.fileno())
        after = path.stat()
        self.assertEqual((after.st_uid, after.st_gid), (before.st_uid, before.st_gid))
        self.assertEqual(after.st_mode & 0o7777, 0o600)


class RootTests(SynchronousTestCase):
    """Where root makes them for an account."""

    def setUp(self) -> None:
        self.directory = scratch_of(self, "ownership")
        self.account = account_with_own_group()

    def test_roots(self) -> None:
        """In a directory of root's alone they are root's, and the account's group may read them."""
        chosen = Ownership.in_directory(self.directory, self.account)
        self.assertEqual(chosen, Ownership(0, self.account.gid, 0o640))
        self.assertTrue(chosen.is_roots)
        self.assertFalse(Ownership.private_to(self.account).is_roots)
        path = self.directory / "file"
        path.write_text("content")
        with path.open() as stream:
            chosen.apply(stream.fileno())
        self.assertEqual(Ownership.of(path), chosen)
        with acting_as(self.account):
            self.assertEqual(path.read_text(), "content")
            self.assertRaises(PermissionError, path.write_text, "other")
            self.assertRaises(PermissionError, path.unlink)
        other = service_account("nobody")
        with acting_as(other):
            self.assertRaises(PermissionError, path.read_text)

    def test_shared_group(self) -> None:
        """A group that others are in gets nothing: neither that of ``nobody``, nor another one."""
        for account in (service_account("nobody"), account_with_shared_group()):
            chosen = Ownership.in_directory(self.directory, account)
            self.assertEqual(chosen, Ownership(account.uid, account.gid, 0o600))

    def test_fallback(self) -> None:
        """``nobody`` is many programs, also where its group is its own."""
        self.patch(ownership, "is_own_group", lambda gid: True)
        self.assertEqual(Ownership.in_directory(self.directory, service_account("nobody")).mode, 0o600)

    def test_directory_of_another(self) -> None:
        """In a directory that others can change they are the account's, as root would not obey them."""
        os.chown(self.directory, self.account.uid, self.account.gid)
        chosen = Ownership.in_directory(self.directory, self.account)
        self.assertEqual(chosen, Ownership(self.account.uid, self.account.gid, 0o600))

    def test_of(self) -> None:
        """What is not safely shared is followed by a file for its owner alone."""
        path = self.directory / "file"
        path.write_text("")
        shared = account_with_shared_group().gid
        for uid, gid, mode in (
            (0, self.account.gid, 0o644),
            (0, self.account.gid, 0o660),
            (0, 0, 0o640),
            (0, shared, 0o640),
            (self.account.uid, self.account.gid, 0o640),
        ):
            os.chown(path, uid, gid)
            path.chmod(mode)
            self.assertEqual(Ownership.of(path), Ownership(uid, gid, 0o600))


if not IS_ROOT:
    # Only root gives files away.
    del RootTests
