"""The server as one service of Twisted's: sockets, the account, the parts, clients, and the end."""

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

FATAL = (AccountError, EmbeddedError, KeyringFault, SchemaError)
"""What ends the start; the text says why and what to do."""


@define(eq=False)
class MensagoService(Service):
    """One server process.

    :ivar assembly: the parts, each as what it is.
    :ivar parts: what is started before clients are let in, and stopped after the last one has left.
    :ivar account: whom to become before anything is read from a client; ``None`` if we are not root.
    :ivar ends_on_hangup: whether SIGHUP means that the terminal is gone, and ends the server.
    :ivar announce: called once with the bound addresses when clients are let in.
    :ivar is_daemon: whether ``twistd`` has sent us into the background.
    :ivar own_log: whether to log in our own format when an application takes the service in.
    :ivar fault: why the service ended by itself, if it did.
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
        """The parts as commands see them."""
        return self.assembly.server

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
        """Begin to start the parts, one after the other."""
        super().startService()
        self.reloading.warn()
        # Not before: what a signal then interrupts would end, and the reactor begin all the same.
        self.reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """Stop taking connections, let running commands and deliveries end, then stop the parts."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def read_again(self) -> None:
        """Take over a changed configuration and changed certificates; sessions go on (SIGHUP)."""
        self.reloading.read_again()

    def let_in(self) -> None:
        """Accept clients from now on, and say so once.

        While the database is away at the start, that is before the parts have started: there is an answer.
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
        self.let_in()

    async def _stop(self) -> None:
        if self._boot is not None:
            self._boot.cancel()
        await stop_each((self.listeners.stopService, self.factory.drain, self.parts.stop))

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

    def _end(self) -> None:
        # A second signal, or one on top of a fault, finds it ending.
        with suppress(ReactorNotRunning):
            self.reactor.stop()
