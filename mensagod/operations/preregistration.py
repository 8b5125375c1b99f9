"""Accounts that the administrator or operator preregisters and their owners complete (spec 04, PREREG)."""

from attrs import field, frozen

from mensagod.crypto.passwords import LoginParameters, PasswordHasher, make_code
from mensagod.errors import BadRequest, Unauthorized
from mensagod.operations.parts import Parts
from mensagod.operations.passwords import delay_failure
from mensagod.storage import preregistrations
from mensagod.storage.devices import Presented
from mensagod.storage.preregistrations import Preregistration
from mensagod.storage.rows import Transaction
from mensagod.storage.workspaces import Credentials
from mensagod.threads.fair_queue import Client
from mensagod.values.identity import Domain, UserID, WorkspaceID

_NO_SUCH = "No such ID and registration code"


@frozen
class RegistrationCode:
    """The code with which the owner of an account registers.

    :ivar text: the code for the owner; a secret.
    :ivar hash: its hash, which is stored.
    """

    text: str = field(repr=False)
    hash: str = field(repr=False)

    @classmethod
    def make(cls, hasher: PasswordHasher, words: int) -> "RegistrationCode":
        """Make a code of that many words. It blocks as long as a password check: call it in a worker pool."""
        text = make_code(words)
        return cls(text, hasher.hash(text))


@frozen(kw_only=True)
class NewAccount:
    """An account to preregister.

    :ivar user_id: its user ID; ``None`` if it has none.
    """

    domain: Domain
    user_id: UserID | None = None
    workspace: WorkspaceID = field(factory=WorkspaceID.random)


def preregister(txn: Transaction, account: NewAccount, code: RegistrationCode) -> None:
    """Preregister an account: store workspace, user ID and code in one transaction.

    :raises mensagod.storage.workspaces.Taken: if an ID is not free.
    """
    preregistrations.preregister(txn, account.workspace, account.user_id, account.domain, code.hash)


async def offer_account(parts: Parts, client: Client, account: NewAccount) -> RegistrationCode:
    """Preregister an account on a running server; give its registration code.

    :raises BadRequest: if its domain is not one of the server's.
    :raises mensagod.storage.workspaces.Taken: if an ID is not free.
    """
    if not parts.is_local(account.domain):
        raise BadRequest("Domain is not one of this server's")
    words = parts.config.security.diceware_wordcount
    code = await parts.password_checks.run_for(client, RegistrationCode.make, parts.hasher, words)
    await parts.database.run(preregister, account, code)
    return code


@frozen(kw_only=True)
class Owner:
    """The data with which the owner of a preregistered account completes it.

    :ivar code: the registration code; a secret.
    :ivar password: the password hash that the client made; a secret.
    """

    code: str = field(repr=False)
    password: str = field(repr=False)
    parameters: LoginParameters
    device: Presented


@frozen
class Registered:
    """An account that was completed.

    :ivar name: its user ID, or the text of its workspace ID if it has none.
    """

    workspace: WorkspaceID
    name: str
    domain: Domain


async def complete_account(
    parts: Parts, client: Client, who: WorkspaceID | UserID, domain: Domain | None, owner: Owner
) -> Registered:
    """Complete a preregistered account if the code is correct (spec 04, REGCODE).

    :param who: the workspace ID or the user ID of the account.
    :raises Unauthorized: after a delay, if the ID or the code is wrong.
    """
    found = await _find(parts, who, domain)
    hasher = parts.hasher
    stored = found.code_hash if found is not None else hasher.dummy
    right = await parts.code_checks.run_for(client, hasher.verify, stored, owner.code)
    if found is None or not right:
        await delay_failure(parts)
        raise Unauthorized(_NO_SUCH)
    credentials = Credentials(
        await parts.code_checks.run_for(client, hasher.hash, owner.password),
        owner.parameters.algorithm,
        owner.parameters.salt,
        owner.parameters.parameters,
    )
    quota = parts.config.global_.default_quota_bytes
    name = await parts.database.run(preregistrations.complete, found, credentials, owner.device, quota)
    if name is None:
        raise Unauthorized(_NO_SUCH)
    return Registered(found.workspace, name, found.domain)


async def _find(parts: Parts, who: WorkspaceID | UserID, domain: Domain | None) -> Preregistration | None:
    """Find a preregistered account by either ID."""
    if isinstance(who, UserID):
        if who.workspace is None:
            where = domain or parts.domain
            return await parts.database.read(preregistrations.find_by_name, who, where)
        who = who.workspace
    return await parts.database.read(preregistrations.find_by_workspace, who, domain)
