"""The server as one Twisted service: it binds sockets, gives up root, starts the parts, and stops them."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from mensagod.contents.interfaces import WrongStore
from mensagod.lifecycle.parts import Parts, stop_each
from mensagod.organization.keyring import KeyringFault
from mensagod.postgres.binaries import EmbeddedError
from mensagod.process.accounts import AccountError, UnixAccount
from mensagod.process.logs import LineObserver
from mensagod.process.signals import obey
from mensagod.server.assembly import Assembly
from mensagod.server.descending import descend
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners, ListenFault
from mensagod.server.reloading import Reloading
from mensagod.sessions.parts import Server
from mensagod.storage.migrations import SchemaError

FATAL = (AccountError, EmbeddedError, KeyringFault, SchemaError, WrongStore)
"""Exceptions that end the start; their text says why, and what to do."""


@define(eq=False)
class MensagoService(Service):
    """One server process.

    :ivar assembly: makes the parts.
    :ivar parts: started before clients are admitted, and stopped after the last one was disconnected.
    :ivar account: the Unix account to become before clients are admitted; ``None`` if not started as root.
    :ivar ends_on_hangup: whether SIGHUP ends the server, because its terminal was closed, instead of
        reloading.
    :ivar announce: called once with the bound addresses when clients are admitted.
    :ivar is_daemon: whether ``twistd`` has put the process into the background.
    :ivar own_log: whether to log in mensagod's format once the service is part of an application.
    :ivar fault: why the server ended by itself; ``None`` if it did not.
    """

    reactor: Any
    assembly: Assembly
    factory: MensagoFactory
    listeners: Listeners
    parts: Parts
    reloading: Reloading
    account: UnixAccount | None
    is_daemon: bool = False
    own_log: bool = True
    ends_on_hangup: bool = False
    announce: Callable[[tuple[str, ...]], None] | None = None
    fault: str | None = field(default=None, init=False)
    _boot: Deferred[None] | None = field(default=None, init=False)
    _accepting: bool = field(default=False, init=False)

    _log = Logger(namespace="mensagod.service")

    @property
    def server(self) -> Server:
        """The parts that commands use."""
        return self.assembly.server

    def setServiceParent(self, parent: Any) -> None:
        """Become part of an application, and set the format of its log."""
        super().setServiceParent(parent)
        if self.own_log and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, LineObserver(lambda: self.server.config.log))

    def privilegedStartService(self) -> None:
        """Bind the sockets, then cease to be root, before anything is read from anybody.

        :raises SystemExit: if that cannot be, with one sentence, which is all that ``twistd`` then shows; as
            a daemon it knows what to do about exceptions only.
        """
        try:
            self.reloading.raise_limit()
            self.listeners.privilegedStartService()
            descend(self.server.config, self.account)
        except (AccountError, ListenFault) as error:
            if self.is_daemon:
                raise
            raise SystemExit(str(error)) from error
        hang_up = self._end if self.ends_on_hangup else self.read_again
        self.reactor.callWhenRunning(obey, self.reactor, self._end, hang_up)

    def startService(self) -> None:
        """Begin to start the parts once the reactor runs."""
        super().startService()
        self.reloading.warn()
        # Not before: a signal during the start could then not keep the reactor from running.
        self.reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Close the listeners, wait for running commands, then stop the parts."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def read_again(self) -> None:
        """Reload the configuration and the certificates; sessions continue (SIGHUP)."""
        self.reloading.read_again()

    def admit_clients(self) -> None:
        """Admit clients from now on; announce that once.

        If the database is unavailable at the start, this is called before the parts have started: clients
        are then answered 303.
        """
        if not self._accepting:
            self._accepting = True
            self.listeners.accept()
            if self.announce is not None:
                self.announce(self.listeners.addresses)

    def _begin(self) -> None:
        self._boot = Deferred.fromCoroutine(self._start())
        self._boot.addErrback(self._give_up)

    async def _start(self) -> None:
        await self.parts.start()
        self.admit_clients()

    async def _stop(self) -> None:
        if self._boot is not None:
            self._boot.cancel()
        await stop_each((self.listeners.stopService, self.factory.drain, self.parts.stop))

    def _give_up(self, failure: Failure) -> None:
        """Log why the start failed, and end the process."""
        if failure.check(CancelledError):
            return
        if failure.check(*FATAL):
            self.fault = failure.getErrorMessage()
            self._log.critical("cannot start: {fault}", fault=self.fault)
        else:
            self.fault = "internal error, see the log"
            self._log.failure("cannot start", failure)
        self._end()

    def _end(self) -> None:
        # After a second signal, or a signal after a fault, the reactor is stopping already.
        with suppress(ReactorNotRunning):
            self.reactor.stop()
