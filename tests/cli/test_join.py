"""``mensagod join``: one more process of an installation."""

import errno
import os
import pty
import shutil
import stat
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mensagod.config import load
from mensagod.config.listeners import parse_listener
from mensagod.crypto.sealing import SecretKey
from mensagod.installation import joining
from mensagod.installation.founding import Founded, found
from mensagod.keycards.making import OrganizationKeys, make_organization_root
from mensagod.organization.key_file import read_organization_key, write_organization_key
from mensagod.organization.keyring import protect
from mensagod.process.accounts import service_account
from mensagod.storage import keycards, keys, schema, workspaces
from mensagod.storage.connections import connect
from mensagod.storage.installation import find_store
from mensagod.storage.migrations import apply_all, read_steps
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain, UserID, WAddress, WorkspaceID
from tests.accounts import IS_ROOT, account_with_own_group
from tests.cli.processes import Command
from tests.cli.running import Outcome, run
from tests.databases import administer, cluster
from tests.installation.places import (
    ENVIRONMENT,
    choose,
    execute,
    fresh_database,
    make_directory,
    url_of,
)
from tests.storage.old_installation import VERSION

USER = "MENSAGOD_GLOBAL__USER"


class JoinTestCase(SynchronousTestCase):
    """An installation, and a directory for the configuration of one more process of it.

    :ivar first: the directory of the first process.
    :ivar second: that of the next one, which does not exist yet.
    """

    account = "nobody"

    def setUp(self) -> None:
        self.parameters = fresh_database(self)
        self.url = url_of(self.parameters)
        self.founded = self.found(self.url)
        self.first = self.founded.config.path.parent
        self.second = self.first / "second"
        self.config = self.second / "serverconfig.toml"
        self.key = self.first / "organization.key"

    def found(self, url: str) -> Founded:
        """Set an installation up."""
        listen = (parse_listener("tls:0:interface=127.0.0.1"),)
        choices = choose(make_directory(self), url, listen=listen)
        return found(choices, {**ENVIRONMENT, USER: self.account})

    def join(self, *more: object, environ: dict[str, str] | None = None, **changes: object) -> Outcome:
        """Run the verb; a change of an option to nothing leaves it out."""
        usual: dict[str, object] = {
            "database_url": self.url,
            "top_dir": self.first / "data",
            "organization_key": self.key,
        }
        arguments = [
            part
            for name, value in {**usual, **changes}.items()
            if value is not None
            for part in (f"--{name.replace('_', '-')}", value)
        ]
        environ = {USER: self.account, **(environ or {})}
        return run("--config", self.config, "join", *arguments, *more, environ=environ)

    def joined(self, *more: object, **changes: object) -> Outcome:
        """Run the verb with success."""
        outcome = self.join("--json", *more, **changes)  # type: ignore[arg-type]
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        return outcome

    def put_key(self, content: bytes | None = None) -> Path:
        """Put a key beside the configuration, before that is made."""
        self.second.mkdir()
        key = self.second / "organization.key"
        key.write_bytes(self.key.read_bytes() if content is None else content)
        key.chmod(0o600)
        if IS_ROOT:
            shutil.chown(key, self.account)
        return key


