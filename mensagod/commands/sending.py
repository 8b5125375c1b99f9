"""SEND, with its older name SENDFAST: messages handed in (spec 04, *Sending*)."""

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
    """Hand in a message. 200 promises that it is delivered, or that its sender hears why not."""

    name = "SEND"
    audience = Audience.MEMBER
    fields = SendFields

    async def perform(self, asked: SendFields, session: Session) -> Outcome:
        """200 with ``FileName`` once the message is on the disk and in the queue.

        400 for what is not this workspace's envelope; 409 over the quota; 414 over size or rate.
        """
        member = member_of(session)
        sender = Sender(WAddress(member.workspace, member.domain), member.device, session.id)
        name = await submit(session.server, sender, asked.message, asked.domain)
        return Response(Status.OK, data={"FileName": str(name)})


class SendFast(Send):
    """Older name of SEND."""

    name = "SENDFAST"
