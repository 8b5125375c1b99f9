"""ADDENTRY and REVOKE: how a user's own card grows, in two steps (spec 04, *Identity*)."""

from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.keycards.entries import UserEntry
from mensagod.operations.keycard_entries import add_entry, countersign_entry, read_base
from mensagod.operations.passwords import require_password
from mensagod.requests.identity import AddEntryFields, RevokeFields, SignEntryFields
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session, member_of
from mensagod.status import Status
from mensagod.wire.messages import Response

_SIGNED = ("Organization-Signature", "Previous-Hash", "Hash")


class AddEntry(Command):
    """Add an entry to the card of the workspace that is logged in."""

    name = "ADDENTRY"
    audience = Audience.MEMBER
    fields = AddEntryFields
    more_fields = (SignEntryFields,)

    async def perform(self, asked: AddEntryFields, session: Session) -> Outcome:
        """100 with ``Organization-Signature``, ``Previous-Hash``, ``Hash``; then 200.

        The workspace's name is the entry's from then on.

        411 for what cannot be read or is not this workspace's; 412 for what is incomplete, of another time,
        or does not follow the current entry (another client was faster); 413 for a wrong signature; 408 with
        ``Field`` for a User-ID that is taken, and 405, 407 and 414 as for lookups (GETWID). 414 for too many
        entries within an hour, or former names.
        """
        base = read_base(asked.base_entry, member_of(session), revocation=False)
        return await _add(base, session)


class Revoke(Command):
    """Revoke the current entry of the workspace's card, and begin anew with other keys."""

    name = "REVOKE"
    audience = Audience.MEMBER
    fields = RevokeFields
    more_fields = (SignEntryFields,)

    async def perform(self, asked: RevokeFields, session: Session) -> Outcome:
        """As ADDENTRY.

        The entry has ``Revoke``, the hash of the current one, new keys, and no Custody-Signature. 401 for a
        wrong password.
        """
        member = member_of(session)
        base = read_base(asked.base_entry, member, revocation=True)
        await require_password(session.server, session, member.workspace, asked.password_hash)
        return await _add(base, session)


async def _add(base: UserEntry, session: Session) -> Response:
    """Sign the entry for the organization, wait for the user to sign it, and add it."""
    server = session.server
    offer = await countersign_entry(server, member_of(session), base, session.source)
    signed = {line: offer.entry.fields[line] for line in _SIGNED}
    again = await session.again(Response(Status.CONTINUE, data=signed), SignEntryFields)
    await add_entry(server, offer, again.signature, own_hash=again.hash, previous_hash=again.previous_hash)
    return Response(Status.OK)
