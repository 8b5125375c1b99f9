"""The server as one service: in which order its parts start, stop and read their configuration again."""

import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import psycopg2
from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, maybeDeferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from mensagod.config import ConfigFaults, load
from mensagod.config.changes import apply_reloadable, changed_keys
from mensagod.crypto import passwords
from mensagod.errors import ServerUnavailable
from mensagod.organization import keycard
from mensagod.organization.keyring import KeyringFault
from mensagod.postgres.binaries import EmbeddedError
from mensagod.postgres.embedded import EmbeddedPostgres
from mensagod.process.accounts import Account, AccountError, can_reach, drop_privileges, fallback_warning
from mensagod.process.eager_imports import load_modules
from mensagod.process.logs import LineObserver
from mensagod.process.open_files import raise_limit, usable_clients
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners, ListenFault
from mensagod.server.parts import Server
from mensagod.server.tls import CertificateFault
from mensagod.storage import changes, failures, processes, schema
from mensagod.storage.connections import Connection, connect
from mensagod.storage.migrations import SchemaError, Step, apply_all, read_steps
from mensagod.storage.top_dir import check_top_dir
from mensagod.threads.pool import Crew
from mensagod.values import user_ids

HEARTBEAT_SECONDS = 10
"""How often a process tells the database that it lives."""

AWAY_SECONDS = 1
"""How long to wait for a database that is away before it is asked again."""

FATAL = (AccountError, EmbeddedError, KeyringFault, SchemaError)
"""What ends the start; the text says why and what to do."""


