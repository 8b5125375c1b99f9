"""SEND, with its older name SENDFAST: submitting messages (spec 04, *Sending*)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.operations.submission import Sender, submit
from mensagod.requests.sending import SendFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.values.identity import WAddress
from mensagod.wire.messages import Response


class Send(Command):
    """Submit a message. After 200 it is delivered, or its sender gets a report why not."""

    name = "SEND"
    audience = Audience.MEMBER
    fields = SendFields

    async def perform(self, asked: SendFields, session: Session) -> Outcome:
        """200 with ``FileName`` once the message is on the disk and in the queue.

        400 for a malformed envelope, or one of another sender; 409 if the quota is exceeded; 414 if the
        message is too large, or too many were sent within a minute.
        """
        member = member_of(session)
        sender = Sender(WAddress(member.workspace, member.domain), member.device, session.id)
        name = await submit(session.server, sender, asked.message, asked.domain)
        return Response(Status.OK, data={"FileName": str(name)})


class SendFast(Send):
    """Older name of SEND."""

    name = "SENDFAST"
