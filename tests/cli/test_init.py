"""``mensagod init``."""

import os
import pty
import stat
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import load
from mensagod.config.choices import Registration
from mensagod.crypto.cryptostring import CryptoString
from mensagod.installation.certificates import public_key_hash
from mensagod.keycards.entries import OrganizationEntry
from mensagod.storage import keycards, migrations
from mensagod.storage.connections import connect
from mensagod.storage.rows import Transaction, one
from mensagod.values.identity import WorkspaceID
from tests.cli.processes import Command
from tests.cli.running import Outcome, run
from tests.installation.places import ENVIRONMENT, execute, field, fresh_database, make_directory, url_of

USER = "MENSAGOD_GLOBAL__USER"


class InitTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.config = self.directory / "serverconfig.toml"
        self.parameters = fresh_database(self)
        self.url = url_of(self.parameters)

    def options(self, **changes: str | None) -> list[str]:
        usual: dict[str, str | None] = {
            "domain": "example.com",
            "organization": "Example Org",
            "top_dir": str(self.directory / "data"),
            "database_url": self.url,
        }
        given = {**usual, **changes}
        return [
            part
            for name, value in given.items()
            if value is not None
            for part in (f"--{name.replace('_', '-')}", value)
        ]

    def init(self, *more: str, **changes: str | None) -> Outcome:
        arguments = self.options(**changes)
        return run("--config", self.config, "init", *arguments, *more, environ={USER: "nobody"})


class DocumentTests(InitTestCase):
    def test_document(self) -> None:
        """With --json there is one document: where, who, and what to publish."""
        admin = str(WorkspaceID.random())
        listen = ["tls:2002:interface=127.0.0.1", "tcp:2001:interface=127.0.0.1"]
        outcome = self.init(
            "--json", "--listen", listen[0], "--listen", listen[1], "--admin-id", admin.upper()
        )
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        document = outcome.document
        self.assertEqual(list(document), ["config", "domain", "admin", "dns", "listen"])
        self.assertEqual((document["config"], document["domain"]), (str(self.config), "example.com"))
        self.assertEqual(document["listen"], listen)
        self.assertEqual(document["admin"]["workspace_id"], admin)
        self.assertEqual(len(document["admin"]["registration_code"].split("-")), 6)

    def test_dns(self) -> None:
        """The records have the keys of the keycard, and the hash of the certificate's key."""
        records = self.init("--json", "--listen", "tls:2002").document["dns"]
        self.assertEqual([list(record) for record in records], [["type", "name", "value"]] * 2)
        text, server = records
        self.assertEqual((text["type"], text["name"]), ("TXT", "mensago.example.com"))
        [stored] = execute(self.parameters, keycards.list_entries, keycards.ORGANIZATION, 1, None)
        entry = OrganizationEntry.from_text(stored.text)
        pin = public_key_hash((self.directory / "tls.crt").read_bytes())
        self.assertEqual(text["value"], f"pvk={entry.primary_key} ek={entry.encryption_key} tls={pin}")
        self.assertIsInstance(field(text["value"], "ek"), CryptoString)
        values = (server["type"], server["name"], server["value"])
        self.assertEqual(values, ("SRV", "_mensago._tcp.example.com", "0 0 2002 mensago.example.com"))

    def test_text(self) -> None:
        """Without it a person reads the code, the records and the next command."""
        outcome = self.init("--admin-id", "11111111-2222-3333-4444-555555555555")
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        for part in ("11111111-2222-3333-4444-555555555555", "pvk=ED25519:", "Registration code"):
            self.assertIn(part, outcome.out)
        self.assertIn(f"mensagod run --config {self.config}", outcome.out)

    def test_configuration(self) -> None:
        """What was chosen stands in the configuration, which only its owner reads."""
        self.assertEqual(self.init("--listen", "tcp:2005", "--registration", "Public").status, 0)
        config = load(self.config, {})
        self.assertEqual(config.global_.registration, Registration.PUBLIC)
        self.assertEqual([str(listener) for listener in config.network.endpoints], ["tcp:2005"])
        self.assertEqual(config.global_.top_dir, self.directory / "data")
        self.assertEqual(stat.S_IMODE(self.config.stat().st_mode), 0o600)

    def test_no_account(self) -> None:
        """Root hears that nobody stands in for an account that does not exist."""
        environ = {USER: "no-such-account"}
        outcome = run("--config", self.config, "init", "--json", *self.options(), environ=environ)
        self.assertEqual((outcome.status, outcome.document["domain"]), (0, "example.com"))
        warning = "useradd --system --user-group no-such-account" if os.geteuid() == 0 else ""
        self.assertIn(warning, outcome.err)
        self.assertEqual(len(outcome.err.splitlines()), 1 if warning else 0)

    def test_environment(self) -> None:
        """The database can be the environment's."""
        environ = {"MENSAGOD_DATABASE__URL": self.url, USER: "nobody"}
        arguments = self.options(database_url=None)
        outcome = run("init", *arguments, environ={**environ, "MENSAGOD_CONFIG": str(self.config)})
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        self.assertNotIn(self.parameters["dbname"], self.config.read_text())
        self.assertEqual(load(self.config, {**ENVIRONMENT, **environ}).path, self.config)


