"""Founding an organization, in a database of a real PostgreSQL."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import ConfigFaults, load
from mensagod.config.listeners import parse_listener
from mensagod.contents.file_store import FileStore
from mensagod.crypto.passwords import PasswordHasher
from mensagod.installation.certificates import public_key_hash
from mensagod.installation.databases import open_database
from mensagod.installation.faults import BadChoice, InstallationFault
from mensagod.installation.founding import Choices, Founded, found
from mensagod.installation.reversible import ReversibleFiles
from mensagod.keycards.entries import OrganizationEntry
from mensagod.organization.key_file import read_organization_key
from mensagod.organization.keyring import Keyring
from mensagod.postgres.access import embedded_cluster
from mensagod.process.accounts import service_account
from mensagod.storage import keycards, keys, preregistrations
from mensagod.storage.installation import find_store
from mensagod.storage.rows import Row, Transaction, one
from mensagod.values.identity import SERVER_WORKSPACE, Domain, UserID, WorkspaceID
from tests.databases import administer
from tests.installation.places import (
    ENVIRONMENT,
    choose,
    execute,
    field,
    fresh_database,
    make_directory,
    url_of,
)


class FoundingTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = make_directory(self)
        self.parameters = fresh_database(self)
        self.url = url_of(self.parameters)

    def found(self, environ: dict[str, str] | None = None, **others: object) -> Founded:
        return found(choose(self.directory, self.url, **others), {**ENVIRONMENT, **(environ or {})})

    def refused(self, kind: type[Exception], *words: str, **others: object) -> None:
        """Check that nothing is made, in the file system and in the database."""
        files = set(self.directory.rglob("*"))
        error = self.assertRaises(kind, self.found, **others)
        for word in words:
            self.assertIn(word, str(error))
        self.assertEqual(len(str(error).splitlines()), 1)
        self.assertEqual(set(self.directory.rglob("*")), files)


class FoundedTests(FoundingTestCase):
    def test_files(self) -> None:
        """There are a configuration, a key and a directory, closed to others, and ours or ``nobody``'s."""
        environ = {**ENVIRONMENT, "MENSAGOD_GLOBAL__USER": "nobody"}
        made = self.found(environ)
        names = {"serverconfig.toml": 0o600, "organization.key": 0o600, "data": 0o700}
        owner = service_account("nobody").uid if os.geteuid() == 0 else os.geteuid()
        self.assertEqual({path.name for path in self.directory.iterdir()}, set(names))
        for name, mode in names.items():
            state = (self.directory / name).stat()
            self.assertEqual((stat.S_IMODE(state.st_mode), state.st_uid), (mode, owner), name)
        self.assertEqual(made.config, load(self.directory / "serverconfig.toml", environ))
        self.assertEqual(made.config.global_.top_dir, self.directory / "data")

    def test_store(self) -> None:
        """The content store and the database have the same ID, in a file that only the account can read."""
        made = self.found()
        store = execute(self.parameters, find_store)
        file = made.config.global_.top_dir / "store-id"
        self.assertEqual(file.read_text(), f"{store}\n")
        owner = service_account("mensagod").uid if os.geteuid() == 0 else os.geteuid()
        state = file.stat()
        self.assertEqual((stat.S_IMODE(state.st_mode), state.st_uid), (0o600, owner))
        assert store is not None
        FileStore(FilePath(str(file.parent))).require_id(store)

    def test_new_directories(self) -> None:
        """Directories on the way to the configuration and to the files are made, and can be passed."""
        config = self.directory / "etc" / "mensagod" / "server.toml"
        self.found(config=config, top_dir=Path("../../var/lib"))
        self.assertEqual(stat.S_IMODE(config.parent.stat().st_mode), 0o755)
        self.assertEqual(stat.S_IMODE((self.directory / "var").stat().st_mode), 0o755)
        self.assertEqual(stat.S_IMODE((self.directory / "var" / "lib").stat().st_mode), 0o700)

    def test_keys(self) -> None:
        """The keys in the database open with the file's key, and are those of the keycard."""
        made = self.found()
        master = read_organization_key(made.config.organization_key)
        keyring = Keyring.from_stored(execute(self.parameters, keys.usable_keys), master)
        [stored] = execute(self.parameters, keycards.list_entries, keycards.ORGANIZATION, 1, None)
        self.assertEqual(stored.text, made.entry.text)
        entry = OrganizationEntry.from_text(stored.text)
        self.assertEqual(entry.primary_key, keyring.signing.public)
        self.assertEqual(entry.encryption_key, keyring.public_encryption_key)
        self.assertEqual((str(entry.admin), entry.abuse), (f"{made.admin}/example.com", entry.admin))

    def test_administrator(self) -> None:
        """The administrator waits for the code, of which there is only a hash."""
        made = self.found()
        waiting = execute(
            self.parameters, preregistrations.find_by_name, UserID("admin"), Domain("example.com")
        )
        assert waiting is not None
        self.assertEqual(waiting.workspace, made.admin)
        self.assertTrue(waiting.code_hash.startswith("$argon2id$v=19$m=8192,t=1,p=1$"))
        self.assertTrue(PasswordHasher(8, 1, 1).verify(waiting.code_hash, made.code))
        self.assertEqual(len(made.code.split("-")), 6)
        self.assertNotIn(made.code, repr(made))

    def test_aliases(self) -> None:
        """Abuse and support lead to the administrator, in extra domains, too."""
        environ = {"MENSAGOD_GLOBAL__EXTRA_DOMAINS": "example.org"}
        made = self.found(environ, admin=WorkspaceID.random())
        rows = execute(self.parameters, select_names)
        self.assertEqual({row.workspace for row in rows}, {made.admin.uuid})
        names = {(row.domain, row.user_id, row.kind) for row in rows}
        aliases = {
            (f"example.{end}", name, "alias") for end in ("com", "org") for name in ("abuse", "support")
        }
        self.assertEqual(names, {("example.com", "admin", "current"), *aliases})
        self.assertEqual(
            [record.name for record in made.records if record.type == "TXT"],
            ["mensago.example.com", "mensago.example.org"],
        )

    def test_certificate(self) -> None:
        """A TLS listener gets a certificate, whose pin is in DNS together with the keycard's keys."""
        made = self.found(listen=(parse_listener("tls:2002"), parse_listener("tcp:2001")))
        text, server = (record.value for record in made.records)
        pin = public_key_hash((self.directory / "tls.crt").read_bytes())
        self.assertEqual(field(text, "tls"), pin)
        self.assertEqual(field(text, "pvk"), made.entry.primary_key)
        self.assertEqual(field(text, "ek"), made.entry.encryption_key)
        self.assertEqual(server, "0 0 2002 mensago.example.com")
        self.assertEqual((self.directory / "tls.key").stat().st_mode & 0o137, 0)

    def test_own_certificate(self) -> None:
        """A certificate that is there is used and stays as it is."""
        first = self.found(listen=(parse_listener("tls:2002"),))
        content = (self.directory / "tls.crt").read_bytes()
        for name in ("serverconfig.toml", "organization.key", "data/store-id"):
            (self.directory / name).unlink()
        self.parameters = fresh_database(self)
        self.url = self.url.replace(self.url.split("/")[3].split("?")[0], self.parameters["dbname"])
        second = self.found(listen=(parse_listener("tls:2002"),))
        self.assertEqual(second.pins, first.pins)
        self.assertEqual((self.directory / "tls.crt").read_bytes(), content)

    def test_migrated_before(self) -> None:
        """A database with our tables, all empty, is taken."""
        self.found()
        execute(self.parameters, empty_all)
        for name in ("serverconfig.toml", "organization.key", "data/store-id"):
            (self.directory / name).unlink()
        self.found()
        self.assertEqual(len(execute(self.parameters, select_names)), 3)

    def test_embedded(self) -> None:
        """With the embedded PostgreSQL it works the same; that is stopped in the end."""
        made = self.found(database_url=None, embedded=True)
        self.assertFalse((self.directory / "data/postgresql/data/postmaster.pid").exists())
        account = service_account("mensagod") if os.geteuid() == 0 else None
        with open_database(made.config, account) as connection, connection.cursor() as cursor:
            self.assertEqual(len(select_names(Transaction(cursor))), 3)


