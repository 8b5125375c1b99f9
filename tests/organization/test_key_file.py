"""The file with the key of the organization's keys."""

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mensagod.crypto.sealing import SecretKey
from mensagod.organization import key_file
from mensagod.organization.key_file import (
    OrganizationKeyFault,
    adopt_next,
    next_path,
    read_candidates,
    read_organization_key,
    write_next,
    write_organization_key,
)
from tests.accounts import IS_ROOT, account_with_own_group, account_with_shared_group


class OrganizationKeyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def write(self, content: bytes, mode: int = 0o600) -> None:
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(content)
        self.path.chmod(mode)

    def refused(self, word: str) -> None:
        error = self.assertRaises(OrganizationKeyFault, read_organization_key, self.path)
        self.assertIn(word, str(error))
        self.assertIn(str(self.path), str(error))
        self.assertEqual(len(str(error).splitlines()), 1)

    def test_round_trip(self) -> None:
        """What was written is read: the key opens what it sealed before."""
        key = SecretKey.generate()
        self.write(write_organization_key(key))
        box = key.seal(b"secret")
        self.assertEqual(read_organization_key(self.path).open(box), b"secret")

    def test_form(self) -> None:
        """The content is the text of the key and a newline."""
        key = SecretKey.generate()
        self.assertEqual(write_organization_key(key), f"{key.secret}\n".encode())

    def test_missing(self) -> None:
        """A missing file is named, with what to do."""
        self.refused("missing")

    def test_not_a_file(self) -> None:
        """A directory or a pipe in its place is refused, and does not hold anybody up."""
        os.mkfifo(self.path, 0o600)
        self.refused("not a regular file")
        self.path.unlink()
        self.path.mkdir(0o700)
        self.refused("not a regular file")

    def test_open_to_others(self) -> None:
        """A file that group or others could read or write is refused, with the cure."""
        for mode in (0o640, 0o604, 0o620, 0o602):
            self.write(write_organization_key(SecretKey.generate()), mode)
            self.refused("chmod 600")

    def test_other_keys(self) -> None:
        """Keys of another kind or size are refused."""
        for content in (b"", b"\n", b"XSALSA20:\n", b"XSALSA20:0000\n", b"ED25519:" + b"0" * 40 + b"\n"):
            self.write(content)
            self.refused("does not contain a key")

    @settings(deadline=None)
    @given(st.binary(max_size=80))
    def test_anything(self, content: bytes) -> None:
        """Any content is a key or refused with our own error, which does not show it."""
        self.write(content)
        try:
            read_organization_key(self.path)
        except OrganizationKeyFault as error:
            self.assertIn(str(self.path), str(error))


class RootsKeyTests(SynchronousTestCase):
    """A file of root's, which the server's account only reads."""

    def setUp(self) -> None:
        self.account = account_with_own_group()
        self.path = Path(self.mktemp())
        self.path.write_bytes(write_organization_key(SecretKey.generate()))
        self.give(0, self.account.gid, 0o640)

    def give(self, uid: int, gid: int, mode: int) -> None:
        os.chown(self.path, uid, gid)
        self.path.chmod(mode)

    def test_shared(self) -> None:
        """The group of the account may read it; the next key is like it."""
        read_organization_key(self.path)
        write_next(self.path, SecretKey.generate())
        found = next_path(self.path).stat()
        self.assertEqual((found.st_uid, found.st_gid), (0, self.account.gid))
        self.assertEqual(found.st_mode & 0o7777, 0o640)

    def test_open(self) -> None:
        """Nobody else may: the cure depends on whose it is."""
        shared, own, uid = account_with_shared_group().gid, self.account.gid, self.account.uid
        for gid, owner, mode, cure in (
            (own, 0, 0o644, "run `chmod 640"),
            (own, 0, 0o660, "run `chmod 640"),
            (own, uid, 0o640, "run `chmod 600"),
            (0, 0, 0o640, "run `chmod 600"),
            (shared, 0, 0o640, "a group with several accounts"),
        ):
            self.give(owner, gid, mode)
            error = self.assertRaises(OrganizationKeyFault, read_organization_key, self.path)
            self.assertIn(cure, str(error))


class CandidatesTests(SynchronousTestCase):
    """The file, and the next one while it is being changed."""

    def test_changed_while_read(self) -> None:
        """A next key that takes the place of the present one between the two looks is read all the same."""
        path, new = Path(self.mktemp()), SecretKey.generate()
        path.write_bytes(write_organization_key(SecretKey.generate()))
        path.chmod(0o600)
        write_next(path, new)
        read = key_file.read_organization_key

        def read_slowly(candidate: Path) -> SecretKey:
            try:
                return read(candidate)
            finally:
                if next_path(path).exists():
                    adopt_next(path)

        self.patch(key_file, "read_organization_key", read_slowly)
        self.assertIn(new, read_candidates(path))


if not IS_ROOT:
    # Only root gives files away.
    del RootsKeyTests
