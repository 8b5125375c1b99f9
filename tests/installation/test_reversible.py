"""Files and directories that vanish again if an installation fails."""

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.installation.reversible import ReversibleFiles
from tests.directories import scratch_of


class ReversibleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = scratch_of(self, "reversible")
        self.files = ReversibleFiles()

    def test_removed(self) -> None:
        """What was made is removed; what was there stays, and a directory with something else in it."""
        (self.directory / "there").mkdir()
        for name in ("there", "a/b", "c"):
            self.files.directory(self.directory / name, 0o700)
            self.files.file(self.directory / name / "file", b"content")
        (self.directory / "c" / "other").write_text("precious")
        self.assertEqual(stat.S_IMODE((self.directory / "a/b").stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.directory / "a/b/file").stat().st_mode), 0o600)
        self.files.remove()
        left = {str(path.relative_to(self.directory)) for path in self.directory.rglob("*")}
        self.assertEqual(left, {"there", "c", "c/other"})

    def test_kept(self) -> None:
        """What is to stay stays."""
        path = self.directory / "file"
        self.files.file(path, b"content")
        self.files.keep()
        self.files.remove()
        self.assertEqual(path.read_bytes(), b"content")

    def test_replaced_directory(self) -> None:
        """Only the directory that was made gets the mode, not one that a link in its place leads to."""
        victim, path, make = self.directory / "victim", self.directory / "new", Path.mkdir
        victim.mkdir(0o711)
        victim.chmod(0o711)

        def replace(made: Path, mode: int = 0o777) -> None:
            make(made, mode)
            made.rename(self.directory / "aside")
            made.symlink_to(victim)

        self.patch(Path, "mkdir", replace)
        self.assertRaises(OSError, self.files.directory, path, 0o700)
        self.assertEqual(stat.S_IMODE(victim.stat().st_mode), 0o711)

    def test_never_over(self) -> None:
        """A file that is there is not written, a link not followed."""
        path = self.directory / "file"
        path.symlink_to(self.directory / "elsewhere")
        self.assertRaises(FileExistsError, self.files.file, path, b"content")
        self.files.remove()
        self.assertEqual([entry.name for entry in self.directory.iterdir()], ["file"])

    def test_replaced(self) -> None:
        """Only what was made is handed over, not what somebody put in its place."""
        path, other = self.directory / "file", self.directory / "other"
        self.files.file(path, b"content")
        self.files.hand_over(path)
        other.write_text("precious")
        other.chmod(0o640)
        other.replace(path)
        self.assertRaises(FileExistsError, self.files.hand_over, path)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