class RefusalTests(InitTestCase):
    def refused(self, status: int, *words: str, more: tuple[str, ...] = (), **changes: str | None) -> None:
        outcome = self.init("--json", *more, **changes)
        self.assertEqual(outcome.status, status, outcome.err)
        for word in words:
            self.assertIn(word, outcome.complaint)

    def test_nothing_said(self) -> None:
        """Without a terminal all that is missing is named at once."""
        self.refused(
            2,
            "--domain, --organization, --embedded or --database-url",
            domain=None,
            organization=None,
            database_url=None,
        )
        self.refused(2, "give --organization", organization=None)

    def test_bad_values(self) -> None:
        """Wrong values are wrong use, and nothing is made."""
        cases = {
            "domain": "exa mple",
            "organization": "Abc",
            "registration": "sometimes",
            "admin_id": "me",
            "listen": "carrier-pigeon:1",
            "database_url": "post gres://",
        }
        for name, value in cases.items():
            changes: dict[str, str | None] = {name: value}
            self.refused(2, more=(), **changes)
        self.refused(2, "do not go together", more=("--embedded",))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_twice(self) -> None:
        """A second time is refused, and changes nothing."""
        self.assertEqual(self.init().status, 0)
        before = self.config.read_bytes()
        self.refused(1, "already exists")
        self.assertEqual(self.config.read_bytes(), before)

    def test_data(self) -> None:
        """A database with data is refused."""
        self.assertEqual(self.init().status, 0)
        self.config = self.directory / "other" / "serverconfig.toml"
        self.refused(1, "contains data", top_dir=str(self.directory / "other-data"))
        self.assertFalse(self.config.parent.exists())

    def test_at_once(self) -> None:
        """Of two for the same database at the same moment the second finds its data, and leaves nothing."""
        commands = []
        holding = connect(self.parameters)
        self.addCleanup(holding.close)
        with holding, holding.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (migrations._LOCK,))
            for name in ("one", "two"):
                (self.directory / name).mkdir()
                options = ("--config", f"{name}/serverconfig.toml", "init", "--top-dir", f"{name}/data")
                more = self.options(top_dir=None)
                start = partial(Command.start, MENSAGOD_GLOBAL__USER="nobody")
                commands.append(start(self, self.directory, *options, *more))
            commands[1].until(lambda: execute(self.parameters, count_waiting) == len(commands))
        ends = [(command.rest()[1], command.process.returncode) for command in commands]
        (_, done), (error, failed) = sorted(ends)
        self.assertEqual((done, failed), (0, 1))
        self.assertIn("already contains data", error)
        left = [list((self.directory / name).iterdir()) for name in ("one", "two")]
        self.assertEqual(sorted(map(len, left)), [0, 3])

    def test_away(self) -> None:
        """A database that cannot be reached is named in one line."""
        self.refused(1, "cannot be reached", database_url="postgresql://test@127.0.0.1:1/test")


class AskingTests(InitTestCase):
    def test_asked(self) -> None:
        """On a terminal it asks for what is missing, again where the answer will not do."""
        store = self.directory / "store"
        answers = ["exa mple", "example.org", "Abc", "Asked Org", store, "tcp:2001:interface=127.0.0.1"]
        answers += ["nobody", "network", self.url]
        options = self.options(domain=None, organization=None, top_dir=None, database_url=None)
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        command = Command.start(
            self, self.directory, "--config", self.config, "--json", "init", *options, stdin=theirs
        )
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        self.assertEqual(command.document()["domain"], "example.org")
        self.assertIn("Name of the organization", command.rest()[1])
        [stored] = execute(self.parameters, keycards.list_entries, keycards.ORGANIZATION, 1, None)
        self.assertEqual(OrganizationEntry.from_text(stored.text).name, "Asked Org")
        config = load(self.config, {})
        self.assertEqual((config.global_.top_dir, config.global_.registration), (store, Registration.NETWORK))

    def test_not_asked_in_vain(self) -> None:
        """Where there is a configuration already, nothing is asked before that is told."""
        self.config.write_text("")
        outcome = self.init(domain=None)
        self.assertEqual(outcome.status, 1)
        self.assertIn("already exists", outcome.complaint)


def count_waiting(txn: Transaction) -> int:
    """Count those who wait for a lock of the database."""
    txn.execute(
        "SELECT count(*) AS waiting FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND NOT granted"
    )
    return one(lambda row: int(row.waiting), txn)
