"""The requests by which accounts come to be (spec 04, *Registering*)."""

from attrs import frozen

from mensagod.crypto.passwords import parse_code
from mensagod.errors import BadRequest, BadValue
from mensagod.requests.devices import PresentedDevice
from mensagod.requests.passwords import NewPassword
from mensagod.values.identity import SERVER_WORKSPACE, Domain, UserID, WorkspaceID
from mensagod.wire.fields import Fields, group, optional, required, required_unless


def parse_new_user_id(text: str) -> UserID:
    """Read a user ID that is to be given out."""
    user_id = UserID.from_text(text)
    user_id.check_grantable()
    return user_id


def parse_new_workspace(text: str) -> WorkspaceID:
    """Read a workspace ID that is to be given out; the one that stands for the server never is."""
    workspace = WorkspaceID.from_text(text)
    if workspace == SERVER_WORKSPACE:
        raise BadValue("this ID stands for the server")
    return workspace


@frozen(kw_only=True)
class PreregFields(Fields):
    """PREREG."""

    workspace: WorkspaceID | None = optional(
        "Workspace-ID", parse_new_workspace, "the workspace to make; else the server chooses"
    )
    user_id: UserID | None = optional("User-ID", parse_new_user_id, "its name; else it has none")
    domain: Domain | None = optional("Domain", Domain.from_text, "one of the server's; else the main one")


@frozen(kw_only=True)
class RegcodeFields(Fields):
    """REGCODE."""

    workspace: WorkspaceID | None = required_unless(
        "User-ID", "Workspace-ID", WorkspaceID.from_text, "the account to take, by its ID"
    )
    user_id: UserID | None = optional("User-ID", UserID.from_text, "or by its name")
    domain: Domain | None = optional("Domain", Domain.from_text, "the domain of the account")
    code: str = required("Reg-Code", parse_code, "the registration code", secret=True)
    password: NewPassword = group(NewPassword)
    device: PresentedDevice = group(PresentedDevice)

    @property
    def who(self) -> WorkspaceID | UserID:
        """Which account is meant; its ID counts if both are given."""
        found = self.workspace or self.user_id
        if found is None:
            raise BadRequest("Missing required field Workspace-ID")
        return found
