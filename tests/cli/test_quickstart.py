"""``mensagod quickstart``, with a real server and its embedded PostgreSQL, in processes of their own."""

import os
import pty
import signal
import socket
import stat

from twisted.trial.unittest import SynchronousTestCase

from mensagod.cli.quickstart import unusable_ports, with_ports
from mensagod.config import load
from mensagod.config.listeners import parse_listener
from mensagod.installation.certificates import public_key_hash
from mensagod.postgres.access import embedded_cluster
from mensagod.storage.rows import Transaction
from tests.accounts import IS_ROOT, account_with_own_group
from tests.cli.processes import Command
from tests.cli.running import run
from tests.installation.places import ENVIRONMENT, execute, field, make_directory

ANY_PORTS = ("--port", "0", "--tls-port", "0")


def greet(address: str) -> bytes:
    """Connect, and read what the server says first."""
    host, _, port = address.partition(":")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        return connection.recv(4096)


def use_code(txn: Transaction) -> None:
    """Register the administrator, as far as the rows go."""
    txn.execute("DELETE FROM preregistrations")
    txn.execute("UPDATE workspaces SET status = 'active', password_hash = 'none'")


class QuickstartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.var = self.directory / "var"
        self.code = self.var / "registration-code"

    def start(self, *arguments: str) -> Command:
        return Command.start(self, self.directory, "quickstart", "--json", *ANY_PORTS, *arguments)

    def test_hangup(self) -> None:
        """On a terminal, it ends with the terminal; without one, SIGHUP reads the configuration again."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        arguments = ("quickstart", "--json", *ANY_PORTS)
        server = Command.start(self, self.directory, *arguments, stdin=theirs)
        os.close(theirs)
        server.document()
        self.assertEqual(server.stop(signal.SIGHUP), 0)
        server = self.start()
        server.document()
        os.kill(server.process.pid, signal.SIGHUP)
        self.assertEqual(server.stop(signal.SIGINT), 0)
        self.assertIn("configuration and certificates read again", server.rest()[1])

    def test_life(self) -> None:
        """It serves, stops at a signal with status 0, and goes on; the code is shown until it is used."""
        server = self.start()
        first = server.document()
        self.check_first(first)
        self.assertIn(b"Mensago", greet(first["addresses"][0]))
        self.assertEqual(server.stop(signal.SIGINT), 0)

        server = self.start("localhost")
        second = server.document()
        for name in ("config", "domain", "admin", "listen"):
            self.assertEqual(second[name], first[name])
        config = load(self.var / "serverconfig.toml", ENVIRONMENT)
        execute(embedded_cluster(config, None).connection, use_code)
        self.assertEqual(server.stop(), 0)

        server = self.start()
        third = server.document()
        workspace = first["admin"]["workspace_id"]
        self.assertEqual(third["admin"], {"workspace_id": workspace, "registration_code": None})
        self.assertFalse(self.code.exists())
        self.assertEqual(server.stop(), 0)
        self.assertFalse((self.var / "data/postgresql/data/postmaster.pid").exists())

    def check_first(self, document: dict[str, object]) -> None:
        """Check a document against the files."""
        names = ["config", "domain", "admin", "dns", "listen", "addresses"]
        self.assertEqual(list(document), names)
        self.assertEqual(
            (document["config"], document["domain"]), (str(self.var / "serverconfig.toml"), "localhost")
        )
        admin, dns, addresses = document["admin"], document["dns"], document["addresses"]
        assert isinstance(admin, dict)
        assert isinstance(dns, list)
        assert isinstance(addresses, list)
        self.assertEqual(admin["registration_code"], self.code.read_text().strip())
        self.assertEqual(stat.S_IMODE(self.code.stat().st_mode), 0o600)
        self.assertEqual(field(dns[0]["value"], "tls"), public_key_hash((self.var / "tls.crt").read_bytes()))
        self.assertEqual(
            [address.rpartition(":")[0] for address in addresses], ["tcp:127.0.0.1", "tls:127.0.0.1"]
        )
        self.assertEqual(dns[1]["value"], f"0 0 {addresses[1].rpartition(':')[2]} mensago.localhost")

    def test_interrupted(self) -> None:
        """Killed at any moment of its first start, it begins anew at the next, and ends what still runs."""
        postgres = self.var / "data" / "postgresql"
        for part in (
            self.var / ".unfinished",
            postgres / "data.new" / "base",
            postgres / "data" / "postmaster.pid",
        ):
            server = self.start()
            server.until(part.exists)
            server.stop(signal.SIGKILL)
        server = self.start()
        document = server.document()
        self.assertIn(b"Mensago", greet(document["addresses"][0]))
        self.assertEqual(document["admin"]["registration_code"], self.code.read_text().strip())
        self.assertEqual(server.stop(), 0)


class RootsQuickstartTests(SynchronousTestCase):
    """As root, for an account that shares its group with nobody."""

    def test_life(self) -> None:
        """Its directory stays root's, and the server changes nothing in it but the code that was used."""
        directory, account = make_directory(self), account_with_own_group()
        var = directory / "var"
        code = var / "registration-code"

        def start() -> Command:
            arguments = ("quickstart", "--json", *ANY_PORTS)
            return Command.start(self, directory, *arguments, MENSAGOD_GLOBAL__USER=account.name)

        server = start()
        first = server.document()
        self.assertEqual((var.stat().st_uid, code.stat().st_uid), (0, account.uid))
        self.assertEqual(stat.S_IMODE(code.stat().st_mode), 0o600)
        for name in ("serverconfig.toml", "organization.key", "tls.key"):
            found = (var / name).stat()
            self.assertEqual((found.st_uid, found.st_gid), (0, account.gid), name)
            self.assertEqual(stat.S_IMODE(found.st_mode), 0o640, name)
        config = load(var / "serverconfig.toml", ENVIRONMENT)
        execute(embedded_cluster(config, None).connection, use_code)
        os.kill(server.process.pid, signal.SIGHUP)
        self.assertEqual(server.stop(signal.SIGINT), 0)
        for _ in range(2):
            server = start()
            workspace = first["admin"]["workspace_id"]
            admin = {"workspace_id": workspace, "registration_code": None}
            self.assertEqual(server.document()["admin"], admin)
            self.assertEqual(server.stop(), 0)
            self.assertEqual(code.exists() and code.read_text(), "" if _ == 0 else False)


class RefusalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.config = self.directory / "var" / "serverconfig.toml"

    def test_taken_port(self) -> None:
        """A taken port ends the start before anything is made, and names the option."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            for option, other in (("--port", "--tls-port"), ("--tls-port", "--port")):
                outcome = run("quickstart", "--config", self.config, option, port, other, "0")
                self.assertEqual(outcome.status, 1)
                self.assertIn(f"Port {port} cannot be used", outcome.complaint)
                self.assertTrue(outcome.complaint.endswith(f"with {option}"), outcome.complaint)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_same_port(self) -> None:
        """Two listeners cannot have one port."""
        self.assertEqual(run("quickstart", "--port", "2005", "--tls-port", "2005").status, 2)

    def test_bad_domain(self) -> None:
        """A domain that is none is wrong use."""
        outcome = run("quickstart", "--config", self.config, "exa mple")
        self.assertEqual(outcome.status, 2)
        self.assertFalse(self.config.parent.exists())

    def test_foreign_directory(self) -> None:
        """A directory with other things in it is left as it is."""
        self.config.parent.mkdir()
        (self.config.parent / "log").write_text("precious")
        outcome = run("quickstart", "--config", self.config, *ANY_PORTS)
        self.assertEqual(outcome.status, 1)
        self.assertIn("log", outcome.complaint)
        self.assertEqual([path.name for path in self.config.parent.iterdir()], ["log"])
        self.assertEqual(self.config.parent.stat().st_uid, os.geteuid())

    def test_other_domain(self) -> None:
        """A second start cannot change the domain."""
        self.config.parent.mkdir()
        self.config.write_text('[global]\ndomain = "example.com"\n')
        outcome = run("quickstart", "--config", self.config, "example.org")
        self.assertEqual(outcome.status, 2)
        self.assertIn("example.com", outcome.complaint)

    def test_faulty_configuration(self) -> None:
        """Every fault of the configuration is a line, and the status is 2."""
        self.config.parent.mkdir()
        self.config.write_text('[global]\ndomain = "exa mple"\nfoo = 1\n')
        for verb in ("quickstart", "run"):
            outcome = run(verb, "--config", self.config)
            self.assertEqual((outcome.status, len(outcome.err.splitlines()), outcome.out), (2, 2, ""))

    def test_no_key(self) -> None:
        """A server without its key does not start, and says so in a line."""
        self.config.parent.mkdir()
        self.config.write_text('[global]\ndomain = "example.com"\n')
        outcome = run("run", "--config", self.config)
        self.assertEqual(outcome.status, 2)
        self.assertIn("organization.key", outcome.complaint)


class ListenerTests(SynchronousTestCase):
    def test_ports(self) -> None:
        """A port goes into the first listener of its kind, or into a new one; the others stay."""
        listen = tuple(map(parse_listener, ("unix:/run/m", "tls:1", "tls:2")))
        changed = [str(listener) for listener in with_ports(listen, 7, 8)]
        here = "interface=127.0.0.1"
        self.assertEqual(changed, ["unix:/run/m", f"tls:8:{here}", "tls:2", f"tcp:7:{here}"])
        self.assertEqual(with_ports(listen, None, None), listen)

    def test_not_probed(self) -> None:
        """Sockets without a port, and ports that the system chooses, pass."""
        listen = tuple(map(parse_listener, ("tcp:0", "unix:/run/m")))
        self.assertEqual(unusable_ports(listen), [])


if not IS_ROOT:
    # Only root gives files away.
    del RootsQuickstartTests
