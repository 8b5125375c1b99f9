"""ADDENTRY and REVOKE: how a user's own card grows, in two steps (spec 04, *Identity*)."""

from datetime import UTC, datetime
from functools import partial

from attrs import frozen
from twisted.plugin import IPlugin
from zope.interface import implementer

from mensagod.commands.interfaces import ICommand
from mensagod.commands.lookups import count_wish
from mensagod.commands.passwords import require_password
from mensagod.commands.policy import LoggedIn, member_of
from mensagod.crypto.hashing import parse_hash
from mensagod.crypto.passwords import parse_password_hash
from mensagod.crypto.signing import parse_signature
from mensagod.errors import BadValue, ServerUnavailable
from mensagod.keycards.compliance import check_base, check_sealed, check_time
from mensagod.keycards.entries import OrganizationEntry, UserEntry
from mensagod.keycards.errors import BadKeycardData, NoncompliantKeycard
from mensagod.keycards.links import check_successor
from mensagod.keycards.making import countersign, finish_user
from mensagod.sessions.session import Member, Outcome, Session, Step
from mensagod.storage.additions import Basis, add_user_entry, read_basis
from mensagod.storage.keycards import StoredEntry, has_held
from mensagod.storage.workspaces import Taken
from mensagod.wire.messages import Request, Response
from mensagod.wire.status import Status

_ADMIN = "admin"
_TRIES = 3
REMEMBERED = 1000
"""In how many of a card's last entries a revocation's keys are looked for."""


@implementer(IPlugin, ICommand)
@frozen
class AddEntry:
    """Add an entry to the card of the workspace that is logged in."""

    name = "ADDENTRY"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer 100 with ``Organization-Signature``, ``Previous-Hash``, ``Hash``; wait for the signature."""
        text = request.required("Base-Entry", str)
        base = _read_base(text, member_of(session), revocation=False)
        return await _offer(self.name, base, session)


@implementer(IPlugin, ICommand)
@frozen
class Revoke:
    """Revoke the current entry of the workspace's card, and begin anew with other keys."""

    name = "REVOKE"
    demands = (LoggedIn(),)

    async def perform(self, request: Request, session: Session) -> Outcome:
        """Answer as ADDENTRY does; 401 for a wrong password."""
        text = request.required("Base-Entry", str)
        password = request.required("Password-Hash", parse_password_hash)
        base = _read_base(text, member_of(session), revocation=True)
        await require_password(password, session)
        return await _offer(self.name, base, session)


def _read_base(text: str, member: Member, *, revocation: bool) -> UserEntry:
    """Read a base entry and check all that can be checked without the database.

    :raises mensagod.keycards.errors.KeycardFault: if it is not in order.
    """
    entry = UserEntry.from_text(text)
    check_base(entry, revocation=revocation)
    if entry.workspace != member.workspace:
        raise BadKeycardData("Workspace-ID is not that of this session")
    if entry.domain != member.domain:
        raise BadKeycardData("Domain is not that of this workspace")
    check_time(entry, datetime.now(UTC))
    return entry


async def _offer(action: str, base: UserEntry, session: Session) -> Response:
    """Check the entry against what is there, sign it for the organization, wait for the user to sign it."""
    member = member_of(session)
    basis, organization = await _read_basis(base, session)
    previous = None if basis.previous is None else UserEntry.from_text(basis.previous.text)
    check_successor(base, previous)
    await _check_fresh(base, session)
    await _count_name(base, basis, session)
    _check_name(base, basis, member)
    signer = session.server.keyring.signing
    if signer.public != organization.primary_key:
        raise NoncompliantKeycard("The organization's keycard has changed meanwhile: begin again")
    entry = countersign(base, signer, organization, previous)
    session.expect(Step(action, ("User-Signature",), partial(_finish, entry, basis)))
    lines = ("Organization-Signature", "Previous-Hash", "Hash")
    return Response(Status.CONTINUE, data={line: entry.fields[line] for line in lines})


async def _read_basis(base: UserEntry, session: Session) -> tuple[Basis, OrganizationEntry]:
    """Read what the entry builds on, until it goes with the keys that this process has.

    :raises ServerUnavailable: if the organization's card and keys do not go together.
    """
    server = session.server
    for _ in range(_TRIES):
        basis = await server.database.run(read_basis, base.workspace, base.user_id, base.domain)
        if basis.organization is None:
            break
        organization = OrganizationEntry.from_text(basis.organization.text)
        if organization.primary_key == server.keyring.signing.public:
            return basis, organization
        # Another process has just changed them.
        await server.keys.refresh()
    raise ServerUnavailable


async def _check_fresh(entry: UserEntry, session: Session) -> None:
    """Check that the keys of a revocation are new to the card; what it gains until the second step ends that.

    :raises NoncompliantKeycard: if one stood in any of the last :data:`REMEMBERED` entries.
    """
    if entry.revokes is None:
        return
    if await session.server.database.read(has_held, entry.workspace, entry.keys, REMEMBERED):
        raise NoncompliantKeycard("A revocation has keys that the card never had")


async def _count_name(entry: UserEntry, basis: Basis, session: Session) -> None:
    """Count a name that is not the workspace's own as looked up: it tells who has which name."""
    holder, user_id = basis.holder, entry.user_id
    if user_id is None or (holder is not None and holder.workspace == entry.workspace):
        return
    await count_wish(user_id, entry.domain, holder is not None, session)


def _check_name(entry: UserEntry, basis: Basis, member: Member) -> None:
    """Check that the workspace may have the name that the entry asks for.

    :raises Taken: if it is another's, or an alias, which only the operator gives and takes.
    :raises BadKeycardData: if it is never given out, or the administrator would lose theirs.
    """
    user_id = entry.user_id
    if user_id is None:
        return
    holder = basis.holder
    if holder is None:
        try:
            user_id.check_grantable()
        except BadValue as bad:
            raise BadKeycardData(f"Bad value for field User-ID: {bad}") from None
    elif holder.workspace != member.workspace or holder.kind == "alias":
        raise Taken("User-ID")
    if member.is_admin and str(user_id) != _ADMIN:
        raise BadKeycardData(f"The administrator's User-ID is {_ADMIN}")


async def _finish(entry: UserEntry, basis: Basis, request: Request, session: Session) -> Outcome:
    """Add the entry with the user's signature, if nobody was faster."""
    complete = finish_user(
        entry,
        request.required("User-Signature", parse_signature),
        own_hash=request.optional("Hash", parse_hash),
        previous_hash=request.optional("Previous-Hash", parse_hash),
    )
    if complete.previous_hash != entry.previous_hash:
        raise NoncompliantKeycard("Previous-Hash is not the hash of the entry before it")
    check_sealed(complete)
    server = session.server
    try:
        await server.database.run(add_user_entry, complete, StoredEntry.of(complete), basis)
    finally:
        server.changes.tell(frozenset({complete.workspace}))
    return Response(Status.OK)
