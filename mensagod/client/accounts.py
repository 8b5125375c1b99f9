"""Registering accounts (spec 04, *Registering*)."""

from attrs import frozen

from mensagod.client.answers import optional, required
from mensagod.client.connection import ClientConnection
from mensagod.client.devices import DeviceCredentials
from mensagod.requests.passwords import NewPassword
from mensagod.requests.registration import PreregFields, RegcodeFields
from mensagod.status import Status
from mensagod.values.identity import Domain, UserID, WAddress, WorkspaceID
from mensagod.wire.messages import Response


@frozen
class Account:
    """An account, from the server's answer.

    :ivar user_id: ``None`` if it has only a workspace ID.
    """

    workspace: WorkspaceID
    domain: Domain
    user_id: UserID | None

    @property
    def address(self) -> WAddress:
        """The workspace address, which never changes."""
        return WAddress(self.workspace, self.domain)


@frozen
class Preregistration:
    """A preregistered account.

    :ivar code: the registration code for :func:`register_with_code`; a secret.
    """

    account: Account
    code: str


async def preregister(
    connection: ClientConnection,
    workspace: WorkspaceID | None = None,
    user_id: UserID | None = None,
    domain: Domain | None = None,
) -> Preregistration:
    """Preregister an account; only the administrator may.

    The server chooses the workspace ID and the domain if they are not given. Without ``user_id`` the account
    has none.
    """
    fields = PreregFields(workspace=workspace, user_id=user_id, domain=domain)
    response = await connection.request("PREREG", fields, Status.OK)
    return Preregistration(_account(response), required(response, "Reg-Code", str))


async def register_with_code(
    connection: ClientConnection,
    who: WorkspaceID | UserID,
    code: str,
    password_hash: str,
    device: DeviceCredentials,
    *,
    domain: Domain | None = None,
) -> Account:
    """Register a preregistered account, with a first device.

    :param who: the workspace ID or the user ID of the account.
    :param password_hash: see :func:`mensagod.client.passwords.hash_password`.
    """
    fields = RegcodeFields(
        workspace=who if isinstance(who, WorkspaceID) else None,
        user_id=who if isinstance(who, UserID) else None,
        domain=domain,
        code=code,
        password=NewPassword.from_hash(password_hash),
        device=device.presented,
    )
    return _account(await connection.request("REGCODE", fields, Status.REGISTERED))


def _account(response: Response) -> Account:
    """Read the account in an answer."""
    user_id = optional(response, "User-ID", UserID.from_text)
    if user_id is not None and user_id.workspace is not None:
        # An account without a user ID has the text of its workspace ID in this field.
        user_id = None
    workspace = required(response, "Workspace-ID", WorkspaceID.from_text)
    return Account(workspace, required(response, "Domain", Domain.from_text), user_id)
