"""Root and a configuration that is not root's alone."""

import os
import pwd
import subprocess
from pathlib import Path

from twisted.internet import reactor
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import ConfigFaults
from mensagod.crypto.sealing import SecretKey
from mensagod.organization.key_file import OrganizationKeyFault, write_next
from mensagod.process.accounts import AccountError, UnixAccount, acting_as, child_arguments, fallback_warning
from mensagod.process.trusted_configuration import load_guarded, reader_of, writing_beside
from mensagod.server.tap import Options, assemble
from mensagod.server.tls import CertificateFault
from tests.cli.running import run
from tests.directories import scratch_of

NOBODY = pwd.getpwnam("nobody")
OTHER = next(entry for entry in pwd.getpwall() if entry.pw_uid not in {0, NOBODY.pw_uid})


class OwnershipTestCase(SynchronousTestCase):
    """A directory of root's with a configuration in it; nothing of it where we are not root."""

    def setUp(self) -> None:
        self.directory = scratch_of(self, "owner")
        self.config = self.directory / "serverconfig.toml"
        self.write()

    def write(self, *lines: str, user: str = "nobody", mode: int = 0o600) -> None:
        """Write a configuration that serves as ``user``."""
        text = "\n".join(["[global]", 'domain = "example.com"', f'user = "{user}"', *lines])
        self.config.write_text(text)
        self.config.chmod(mode)

    def give(self, *paths: Path, entry: pwd.struct_passwd = NOBODY) -> None:
        """Give files to an account."""
        for path in paths or (self.config,):
            os.chown(path, entry.pw_uid, entry.pw_gid)

    def secret(self) -> Path:
        """Make a file that only root can read."""
        path = self.directory / "root-only"
        path.write_text("root's")
        path.chmod(0o600)
        return path

    def refusal(self) -> str:
        """Give the one line with which the configuration is refused."""
        text = str(self.assertRaises(AccountError, load_guarded, self.config, {}))
        self.assertNotIn("\n", text)
        return text


class ReaderTests(OwnershipTestCase):
    """With whose rights it is read."""

    def test_roots_own(self) -> None:
        """What is root's alone is read as ever."""
        self.assertIsNone(load_guarded(self.config, {}).reader)

    def test_given(self) -> None:
        """What belongs to the account is read as the account."""
        self.give()
        reader = load_guarded(self.config, {}).reader
        self.assertEqual(reader, UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid))
        self.assertEqual((os.geteuid(), os.getegid()), (0, 0))

    def test_directory_of_account(self) -> None:
        """A file of root's in a directory that others can change is refused; so is one that others write."""
        self.give(self.directory)
        self.assertIn(f"others can change {self.directory}", self.refusal())
        os.chown(self.directory, 0, 0)
        for path, mode in ((self.directory, 0o1777), (self.directory, 0o775), (self.config, 0o660)):
            before = path.stat().st_mode & 0o7777
            path.chmod(mode)
            self.assertIn(f"others can change {path}", self.refusal())
            path.chmod(before)
        self.assertIsNone(reader_of(self.config))

    def test_link(self) -> None:
        """A link is judged by where it leads, and by where it lies."""
        trap = self.directory / "trap"
        trap.mkdir()
        link = trap / "serverconfig.toml"
        link.symlink_to("../serverconfig.toml")
        self.assertIsNone(reader_of(link))
        self.give(trap)
        self.assertRaises(AccountError, reader_of, link)
        (self.directory / "way").symlink_to(trap)
        self.assertRaises(AccountError, reader_of, self.directory / "way" / ".." / "trap" / link.name)

    def test_circle(self) -> None:
        """A link that leads to itself is an ordinary fault of the configuration."""
        link = self.directory / "circle"
        link.symlink_to(link)
        self.assertRaises(ConfigFaults, load_guarded, link, {})

    def test_missing(self) -> None:
        """So is a file that is not there."""
        self.assertRaises(ConfigFaults, load_guarded, self.directory / "none", {})

    def test_unknown_owner(self) -> None:
        """The number of no account is refused."""
        os.chown(self.config, 54321, 54321)
        self.assertIn("54321", self.refusal())