class ReplacedTests(FoundingTestCase):
    """Who owns the directory of the configuration can replace the file, also while it is made."""

    def test_not_obeyed(self) -> None:
        """What is done is what was chosen, whatever lies there for a while."""
        config, aside = self.directory / "serverconfig.toml", self.directory / "aside"
        make, hand_over = ReversibleFiles.file, ReversibleFiles.hand_over

        def replace(files: ReversibleFiles, path: Path, *content: Any) -> None:
            make(files, path, *content)
            if path == config:
                config.rename(aside)
                config.write_text('[global]\ndomain = "example.com"\nuser = "daemon"\ntop_dir = "other"\n')

        def put_back(files: ReversibleFiles, path: Path) -> None:
            aside.rename(config)
            hand_over(files, path)

        self.patch(ReversibleFiles, "file", replace)
        self.patch(ReversibleFiles, "hand_over", put_back)
        chosen = self.found().config.global_
        self.assertEqual((chosen.user, chosen.top_dir), ("mensagod", self.directory / "data"))
        self.assertFalse((self.directory / "other").exists())


class LedAstrayTests(FoundingTestCase):
    """What the server's account puts into its directories must not make root do what only root can."""

    def setUp(self) -> None:
        super().setUp()
        self.account = service_account("mensagod")
        self.config = self.found(database_url=None, embedded=True).config
        self.postgresql = self.config.global_.top_dir / "postgresql"

    def open(self) -> None:
        with open_database(self.config, self.account):
            pass

    def test_link(self) -> None:
        """A link in place of the cluster leads nowhere: what is root's stays as it is."""
        victim = self.directory / "victim"
        victim.mkdir(0o755)
        self.postgresql.rename(self.postgresql.with_name("elsewhere"))
        self.postgresql.symlink_to(victim)
        os.chown(self.postgresql, self.account.uid, self.account.gid, follow_symlinks=False)
        self.assertRaises((InstallationFault, OSError), self.open)
        self.assertEqual(stat.S_IMODE(victim.stat().st_mode), 0o755)
        self.assertEqual(list(victim.iterdir()), [])

    def test_process_of_another(self) -> None:
        """Nor is a process of root's ended whose number stands where that of PostgreSQL belongs."""
        survivor = embedded_cluster(self.config, self.account)
        survivor.start()
        survivor.disown()
        pid_file = self.postgresql / "data/postmaster.pid"
        true, rest = pid_file.read_text().split("\n", 1)
        self.addCleanup(os.kill, int(true), signal.SIGQUIT)
        with subprocess.Popen([sys.executable, "-c", "open(0).read()"], stdin=subprocess.PIPE) as root:
            pid_file.write_text(f"{root.pid}\n{rest}")
            self.open()
            self.assertIsNone(root.poll())

    def test_another_account(self) -> None:
        """A cluster of another account's is not given away, but spoken of."""
        os.chown(self.postgresql, 0, 0)
        error = self.assertRaises(InstallationFault, self.open)
        self.assertIn("belongs to another account", str(error))


