"""SEND, with its older name SENDFAST: messages handed in (spec 04, *Sending*)."""

from time import time
from uuid import uuid4

from attrs import frozen
from twisted.logger import Logger
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.policy import LoggedIn, member_of
from mensagod.delivery.acceptance import Letter, read_letter
from mensagod.errors import LimitReached, ServerUnavailable
from mensagod.sessions.session import Member, Outcome, Session
from mensagod.storage import queue
from mensagod.storage.interfaces import IMailboxStore
from mensagod.storage.queue import LeaseLost, Submission
from mensagod.values.identity import Domain, WAddress
from mensagod.values.paths import FileName, ServerPath
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status

MAX_INLINE = 25_000_000
"""The longest envelope that a request may hold, in characters."""

SMALL = 32 * 1024
"""Up to so many characters it costs less to check an envelope than to have a thread do it."""

_log = Logger(namespace="mensagod.commands.sending")


@implementer(IPlugin, ICommand)
@frozen
class Send:
    """Hand in a message; 200 promises that it is delivered or that its sender hears why not.

    :ivar name: ``SEND``, or an older name.
    """

    name: str = "SEND"

    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 200 with ``FileName`` once the message is on the disk and in the queue."""
        member = member_of(session)
        text = request.required("Message", str)
        domain = request.required("Domain", Domain.from_text)
        server = session.server
        limit = server.config.performance.max_message_bytes or MAX_INLINE
        if len(text) > min(limit, MAX_INLINE):
            raise LimitReached(f"A message has at most {min(limit, MAX_INLINE)} characters")
        sender = WAddress(member.workspace, member.domain)
        if len(text) <= SMALL:
            letter = read_letter(text, sender, domain, server.keyring)
        else:
            letter = await server.files.run(read_letter, text, sender, domain, server.keyring)
        name = await self._enqueue(letter, domain, member, session)
        server.delivery.wake()
        return Response(Status.OK, data={"FileName": str(name)})

    async def _enqueue(self, letter: Letter, domain: Domain, member: Member, session: Session) -> FileName:
        """Put a letter on the disk and into the queue, both durably."""
        server = session.server
        message = Submission(
            id=uuid4(),
            lease=uuid4(),
            sender=member.workspace,
            device=member.device,
            sender_domain=member.domain,
            domain=domain,
            name=FileName.make(int(time()), len(letter.content)),
            due=letter.due,
        )
        rate = server.config.security.max_recipients_per_minute
        if not await server.database.change(queue.reserve, message, rate):
            await server.database.run(queue.reserve_within_quota, message, rate)
        path = ServerPath.outgoing(member.workspace).child(message.name)
        try:
            await server.files.run(
                _write, server.store, path, letter.content, server.config.performance.min_free_percent
            )
        except (OSError, ServerUnavailable) as error:
            await server.database.change(queue.withdraw, message.id, message.lease)
            if isinstance(error, ServerUnavailable):
                raise
            _log.error(
                "{path} could not be written: {reason}",
                path=str(path),
                reason=str(error),
                session=session.id,
            )
            raise ServerUnavailable("The message could not be stored") from error
        try:
            await server.database.change(queue.accept, message.id, message.lease)
        except LeaseLost as error:
            # Whoever took the message for abandoned may have looked for its file too early.
            await server.files.run(server.store.remove, path)
            raise ServerUnavailable("The message took too long to be stored") from error
        return message.name


def _write(store: IMailboxStore, path: ServerPath, content: bytes, min_free_percent: int) -> None:
    """Write a file, unless the disk is nearly full. Runs in a thread."""
    if store.free_percent() < min_free_percent:
        raise ServerUnavailable("The server has too little free disk")
    store.write(path, content)
