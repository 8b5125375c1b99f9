"""ADDENTRY and REVOKE: adding an entry to one's own keycard, in two steps (spec 04, *Identity*)."""

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
    """Add an entry to the keycard of the workspace that is logged in."""

    name = "ADDENTRY"
    audience = Audience.MEMBER
    fields = AddEntryFields
    more_fields = (SignEntryFields,)

    async def perform(self, asked: AddEntryFields, session: Session) -> Outcome:
        """100 with ``Organization-Signature``, ``Previous-Hash``, ``Hash``; then 200.

        The User-ID of the entry becomes the name of the workspace.

        411 if the entry cannot be parsed or belongs to another workspace; 412 if it is incomplete, not valid
        at this time, or does not follow the current entry (for instance because another client has added one
        meanwhile); 413 for a wrong signature; 408 with ``Field`` for a User-ID that is taken; 405, 407 and
        414 as for lookups (GETWID), because a User-ID counts as one. 414 for too many entries within an
        hour, or too many former names.
        """
        base = read_base(asked.base_entry, member_of(session), revocation=False)
        return await _add(base, session)


class Revoke(Command):
    """Revoke the current entry of the workspace's keycard; the new entry has new keys."""

    name = "REVOKE"
    audience = Audience.MEMBER
    fields = RevokeFields
    more_fields = (SignEntryFields,)

    async def perform(self, asked: RevokeFields, session: Session) -> Outcome:
        """As ADDENTRY.

        The new entry has ``Revoke`` with the hash of the current one, new keys, and no Custody-Signature.
        401 for a wrong password.
        """
        member = member_of(session)
        base = read_base(asked.base_entry, member, revocation=True)
        await require_password(session.server, session, member.workspace, asked.password_hash)
        return await _add(base, session)


async def _add(base: UserEntry, session: Session) -> Response:
    """Sign an entry for the organization, wait for the user's signature, and add it."""
    server = session.server
    offer = await countersign_entry(server, member_of(session), base, session.source)
    signed = {line: offer.entry.fields[line] for line in _SIGNED}
    again = await session.again(Response(Status.CONTINUE, data=signed), SignEntryFields)
    await add_entry(server, offer, again.signature, own_hash=again.hash, previous_hash=again.previous_hash)
    return Response(Status.OK)