@define(eq=False)
class MensagoService(Service):
    """One server process.

    :ivar account: whom to become before anything is read from a client; ``None`` if we are not root.
    :ivar ends_on_hangup: whether SIGHUP means that the terminal is gone, and ends the server.
    :ivar announce: called once with the bound addresses when clients are let in.
    :ivar is_daemon: whether ``twistd`` has sent us into the background.
    :ivar own_log: whether to log in our own format when an application takes the service in.
    :ivar fault: why the service ended by itself, if it did.
    """

    reactor: Any
    server: Server
    factory: MensagoFactory
    listeners: Listeners
    embedded: EmbeddedPostgres | None
    account: Account | None
    environ: Mapping[str, str]
    is_daemon: bool = False
    own_log: bool = True
    ends_on_hangup: bool = False
    announce: Callable[[tuple[str, ...]], None] | None = None
    fault: str | None = field(default=None, init=False)
    _steps: list[Step] | None = field(default=None, init=False)
    _boot: Deferred[None] | None = field(default=None, init=False)
    _accepting: bool = field(default=False, init=False)
    _heart: LoopingCall | None = field(default=None, init=False)
    _database_started: bool = field(default=False, init=False)

    _log = Logger(namespace="mensagod.service")

    def setServiceParent(self, parent: Any) -> None:
        """Become part of an application, and bring the format of the log along."""
        super().setServiceParent(parent)
        if self.own_log and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, LineObserver(lambda: self.server.config.log))

    def privilegedStartService(self) -> None:
        """Bind the sockets, then cease to be root, before anything is read from anybody.

        :raises SystemExit: if that cannot be, with one sentence, which is all that ``twistd`` then shows; as
            a daemon it knows what to do about exceptions only.
        """
        try:
            self._bind_and_descend()
        except (AccountError, ListenFault) as error:
            if self.is_daemon:
                raise
            raise SystemExit(str(error)) from error
        self.reactor.callWhenRunning(self._watch_signals)

    def _bind_and_descend(self) -> None:
        self._raise_limit()
        self.listeners.privilegedStartService()
        if self.account is not None:
            self._preload()
            self._check_reach(self.account)
            drop_privileges(self.account)
        if os.geteuid() == 0:
            raise AccountError("mensagod never serves as root: name an account in global.user")
        check_top_dir(self.server.config.global_.top_dir)

    def _preload(self) -> None:
        """Load what is else loaded on first use: it may lie where the account cannot read."""
        load_modules()
        user_ids.script_lookup()
        passwords.word_list()
        self._steps = read_steps(schema.DIRECTORY)

    def startService(self) -> None:
        """Begin to start the parts, one after the other."""
        super().startService()
        self._warn()
        for crew in self._crews:
            crew.startService()
        # Not before: what a signal then interrupts would end, and the reactor begin all the same.
        self.reactor.callWhenRunning(self._begin)

    def _begin(self) -> None:
        self._boot = ensureDeferred(self._start())
        self._boot.addErrback(self._give_up)

    def stopService(self) -> Deferred[None]:
        """Stop taking connections, let running commands and deliveries end, then stop the parts."""
        super().stopService()
        return ensureDeferred(self._stop())

    def read_again(self) -> None:
        """Take over a changed configuration and changed certificates; sessions go on (SIGHUP)."""
        try:
            config = load(self.server.config.path, self.environ)
            if self.listeners.certificates is not None:
                network = config.network
                self.listeners.certificates.read_again(network.tls_certificate, network.tls_key)
        except ConfigFaults as error:
            for fault in error.faults:
                self._log.error("configuration not read again: {fault}", fault=str(fault))
            return
        except CertificateFault as error:
            self._log.error("configuration not read again: {fault}", fault=str(error))
            return
        for change in changed_keys(self.server.config, config):
            if change.restart:
                self._log.warn("{key} has changed, which needs a restart", key=change.key)
            else:
                self._log.info("{key} has changed", key=change.key)
        config = apply_reloadable(self.server.config, config)
        self.server.config = config
        self.factory.configure(config)
        self._warn()
        self._log.info("configuration and certificates read again")

    def _warn(self) -> None:
        """Say what is odd about the configuration."""
        config = self.server.config
        for warning in config.warnings:
            # A field "warning" would make it one of Python's warnings.
            self._log.warn("{text}", text=warning)
        fallback = fallback_warning(config.global_.user, self.account)
        if fallback is not None:
            self._log.warn("{text}", text=fallback, event="fallback_account")
        wanted, usable = config.performance.max_clients, usable_clients(config)
        if usable < wanted:
            self._log.warn(
                "only {usable} of the {wanted} clients of performance.max_clients are let in: raise the limit"
                " of open files (LimitNOFILE=, ulimit -n)",
                usable=usable,
                wanted=wanted,
                event="few_descriptors",
            )

    def _raise_limit(self) -> None:
        """Have as many open files as the system allows."""
        before, now = raise_limit()
        self.factory.configure(self.server.config)
        if before != now:
            self._log.info("limit of open files raised from {before} to {now}", before=before, now=now)

    @property
    def _crews(self) -> tuple[Crew, ...]:
        return (self.server.files, self.server.password_checks, self.server.code_checks)

    def _watch_signals(self) -> None:
        """Have SIGTERM and SIGINT end with status 0, and SIGHUP read the configuration again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.reactor.callFromThread(self._end))
        hang_up = self._end if self.ends_on_hangup else self.read_again
        signal.signal(signal.SIGHUP, lambda *_: self.reactor.callFromThread(hang_up))

    def _end(self) -> None:
        # A second signal, or one on top of a fault, finds it ending.
        with suppress(ReactorNotRunning):
            self.reactor.stop()

    def _check_reach(self, account: Account) -> None:
        for path in (self.server.config.global_.top_dir, self.server.config.path):
            barrier = can_reach(path, account)
            if barrier is not None:
                raise AccountError(
                    f"the account {account.name} cannot reach {path}: {barrier} is closed to it. Put it"
                    " below a directory that is open, such as /srv, or start as an ordinary user"
                )

    def _give_up(self, failure: Failure) -> None:
        """End the process: it cannot serve."""
        if failure.check(CancelledError):
            return
        if failure.check(*FATAL):
            self.fault = failure.getErrorMessage()
            self._log.critical("cannot start: {fault}", fault=self.fault)
        else:
            self.fault = "internal error, see the log"
            self._log.failure("cannot start", failure)
        self._end()

    async def _start(self) -> None:
        """Start everything; clients are let in as soon as there is an answer for them."""
        if self.embedded is not None:
            await self.embedded.start()
        self.server.database.startService()
        self._database_started = True
        await self._when_there(lambda: deferToThread(self._migrate))
        await self._when_there(self.server.keys.load)
        await self._when_there(self.check_domain)
        await self._when_there(self._beat)
        self._heart = LoopingCall(lambda: ensureDeferred(self._beat_on()))
        self._heart.clock = self.reactor
        self._heart.start(HEARTBEAT_SECONDS, now=False).addErrback(self._broken)
        self.server.keys.startService()
        self.server.changes.startService()
        self.server.delivery.startService()
        self._accept()

    async def _when_there(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do ``work``, again and again while the database is away; meanwhile clients are told so."""
        told = False
        while True:
            try:
                return await work()
            except (ServerUnavailable, psycopg2.OperationalError) as error:
                if not told:
                    self._log.error("the database is away: {error}", error=" ".join(str(error).split()))
                    told = True
                self._accept()
                await deferLater(self.reactor, AWAY_SECONDS)

    def _accept(self) -> None:
        if not self._accepting:
            self._accepting = True
            self.listeners.accept()
            if self.announce is not None:
                self.announce(self.listeners.addresses)

    async def check_domain(self) -> None:
        """Make sure that configuration and database are of one organization.

        :raises KeyringFault: if they are not, which ends the start.
        """
        entry = await self.server.database.read(keycard.current_entry)
        if entry.domain != self.server.domain:
            raise KeyringFault(
                f"the database belongs to {entry.domain}, but global.domain is {self.server.domain}: put back"
                " the one or the other"
            )

    def _migrate(self) -> None:
        """Bring the schema up to date. Runs in a thread, with a connection of its own."""
        connection: Connection = connect(self.server.database.parameters)
        try:
            for step in apply_all(connection, self._steps or read_steps(schema.DIRECTORY)):
                self._log.info("schema step {step} applied", step=step.file_name)
        finally:
            connection.close()

    async def _beat(self) -> None:
        name = f"{socket.gethostname()}:{os.getpid()}"
        await self.server.database.run(processes.enroll, self.server.sessions.process, name)

    async def _beat_on(self) -> None:
        try:
            await self._beat()
            await self.server.database.run(failures.forget_expired)
            await self.server.database.run(changes.forget_old)
        except ServerUnavailable:
            return

    def _broken(self, failure: Failure) -> None:
        self._log.failure("the process no longer shows that it lives", failure)

    async def _stop(self) -> None:
        """Stop each part, whatever becomes of those before it: a thread that stays would keep the process."""
        if self._boot is not None:
            self._boot.cancel()
        for stop in self._stops():
            try:
                await maybeDeferred(stop)
            except Exception:
                self._log.failure("a part of the server did not stop in good order")

    def _stops(self) -> Iterator[Callable[[], object]]:
        """Give what stops the parts, in the order in which that must be."""
        yield self.listeners.stopService
        yield self.factory.drain
        for service in (self.server.delivery, self.server.keys, self.server.changes):
            if service.running:
                yield service.stopService
        if self._heart is not None and self._heart.running:
            yield self._heart.stop
        if self._database_started:
            yield self._dismiss
            yield self.server.database.stopService
        if self.embedded is not None:
            yield self.embedded.stop
        for crew in self._crews:
            yield crew.stopService

    async def _dismiss(self) -> None:
        try:
            await self.server.database.run(processes.dismiss, self.server.sessions.process)
        except ServerUnavailable:
            return
