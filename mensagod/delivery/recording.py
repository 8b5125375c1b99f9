"""Results of delivery, recorded in the queue: what is tried again and when, and what is given up."""

from collections.abc import Callable
from datetime import timedelta
from random import SystemRandom

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure

from mensagod.config import Config
from mensagod.delivery.interfaces import IQueue
from mensagod.delivery.results import Delivered, DeliveryError, OwnFault
from mensagod.errors import ServerUnavailable
from mensagod.status import Status
from mensagod.storage.clocks import ClockAgreement
from mensagod.storage.queue import Cause, Overtaken, Queued

JITTER = 0.1
"""By which part of itself the wait until the next try is longer or shorter, at random."""

_random = SystemRandom()


@frozen
class Recorder:
    """Records results in the queue, by the rules of the configuration for retries."""

    clocks: ClockAgreement
    config: Callable[[], Config]
    queue: IQueue

    _log = Logger(namespace="mensagod.delivery")

    async def record(self, message: Queued, result: Delivered | Exception) -> bool:
        """Record the result of a try.

        :returns: whether the message is dealt with; if not, it stays due, and is tried again.
        """
        try:
            await self._record(message, result)
        except Overtaken:
            self._log.warn("another process has worked on message {message}", message=str(message.id))
            return True
        except ServerUnavailable:
            self._log.warn("message {message} waits for the database", message=str(message.id))
        except Exception:
            self._log.failure("the result for message {message} is not recorded", message=str(message.id))
        else:
            return True
        return False

    async def _record(self, message: Queued, result: Delivered | Exception) -> None:
        match result:
            case Delivered():
                self._log.info("message {message} delivered", message=str(message.id))
            case DeliveryError():
                await self._retry_or_fail(message, result)
            case Overtaken() | ServerUnavailable():
                raise result
            case _:
                self._log.failure(
                    "message {message} could not be delivered", Failure(result), message=str(message.id)
                )
                error = OwnFault(f"internal error ({type(result).__name__})")
                await self._retry_or_fail(message, error)

    async def _retry_or_fail(self, message: Queued, error: DeliveryError) -> None:
        """Postpone a message, or give it up if its fault or its age is final."""
        is_old = self._is_old(message)
        status = error.status
        if is_old and status is Status.DESTINATION_CURRENTLY_UNAVAILABLE:
            status = Status.DESTINATION_UNAVAILABLE
        cause = Cause(status, str(error))
        self._log.warn(
            "message {message} not delivered: {code} {reason}",
            message=str(message.id),
            code=int(cause.status),
            reason=cause.reason,
            sender=str(message.sender),
            domain=str(message.domain),
        )
        if error.final or is_old:
            await self.queue.fail(message, cause)
        else:
            await self.queue.postpone(message, cause, self._wait(message))

    def _is_old(self, message: Queued) -> bool:
        """Tell whether a message has reached the age at which retries end.

        The clocks have to confirm that (spec 06, *Clocks lie*); until they do, it is tried again.
        """
        now = self.clocks.now
        if now is None:
            return False
        limit = timedelta(hours=self.config().federation.max_queue_age)
        return self.clocks.confirmed(("age", message.id), due=now - message.accepted > limit)

    def _wait(self, message: Queued) -> float:
        """Give the seconds until the next try, jittered so that what failed together parts."""
        intervals = self.config().federation.retry_intervals
        interval = intervals[min(message.attempts, len(intervals) - 1)]
        return interval * _random.uniform(1 - JITTER, 1 + JITTER)