class RefusalTests(OwnershipTestCase):
    """What root does not do for such a configuration."""

    def test_other_account(self) -> None:
        """It serves as nobody but the owner."""
        self.write(user=OTHER.pw_name)
        self.give()
        self.assertIn(f"(global.user) is {OTHER.pw_name}", self.refusal())
        self.give(entry=OTHER)
        self.assertIsNotNone(load_guarded(self.config, {}).reader)

    def test_verbs(self) -> None:
        """No verb does more than say so, in one line; neither does ``twistd``."""
        self.give(entry=OTHER)
        for verb in (["run"], ["quickstart"], ["org", "show"], ["org", "rekey"], ["card", "show", "admin"]):
            outcome = run("--config", self.config, *verb)
            self.assertEqual(outcome.status, 1)
            self.assertIn(f"belongs to {OTHER.pw_name}", outcome.complaint)
        options = Options()
        fault = self.assertRaises(UsageError, options.parseOptions, ["--config", str(self.config)])
        self.assertIn(f"belongs to {OTHER.pw_name}", str(fault))

    def test_verbs_act(self) -> None:
        """A verb acts as the owner until it ends, so that it reads nothing that the owner cannot."""
        files = (f'{name} = "{self.secret()}"' for name in ("tls_certificate", "tls_key"))
        self.write("[network]", 'listen = ["tls:0"]', *files)
        self.give()
        outcome = run("--config", self.config, "org", "rotate")
        self.assertEqual(outcome.status, 1)
        self.assertIn("Permission denied", outcome.complaint)
        self.assertEqual(os.geteuid(), 0)

    def test_fallback(self) -> None:
        """Where the account does not exist, the owner is ``nobody``."""
        self.write(user="no-such-account")
        self.give()
        self.assertIsNotNone(load_guarded(self.config, {}).reader)
        self.give(entry=OTHER)
        self.assertIn("(global.user) is nobody", self.refusal())

    def test_root_account(self) -> None:
        """Never as root."""
        self.write(user="root")
        self.give()
        self.assertIn("never runs as root", self.refusal())

    def test_secret_file(self) -> None:
        """It reads no secret that the owner cannot read."""
        self.write("[database]", f'password_file = "{self.secret()}"')
        self.assertIsNone(load_guarded(self.config, {}).reader)
        self.give()
        fault = self.assertRaises(ConfigFaults, load_guarded, self.config, {})
        self.assertIn("Permission denied", str(fault))

    def test_credentials(self) -> None:
        """Neither one of systemd's, which the owner could not read again: a fault, and nothing worse."""
        credentials = self.directory / "credentials"
        credentials.mkdir(mode=0o700)
        (credentials / "database.password").write_text("secret")
        self.give()
        environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
        fault = self.assertRaises(ConfigFaults, load_guarded, self.config, environ)
        self.assertIn("Permission denied", str(fault))

    def test_unix(self) -> None:
        """It neither makes sockets nor reads files for an endpoint."""
        for endpoint in (f"unix:{self.directory}/socket", f"ssl:0:privateKey={self.secret()}"):
            self.write("[network]", f'listen = ["{endpoint}"]')
            self.assertIsNone(load_guarded(self.config, {}).reader)
            self.give()
            self.assertIn(endpoint, self.refusal())
            os.chown(self.config, 0, 0)

    def test_metrics(self) -> None:
        """That of the metrics is no other."""
        self.write("[metrics]", f'listen = "unix:{self.directory}/socket"')
        self.give()
        self.assertIn("unix:", self.refusal())

    def test_certificate(self) -> None:
        """Certificate and key are read with the owner's rights."""
        secret = self.secret()
        self.write(
            "[network]", 'listen = ["tls:0"]', f'tls_certificate = "{secret}"', f'tls_key = "{secret}"'
        )
        self.give()
        loaded = load_guarded(self.config, {})
        (self.directory / "organization.key").write_text(f"{SecretKey.generate().secret}\n")
        (self.directory / "organization.key").chmod(0o600)
        self.assertRaises(OrganizationKeyFault, assemble, reactor, loaded.config, {}, loaded.reader)
        self.give(self.directory / "organization.key")
        fault = self.assertRaises(CertificateFault, assemble, reactor, loaded.config, {}, loaded.reader)
        self.assertIn("Permission denied", str(fault))
        self.assertEqual(os.geteuid(), 0)


class ActingTests(OwnershipTestCase):
    """Acting as somebody else for a while."""

    def test_restored(self) -> None:
        """All rights are back afterwards, whatever happened."""
        before = os.getresuid(), os.getresgid(), os.getgroups()

        def fail() -> None:
            with acting_as(UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid)):
                self.assertRaises(PermissionError, self.secret)
                raise KeyError

        self.assertRaises(KeyError, fail)
        self.assertEqual((os.getresuid(), os.getresgid(), os.getgroups()), before)

    def test_children(self) -> None:
        """What is started meanwhile cannot become root again."""
        command = ["/bin/grep", "-E", "^[UG]id:", "/proc/self/status"]
        self.assertNotIn("user", child_arguments())
        with acting_as(UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid)):
            shown = subprocess.run(command, check=True, capture_output=True, cwd="/", **child_arguments())
        numbers = shown.stdout.decode().split()
        self.assertEqual(numbers, ["Uid:", *[str(NOBODY.pw_uid)] * 4, "Gid:", *[str(NOBODY.pw_gid)] * 4])

    def test_key_beside(self) -> None:
        """A new organization.key can be made in root's own directory, and is the owner's."""
        key = self.directory / "organization.key"
        key.write_text("")
        self.give(key)
        with acting_as(UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid)):
            write_next(key, SecretKey.generate())
        self.assertEqual((self.directory / "organization.key.new").stat().st_uid, NOBODY.pw_uid)

    def test_not_beside(self) -> None:
        """In another's directory root's rights are not taken back."""
        self.give(self.directory)
        with acting_as(UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid)), writing_beside(self.config):
            self.assertEqual(os.geteuid(), NOBODY.pw_uid)


class FallbackTests(SynchronousTestCase):
    """Serving as ``nobody`` for want of an account."""

    def test_warned(self) -> None:
        """The warning says what to do; there is none where the account is the configured one."""
        nobody = UnixAccount("nobody", NOBODY.pw_uid, NOBODY.pw_gid)
        self.assertIn("useradd --system --user-group mensagod", str(fallback_warning("mensagod", nobody)))
        self.assertIsNone(fallback_warning("nobody", nobody))
        self.assertIsNone(fallback_warning("mensagod", None))


if os.geteuid() != 0:
    # Only root can act as others.
    del ReaderTests, RefusalTests, ActingTests