class RefusalTests(FoundingTestCase):
    def test_again(self) -> None:
        """A configuration that is there is never overwritten."""
        self.found()
        self.refused(InstallationFault, "serverconfig.toml already exists")

    def test_other_key(self) -> None:
        """Nor is a key."""
        (self.directory / "organization.key").write_text("precious")
        self.refused(InstallationFault, "organization.key already exists")

    def test_half_certificate(self) -> None:
        """A certificate without its key is refused."""
        (self.directory / "tls.crt").write_text("precious")
        self.refused(InstallationFault, "tls.crt", listen=(parse_listener("tls:1"),))

    def test_bad_certificate(self) -> None:
        """So is one that is none."""
        for name in ("tls.crt", "tls.key"):
            (self.directory / name).write_text("precious")
        self.refused(InstallationFault, "tls.crt", listen=(parse_listener("tls:1"),))

    def test_encoding(self) -> None:
        """A database that is not in UTF8 is refused, with the cure, and stays empty."""
        for encoding in ("LATIN1", "SQL_ASCII"):
            name = f"{self.parameters['dbname']}_{encoding.lower()}"
            administer(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
            self.addCleanup(administer, f"DROP DATABASE {name} WITH (FORCE)")
            url = url_of({**self.parameters, "dbname": name})
            self.refused(InstallationFault, encoding, "ENCODING 'UTF8'", database_url=url)

    def test_data(self) -> None:
        """A database with data of a server is refused, and not touched."""
        self.found()
        before = execute(self.parameters, select_names)
        self.refused(
            InstallationFault,
            "contains data",
            config=self.directory / "other" / "server.toml",
            top_dir=self.directory / "other-data",
        )
        self.assertEqual(execute(self.parameters, select_names), before)

    def test_foreign_tables(self) -> None:
        """So is one with tables of something else, in whatever schema."""
        execute(self.parameters, lambda txn: txn.execute("CREATE SCHEMA shop CREATE TABLE orders ()"))
        self.refused(InstallationFault, "another program", "orders")
        self.assertEqual(execute(self.parameters, count_tables), 1)

    def test_full_directory(self) -> None:
        """A directory with something in it does not become the server's."""
        (self.directory / "data").mkdir()
        (self.directory / "data" / "thesis").write_text("precious")
        self.refused(InstallationFault, "not empty", "thesis")
        self.assertEqual((self.directory / "data" / "thesis").stat().st_uid, os.geteuid())

    def test_no_database(self) -> None:
        """A database that is not there leaves nothing behind."""
        self.refused(
            InstallationFault, "cannot be reached", database_url=self.url.replace("/test_", "/none_")
        )

    def test_bad_url(self) -> None:
        """Neither does a URL that is none, and the password in it is not shown."""
        error = self.assertRaises(BadChoice, self.found, database_url="post gres://a:secret@b")
        self.assertNotIn("secret", str(error))
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_names(self) -> None:
        """Names that today's clients cannot read are refused."""
        for name in ("Abc", "Acme X", "", " Acme", "x" * 65, "Ac\nme", "Acme\udcff"):
            self.refused(BadChoice, "name", organization=name)

    def test_zero_administrator(self) -> None:
        """The all-zero ID is the server's."""
        self.refused(BadChoice, "zeros", admin=SERVER_WORKSPACE)

    def test_two_databases(self) -> None:
        """The database is one or the other."""
        self.refused(BadChoice, "embedded", embedded=True)

    def test_environment(self) -> None:
        """Faults of the environment are faults of the configuration, and leave nothing behind."""
        environ = {"MENSAGOD_NETWORK__PORT": "none"}
        self.assertRaises(ConfigFaults, self.found, environ)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_failed_embedded(self) -> None:
        """Where PostgreSQL cannot be started nothing is left behind."""
        self.refused(
            InstallationFault,
            str(self.directory),
            database_url=None,
            embedded=True,
            environ={"MENSAGOD_DATABASE__EMBEDDED_BINARIES": str(self.directory)},
        )

    def test_evolve(self) -> None:
        """Choices do not show the password in the URL."""
        choices = evolve(choose(self.directory, self.url), database_url="postgresql://a:secret@b/c")
        self.assertNotIn("secret", repr(choices))
        self.assertIsInstance(choices, Choices)


def count_tables(txn: Transaction) -> int:
    txn.execute(
        "SELECT count(*) AS tables FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    return one(lambda row: int(row.tables), txn)


def select_names(txn: Transaction) -> list[Row]:
    txn.execute("SELECT domain, user_id, workspace, kind FROM names")
    return txn.fetchall()


def empty_all(txn: Transaction) -> None:
    txn.execute(
        "TRUNCATE events, event_counter, workspaces, organization_keys, keycard_entries, installation CASCADE"
    )


if os.geteuid() != 0:
    # Only root can be led astray.
    del LedAstrayTests