class JoinedTests(JoinTestCase):
    def test_document(self) -> None:
        """With --json there is one document: where the process is, and to what it belongs."""
        listen = ["tcp:2001:interface=127.0.0.1", "tcp:2002:interface=127.0.0.1"]
        document = self.joined("--listen", listen[0], "--listen", listen[1]).document
        self.assertEqual(
            document,
            {
                "config": str(self.config),
                "domain": "example.com",
                "extra_domains": [],
                "top_dir": str(self.first / "data"),
                "store_id": str(execute(self.parameters, find_store)),
                "migrates": False,
                "listen": listen,
            },
        )

    def test_text(self) -> None:
        """Without it a person reads what was made, what else is to be done, and the next command."""
        outcome = self.join()
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        for part in ("example.com", str(execute(self.parameters, find_store)), "from the configuration of"):
            self.assertIn(part, outcome.out)
        self.assertIn(f"mensagod run --config {self.config}", outcome.out)

    def test_files(self) -> None:
        """The configuration and a copy of the key are made, for the account only, and nothing else."""
        store = sorted((self.first / "data").rglob("*"))
        self.joined()
        self.assertEqual(sorted((self.first / "data").rglob("*")), store)
        owner = service_account(self.account).uid if IS_ROOT else os.geteuid()
        self.assertEqual(
            {path.name for path in self.second.iterdir()}, {"serverconfig.toml", "organization.key"}
        )
        for path in self.second.iterdir():
            state = path.stat()
            self.assertEqual((stat.S_IMODE(state.st_mode), state.st_uid), (0o600, owner), path)
        self.assertEqual((self.second / "organization.key").read_bytes(), self.key.read_bytes())
        config = load(self.config, {})
        self.assertEqual(config.global_.domain, Domain("example.com"))
        self.assertEqual(config.global_.top_dir, self.first / "data")

    def test_key_in_place(self) -> None:
        """A key that was put beside the configuration is used as it is, named or not."""
        key = self.put_key()
        before = key.stat()
        self.joined(organization_key=None)
        self.config.unlink()
        self.joined(organization_key=key)
        self.assertEqual((key.stat().st_ino, key.stat().st_mtime_ns), (before.st_ino, before.st_mtime_ns))

    def test_beside_the_first(self) -> None:
        """Two processes of one machine can have their configurations in one directory, with one key."""
        self.config = self.first / "second.toml"
        document = self.joined("--listen", "tls:2003", organization_key=None).document
        self.assertEqual(document["listen"], ["tls:2003"])

    def test_extra_domains(self) -> None:
        """Domains in which there are user IDs are taken over: no process may take their mail for foreign."""
        domain = Domain("example.net")
        admin = self.founded.admin
        execute(self.parameters, workspaces.add_name, UserID("abuse"), domain, admin, "alias")
        self.assertEqual(self.joined().document["extra_domains"], ["example.net"])
        self.assertEqual(load(self.config, {}).global_.extra_domains, (domain,))

    def test_environment(self) -> None:
        """The database can be the environment's, and is not written then."""
        environ = {"MENSAGOD_DATABASE__URL": self.url}
        outcome = self.join("--json", database_url=None, environ=environ)
        self.assertEqual((outcome.status, outcome.err), (0, ""))
        self.assertNotIn(self.parameters["dbname"], self.config.read_text())

    def test_older_schema(self) -> None:
        """With the schema of an earlier version it says that the start updates it."""
        execute(self.parameters, forget_last_step)
        self.assertTrue(self.joined().document["migrates"])
        shutil.rmtree(self.second)
        self.assertIn("the start updates it", self.join().out)

    def test_before_the_store(self) -> None:
        """A database that knows no store yet is joined with a store that has no ID yet."""
        parameters = fresh_database(self)
        self.url = url_of(parameters)
        make_old(parameters, read_organization_key(self.key))
        outcome = self.join("--json")
        self.assertEqual(outcome.status, 1)
        self.assertIn("does not know this store", outcome.complaint)
        (self.first / "data" / "store-id").unlink()
        document = self.joined().document
        self.assertEqual((document["store_id"], document["migrates"]), (None, True))
        shutil.rmtree(self.second)
        self.assertIn("store without an ID yet", self.join().out)


