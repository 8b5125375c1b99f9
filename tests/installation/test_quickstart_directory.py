"""The directory of quickstart, up to where a PostgreSQL would be needed."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mensagod.installation import quickstart_directory
from mensagod.installation.faults import InstallationFault
from mensagod.installation.founding import Choices, Founded, found
from mensagod.installation.quickstart_directory import QuickstartDirectory
from mensagod.process.accounts import service_account
from tests.accounts import IS_ROOT
from tests.installation.places import ENVIRONMENT, choose, fresh_database, make_directory, url_of


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


class ReplacedTests(SynchronousTestCase):
    """Where others own the way to the directory, they can put a link to another one in its place."""

    def setUp(self) -> None:
        self.top = make_directory(self)
        self.url = url_of(fresh_database(self))
        self.place = QuickstartDirectory(self.top / "var" / "serverconfig.toml")
        self.aside, self.victim = self.top / "aside", self.top / "victim"
        self.victim.mkdir()

    def choose(self) -> Choices:
        return choose(self.place.directory, self.url, top_dir=Path("data"))

    def replace(self) -> None:
        self.place.directory.rename(self.aside)
        self.place.directory.symlink_to(self.victim)

    def test_before(self) -> None:
        """A directory that was not looked through is not filled."""

        def choose() -> Choices:
            self.replace()
            return self.choose()

        self.assertRaises(InstallationFault, self.place.set_up, choose, ENVIRONMENT)
        self.assertEqual(list(self.victim.iterdir()), [])

    def test_after(self) -> None:
        """What is given to the account is the directory that was filled."""

        def replace(choices: Choices, environ: Mapping[str, str]) -> Founded:
            founded = found(choices, environ)
            self.replace()
            return founded

        self.top.chmod(0o777)
        self.patch(quickstart_directory, "found", replace)
        self.assertRaises(InstallationFault, self.place.set_up, self.choose, ENVIRONMENT)
        given = service_account("mensagod").uid if IS_ROOT else os.geteuid()
        self.assertEqual((self.victim.stat().st_uid, self.aside.stat().st_uid), (os.geteuid(), given))
