"""Running the server in this process, in the foreground."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from twisted.application.app import ApplicationRunner, startApplication
from twisted.application.service import IService
from twisted.logger import ILogObserver
from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from mensagod.cli.output import WRONG, Refusal
from mensagod.process.logs import LineObserver
from mensagod.process.trusted_configuration import load_guarded

Announce = Callable[[tuple[str, ...]], None]


class _Runner(ApplicationRunner):
    """Does the same as ``twistd --nodaemon``, but returns after a signal, so that the exit status is 0."""

    def __init__(self, options: Any, log: TextIO):
        super().__init__(options)
        self._log = log

    def preApplication(self) -> None:
        """Do nothing: there is no PID file and no daemon."""

    def createOrGetApplication(self) -> Any:
        """Make the application, with a log that goes to the given stream."""
        application = super().createOrGetApplication()
        server = self.config.subOptions.made.server
        application.setComponent(ILogObserver, LineObserver(lambda: server.config.log, self._log))
        return application

    def postApplication(self) -> None:
        """Run the application until a signal or a fault ends it."""
        IService(self.application).privilegedStartService()
        startApplication(self.application, False)
        self.startReactor(None, sys.__stdout__, sys.__stderr__)


def serve(
    config: Path, announce: Announce | None = None, *, log: TextIO, ends_on_hangup: bool = False
) -> None:
    """Run the server until a signal ends it.

    :param announce: called once with the bound addresses when clients are accepted. By then ``sys.stdout``
        leads to the log.
    :param log: the stream for the log.
    :param ends_on_hangup: whether SIGHUP ends the server, because it means that the terminal was closed.
    :raises mensagod.config.ConfigFaults: if the configuration has faults.
    :raises mensagod.process.accounts.AccountError: if root cannot use the configuration safely.
    :raises Refusal: if the server does not start, or ends without a signal.
    """
    path = config.absolute()
    load_guarded(path, os.environ)
    streams = sys.stdout, sys.stderr
    try:
        options = ServerOptions()
        options.parseOptions(["--nodaemon", "--pidfile=", "mensagod", "--config", str(path)])
        options.subOptions.announce = announce
        options.subOptions.made.ends_on_hangup = ends_on_hangup
        _Runner(options, log).run()
    except UsageError as error:
        raise Refusal(*str(error).splitlines(), status=WRONG) from error
    except SystemExit as error:
        raise Refusal(str(error)) from error
    finally:
        # The server has replaced both by streams that write to the log.
        sys.stdout, sys.stderr = streams
    if options.subOptions.made.fault is not None:
        raise Refusal(options.subOptions.made.fault)
