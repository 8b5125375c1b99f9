"""Outcomes of commands, and the other instructions that a command gives to its connection (spec 01)."""

from collections.abc import Callable
from typing import TypeAlias

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from mensagod.wire.messages import LongResponse, Response
from mensagod.wire.raw_data import ISink, ISource


@frozen
class Hangup:
    """Send ``response``, if there is one, and close the connection."""

    response: Response | None = None


@frozen
class NoAnswer:
    """Send nothing: raw data was sent instead of an answer."""


Outcome: TypeAlias = Response | LongResponse | Hangup | NoAnswer
"""How a command ends."""


@frozen
class ReceiveRaw:
    """Send ``response``, then receive exactly ``size`` bytes without frames and write them to ``sink``.

    :ivar resume: called once, with ``None`` after the last byte or with the failure; gives the next
        instruction.
    """

    response: Response
    size: int
    sink: ISink
    resume: Callable[[Failure | None], "NextInstruction"] = field(eq=False)


@frozen
class SendRaw:
    """Send exactly ``size`` bytes of ``source`` without frames.

    :ivar resume: as that of :class:`ReceiveRaw`.
    """

    source: ISource
    size: int
    resume: Callable[[Failure | None], "NextInstruction"] = field(eq=False)


Instruction: TypeAlias = Outcome | ReceiveRaw | SendRaw
"""What the connection is to do next for a command: carry out its outcome, or a raw data phase."""

NextInstruction: TypeAlias = Instruction | Deferred[Instruction]
"""The next instruction of a command: at once, or by a Deferred if the command has to wait."""