class RefusalTests(JoinTestCase):
    """Each is one line with a cause and a cure, and leaves nothing behind."""

    def refused(self, status: int, *words: object, more: tuple[str, ...] = (), **changes: object) -> None:
        before = self.state()
        outcome = self.join("--json", *more, **changes)  # type: ignore[arg-type]
        self.assertEqual(outcome.status, status, outcome.err)
        for word in words:
            self.assertIn(str(word), outcome.complaint)
        self.assertEqual(self.state(), before)

    def state(self) -> dict[Path, tuple[int, bytes]]:
        """Give what is in the directory of the test."""
        paths = [path for path in self.first.rglob("*") if not path.is_symlink()]
        return {path: (path.stat().st_mode, _content(path)) for path in paths}

    def test_nothing_said(self) -> None:
        """Without a terminal all that is missing is named at once."""
        self.refused(2, "--database-url and --organization-key", database_url=None, organization_key=None)
        self.refused(2, "give --organization-key", organization_key=None)

    def test_bad_values(self) -> None:
        """Wrong values are wrong use."""
        self.refused(2, "the kind of an endpoint", more=("--listen", "carrier-pigeon:1"))
        self.refused(2, "libpq", database_url="post gres://")
        self.refused(2, "database.url", database_url="")
        self.refused(2, "network.listen", environ={"MENSAGOD_NETWORK__LISTEN": "?"})

    def test_embedded(self) -> None:
        """The embedded PostgreSQL is the first process's own, however it is named."""
        words = ("on its own machine only", "pg_dump")
        self.refused(2, *words, more=("--embedded",))
        environ = {"MENSAGOD_DATABASE__EMBEDDED": "true"}
        self.refused(2, *words, database_url=None, environ=environ)
        socket = self.first / "data" / "postgresql"
        socket.symlink_to(cluster().directory)
        self.refused(2, *words, database_url=url_of({**self.parameters, "host": str(socket)}))

    def test_configuration_exists(self) -> None:
        """A configuration is not overwritten; that is told before anything is asked."""
        self.config = self.first / "serverconfig.toml"
        self.refused(1, "already exists")
        self.refused(1, "already exists", database_url=None)

    def test_away(self) -> None:
        """A database that cannot be reached is named."""
        self.refused(1, "cannot be reached", database_url="postgresql://test@127.0.0.1:1/test")

    def test_no_installation(self) -> None:
        """A database without an installation is for init."""
        self.refused(1, "no Mensago server", "mensagod init", database_url=url_of(fresh_database(self)))

    def test_no_organization(self) -> None:
        """So is one that has tables only."""
        parameters = fresh_database(self)
        connection = connect(parameters)
        self.addCleanup(connection.close)
        apply_all(connection, read_steps(schema.DIRECTORY))
        self.refused(1, "no keycard", "mensagod init", database_url=url_of(parameters))

    def test_no_keys(self) -> None:
        """An organization without private keys cannot work."""
        execute(self.parameters, lambda txn: txn.execute("DELETE FROM organization_keys"))
        self.refused(1, "no keys of the organization")

    def test_newer_schema(self) -> None:
        """A schema that this program does not know is not touched."""
        sql = "INSERT INTO schema_versions (version, name, checksum) VALUES (9999, 'later', '')"
        execute(self.parameters, lambda txn: txn.execute(sql))
        self.refused(1, "9999", "install a newer mensagod")

    def test_encoding(self) -> None:
        """A database that does not keep all texts is refused."""
        name = f"test_{uuid.uuid4().hex}"
        administer(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        self.addCleanup(administer, f"DROP DATABASE {name} WITH (FORCE)")
        self.refused(1, "LATIN1", "UTF8", database_url=url_of({**self.parameters, "dbname": name}))

    def test_read_only(self) -> None:
        """A standby does not do."""
        administer(f"ALTER DATABASE {self.parameters['dbname']} SET default_transaction_read_only = on")
        self.refused(1, "only reads", "can be written")

    def test_role(self) -> None:
        """Nor does a role that may only read."""
        role = f"reader_{uuid.uuid4().hex}"
        administer(f"CREATE ROLE {role} LOGIN")
        self.addCleanup(administer, f"DROP ROLE {role}")
        grant = f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
        execute(self.parameters, lambda txn: txn.execute(grant))
        revoke = f"DROP OWNED BY {role}"
        self.addCleanup(execute, self.parameters, lambda txn: txn.execute(revoke))
        url = self.url.replace("//test@", f"//{role}@")
        self.refused(1, "may not change the table", "role of the other processes", database_url=url)

    def test_another_domain(self) -> None:
        """The environment must not say another domain than the database."""
        self.refused(2, "example.com", "example.org", environ={"MENSAGOD_GLOBAL__DOMAIN": "example.org"})

    def test_wrong_key(self) -> None:
        """The key of another installation opens nothing here."""
        other = self.first / "other.key"
        other.write_bytes(write_organization_key(SecretKey.generate()))
        other.chmod(0o600)
        self.refused(1, other, "does not decrypt", "another process", organization_key=other)

    def test_bad_keys(self) -> None:
        """A key that is missing, is none, or that others can read, is refused with what to do."""
        other = self.first / "other.key"
        self.refused(1, other, "is missing", "copy organization.key", organization_key=other)
        other.write_text("no key")
        other.chmod(0o600)
        self.refused(1, "does not contain a key", organization_key=other)
        other.write_bytes(self.key.read_bytes())
        other.chmod(0o644)
        self.refused(1, "chmod 600", organization_key=other)

    def test_two_keys(self) -> None:
        """A key that is beside the configuration is not overwritten."""
        self.put_key(b"precious")
        self.refused(1, "already exists", "leave --organization-key out")

    def test_no_store(self) -> None:
        """A directory that does not exist, or is a file, is not the store."""
        missing = self.first / "missing"
        self.refused(1, missing, "does not exist", "mount the store", top_dir=missing)
        missing.write_text("")
        missing.chmod(0o777)
        self.refused(1, missing, "is not a directory", top_dir=missing)

    def test_unmounted_store(self) -> None:
        """Nor is the mount point of a disk that is missing; nothing is written there."""
        empty = self.first / "empty"
        empty.mkdir()
        empty.chmod(0o777)
        known = execute(self.parameters, find_store)
        self.refused(1, empty / "store-id", known, "mount the store", top_dir=empty)

    def test_foreign_store(self) -> None:
        """Nor is the store of another installation, or one whose ID cannot be read."""
        theirs = self.found(url_of(fresh_database(self))).config.global_.top_dir
        known = execute(self.parameters, find_store)
        found = (theirs / "store-id").read_text().strip()
        self.refused(1, theirs, found, known, "mount the store", top_dir=theirs)
        (theirs / "store-id").write_text("?")
        self.refused(1, "does not contain an ID", top_dir=theirs)

    def test_closed_store(self) -> None:
        """A store that the server's account may not use is refused, as by another user ID."""
        closed = self.first / "closed"
        closed.mkdir(0o500)
        who = f"user ID {service_account(self.account).uid}" if IS_ROOT else "this account"
        words = ("cannot be read and written", who, "on the other machines")
        store_id = self.first / "data" / "store-id"
        store_id.chmod(0o000)
        self.refused(1, store_id, *words)
        store_id.chmod(0o600)
        self.refused(1, closed, *words, top_dir=closed)
        below = closed / "below"
        closed.chmod(0o000)
        self.addCleanup(closed.chmod, 0o700)
        self.refused(1, below, *words, top_dir=below)

    def test_certificate(self) -> None:
        """For TLS the certificate of the other processes must be there: no other is made."""
        tls = ("--listen", "tls:2003")
        words = ("tls.crt", "is missing or cannot be read", "copy tls.crt and tls.key")
        self.refused(1, *words, more=tls)
        self.second.mkdir()
        shutil.copy2(self.first / "tls.crt", self.second)
        (self.second / "tls.crt").chmod(0o644)
        self.refused(1, "tls.key", *words[1:], more=tls)
        (self.second / "tls.key").touch(0o644)
        (self.second / "tls.crt").write_text("no certificate")
        self.refused(1, "is not a certificate", more=tls)

    def test_disk_full(self) -> None:
        """Nothing is left where the second file cannot be written."""

        def fail(key: SecretKey) -> bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self.patch(joining, "write_organization_key", fail)
        self.refused(1, "No space left")


class AskingTests(JoinTestCase):
    def test_asked(self) -> None:
        """On a terminal it asks for what is missing, again where the answer will not do."""
        answers = [self.url, self.key, self.first / "data", "carrier-pigeon:1", "tcp:2001"]
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        command = Command.start(
            self,
            self.first,
            "--config",
            self.config,
            "--json",
            "join",
            stdin=theirs,
            MENSAGOD_GLOBAL__USER=self.account,
        )
        os.close(theirs)
        os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
        document = command.document()
        self.assertEqual((document["domain"], document["listen"]), ("example.com", ["tcp:2001"]))
        self.assertIn("URL of the database", command.rest()[1])
        self.assertEqual(load(self.config, {}).global_.top_dir, self.first / "data")


class RootsTests(JoinTestCase):
    """Root joins for an account with a group of its own."""

    def setUp(self) -> None:
        self.account = account_with_own_group().name
        super().setUp()

    def test_files(self) -> None:
        """What the server only reads is root's, and its account reads it by its group."""
        self.joined()
        account = service_account(self.account)
        for name in ("serverconfig.toml", "organization.key"):
            state = (self.second / name).stat()
            self.assertEqual((state.st_uid, state.st_gid), (0, account.gid), name)
            self.assertEqual(stat.S_IMODE(state.st_mode), 0o640, name)

    def test_unreadable_key(self) -> None:
        """A key in its place that the account cannot read is refused, for the server reads it again."""
        key = self.put_key()
        shutil.chown(key, 0, 0)
        outcome = self.join(organization_key=None)
        self.assertEqual(outcome.status, 1)
        self.assertIn("cannot be read (Permission denied): check its owner", outcome.complaint)

    def test_fallback(self) -> None:
        """Root hears that nobody stands in for an account that does not exist."""
        shutil.chown(self.first / "data", "nobody")
        shutil.chown(self.first / "data" / "store-id", "nobody")
        outcome = self.join("--json", environ={USER: "no-such-account"})
        self.assertEqual(outcome.status, 0, outcome.err)
        self.assertIn("useradd --system --user-group no-such-account", outcome.err)


def forget_last_step(txn: Transaction) -> None:
    """Have a database whose last step seems to be missing."""
    txn.execute("DELETE FROM schema_versions WHERE version = (SELECT max(version) FROM schema_versions)")


def make_old(parameters: dict[str, Any], master: SecretKey) -> None:
    """Make an organization in a schema of before there was a store with an ID."""
    connection = connect(parameters)
    try:
        apply_all(connection, read_steps(schema.DIRECTORY)[:VERSION])
    finally:
        connection.close()
    organization, admin = OrganizationKeys(), WAddress(WorkspaceID.random(), Domain("example.com"))
    entry = make_organization_root(organization, "Example", admin.domain, admin, now=datetime.now(UTC))

    def add(txn: Transaction) -> None:
        for pair in (organization.primary, organization.encryption):
            keys.add_key(txn, protect(pair, master))
        keycards.add_entry(txn, keycards.ORGANIZATION, keycards.StoredEntry.of(entry))

    execute(parameters, add)


if not IS_ROOT:
    # Only root gives files to another account.
    del RootsTests


def _content(path: Path) -> bytes:
    """Give what is in a file, if this account may know."""
    return path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b""
