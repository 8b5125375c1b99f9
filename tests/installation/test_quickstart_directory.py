"""The directory of quickstart, up to where a PostgreSQL would be needed."""

import contextlib

from twisted.trial.unittest import SynchronousTestCase

from mensagod.installation.faults import InstallationFault
from mensagod.installation.founding import Choices
from mensagod.installation.quickstart_directory import QuickstartDirectory
from tests.installation.places import make_directory


class QuickstartDirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = QuickstartDirectory(make_directory(self) / "var" / "serverconfig.toml")

    def test_two_at_once(self) -> None:
        """Two processes do not set one directory up."""
        other: list[Exception] = []

        def choose() -> Choices:
            with contextlib.suppress(InstallationFault):
                self.place.set_up(choose, {})
                other.append(AssertionError("not refused"))
            raise InstallationFault("enough")

        self.assertRaises(InstallationFault, self.place.set_up, choose, {})
        self.assertEqual(other, [])
        self.assertFalse(self.place.directory.exists())

    def test_refused(self) -> None:
        """Where the choice is refused nothing is left."""

        def choose() -> Choices:
            raise InstallationFault("no")

        self.assertRaises(InstallationFault, self.place.set_up, choose, {})
        self.assertFalse(self.place.directory.exists())

    def test_used_code(self) -> None:
        """The emptied file of a code that was used is removed at the next start; one that is needed stays."""
        self.place.directory.mkdir()
        self.place.config.write_text("")
        for content, left in (("a code", True), ("", False)):
            self.place.code.write_text(content)
            self.assertFalse(self.place.set_up(lambda: self.fail("set up anew"), {}))
            self.assertEqual(self.place.code.exists(), left)
