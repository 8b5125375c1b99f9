"""What a command can answer, and what it can ask of its connection before that (spec 01)."""

from collections.abc import Callable
from typing import TypeAlias

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mensagod.wire.messages import LongResponse, Response
from mensagod.wire.raw_data import ISink, ISource


@frozen
class Hangup:
    """The connection ends, after ``response`` if there is one."""

    response: Response | None = None


@frozen
class NoAnswer:
    """Nothing is answered: raw data has gone out, or nobody waits for an answer."""


Outcome: TypeAlias = Response | LongResponse | Hangup | NoAnswer
"""How a command ends."""


@frozen
class ReceiveRaw:
    """After ``response`` exactly ``size`` bytes come in without a frame and go to ``sink``.

    :ivar resume: called once after them, or with what went wrong; gives what the command says next.
    """

    response: Response
    size: int
    sink: ISink
    resume: Callable[[Failure | None], "Said"] = field(eq=False)


@frozen
class SendRaw:
    """Exactly ``size`` bytes of ``source`` go out without a frame.

    :ivar resume: as that of :class:`ReceiveRaw`.
    """

    source: ISource
    size: int
    resume: Callable[[Failure | None], "Said"] = field(eq=False)


Turn: TypeAlias = Outcome | ReceiveRaw | SendRaw
"""What the connection does for a command: an answer, or a raw data phase."""

Said: TypeAlias = Turn | Deferred[Turn]
"""What a command says, now or later."""
