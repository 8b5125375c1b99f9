"""Requests of registration (spec 04, *Registering*)."""

from attrs import frozen

from mensagod.crypto.passwords import parse_code
from mensagod.errors import BadRequest, BadValue
from mensagod.requests.devices import PresentedDevice
from mensagod.requests.passwords import NewPassword
from mensagod.values.identity import SERVER_WORKSPACE, Domain, UserID, WorkspaceID
from mensagod.wire.fields import Fields, group, optional, required, required_unless


def parse_new_user_id(text: str) -> UserID:
    """Parse a user ID for a new account."""
    user_id = UserID.from_text(text)
    user_id.check_grantable()
    return user_id


def parse_new_workspace(text: str) -> WorkspaceID:
    """Parse a workspace ID for a new account; the one that is reserved for the server is refused."""
    workspace = WorkspaceID.from_text(text)
    if workspace == SERVER_WORKSPACE:
        raise BadValue("this ID is reserved for the server")
    return workspace


@frozen(kw_only=True)
class PreregFields(Fields):
    """PREREG."""

    workspace: WorkspaceID | None = optional(
        "Workspace-ID", parse_new_workspace, "the ID of the new workspace; else the server chooses one"
    )
    user_id: UserID | None = optional(
        "User-ID", parse_new_user_id, "the user ID of the account; else it has none"
    )
    domain: Domain | None = optional("Domain", Domain.from_text, "one of the server's; else the main one")


@frozen(kw_only=True)
class RegcodeFields(Fields):
    """REGCODE."""

    workspace: WorkspaceID | None = required_unless(
        "User-ID", "Workspace-ID", WorkspaceID.from_text, "the account, by its workspace ID"
    )
    user_id: UserID | None = optional("User-ID", UserID.from_text, "the account, by its user ID")
    domain: Domain | None = optional("Domain", Domain.from_text, "the domain of the account")
    code: str = required("Reg-Code", parse_code, "the registration code", secret=True)
    password: NewPassword = group(NewPassword)
    device: PresentedDevice = group(PresentedDevice)

    @property
    def who(self) -> WorkspaceID | UserID:
        """The ID that names the account: the workspace ID if both are given."""
        found = self.workspace or self.user_id
        if found is None:
            raise BadRequest("Missing required field Workspace-ID")
        return found
