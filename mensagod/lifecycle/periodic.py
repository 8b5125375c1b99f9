"""Work that is repeated at a fixed interval while the server runs."""

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.errors import ServerUnavailable

_log = Logger(namespace="mensagod.lifecycle")


class Periodic(Service):
    """Runs ``work`` at the start and then every ``seconds``; a run that takes longer delays the next.

    A run that fails never stops the repetition. The first failure is logged with its traceback; further
    failures are not logged until a run has succeeded again. An unavailable database is not logged here,
    because the database service logs it once for all.

    :param clock: gives the time.
    :param seconds: the time between the beginnings of two runs.
    :param work: one run.
    :param complaint: the log message for a run that failed.
    :param now: whether the first run is at the start; otherwise it is ``seconds`` later.
    """

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        work: Callable[[], Awaitable[None]],
        complaint: str,
        *,
        now: bool = True,
    ):
        self._seconds = seconds
        self._work = work
        self._complaint = complaint
        self._now = now
        self._has_complained = False
        self._loop = LoopingCall(self._begin)
        self._loop.clock = clock

    def startService(self) -> None:
        """Begin the repetition."""
        super().startService()
        self._loop.start(self._seconds, now=self._now).addErrback(self._ended)

    def stopService(self) -> None:
        """Begin no further run; a run that has begun is not interrupted."""
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    async def run(self) -> None:
        """Do one run now; a failure is logged, never raised."""
        try:
            await self._work()
        except (CancelledError, ServerUnavailable):
            return
        except Exception:
            if not self._has_complained:
                _log.failure("{complaint}", complaint=self._complaint)
            self._has_complained = True
        else:
            self._has_complained = False

    def _begin(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.run())

    def _ended(self, failure: Failure) -> None:
        """Log that the repetition has ended, which only a bug in this class can cause."""
        _log.failure("{complaint}, and it is not tried again", failure, complaint=self._complaint)
