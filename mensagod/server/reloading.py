"""Reloading the configuration of a running server, and warnings about it (spec 06, ``run``)."""

from collections.abc import Mapping

from attrs import define
from twisted.logger import Logger

from mensagod.config import Config, ConfigFaults, load
from mensagod.config.differences import apply_reloadable, changed_keys
from mensagod.process.accounts import UnixAccount, fallback_warning
from mensagod.process.open_files import raise_limit, usable_clients
from mensagod.server.factory import MensagoFactory
from mensagod.server.listeners import Listeners
from mensagod.server.tls import CertificateFault
from mensagod.sessions.parts import Server


@define(eq=False)
class Reloading:
    """Reloads the configuration and the certificates, and passes them to the parts of the server.

    :ivar account: the Unix account that the server became; ``None`` if it was not started as root.
    """

    server: Server
    factory: MensagoFactory
    listeners: Listeners
    account: UnixAccount | None
    environ: Mapping[str, str]

    _log = Logger(namespace="mensagod.service")

    def read_again(self) -> None:
        """Reload configuration and certificates; sessions continue. If one is faulty, nothing changes."""
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
        self._take_over(config)
        self.warn()
        self._log.info("configuration and certificates read again")

    def raise_limit(self) -> None:
        """Raise the limit of open files as far as the system allows."""
        before, now = raise_limit()
        self.factory.configure(self.server.config)
        if before != now:
            self._log.info("limit of open files raised from {before} to {now}", before=before, now=now)

    def warn(self) -> None:
        """Log warnings about the configuration."""
        config = self.server.config
        for warning in config.warnings:
            # A log event with a field "warning" would be taken for one of Python's warnings.
            self._log.warn("{text}", text=warning)
        fallback = fallback_warning(config.global_.user, self.account)
        if fallback is not None:
            self._log.warn("{text}", text=fallback, event="fallback_account")
        wanted, usable = config.performance.max_clients, usable_clients(config)
        if usable < wanted:
            self._log.warn(
                "only {usable} of the {wanted} clients of performance.max_clients are admitted: raise the"
                " limit of open files (LimitNOFILE=, ulimit -n)",
                usable=usable,
                wanted=wanted,
                event="few_descriptors",
            )

    def _take_over(self, config: Config) -> None:
        for change in changed_keys(self.server.config, config):
            if change.restart:
                self._log.warn("{key} has changed, which needs a restart", key=change.key)
            else:
                self._log.info("{key} has changed", key=change.key)
        self.server.config = apply_reloadable(self.server.config, config)
        self.factory.configure(self.server.config)
