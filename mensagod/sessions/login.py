"""A login on its way: one value with a stage, and a table of what leads from stage to stage (spec 04)."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from attrs import evolve, field, frozen

from mensagod.errors import StateMismatch
from mensagod.values.identity import Domain, WorkspaceID


class Stage(Enum):
    """How far a login has come."""

    FRESH = "nothing is known of the client"
    NAMED = "a workspace was named that may log in, and the server has proved itself"
    PROVEN = "the password was right"


class Event(Enum):
    """What happens to a login."""

    NAMED = "LOGIN named a workspace"
    PASSWORD_RIGHT = "the password was right"  # noqa: S105
    PASSWORD_WRONG = "the password was wrong"  # noqa: S105
    DEVICE_REFUSED = "the device did not prove itself, or may not log in any more"
    CANCELLED = "the client begins anew"


TRANSITIONS: Final[Mapping[tuple[Stage, Event], Stage]] = MappingProxyType(
    {
        (Stage.FRESH, Event.NAMED): Stage.NAMED,
        (Stage.FRESH, Event.CANCELLED): Stage.FRESH,
        (Stage.NAMED, Event.PASSWORD_RIGHT): Stage.PROVEN,
        (Stage.NAMED, Event.PASSWORD_WRONG): Stage.FRESH,
        (Stage.NAMED, Event.CANCELLED): Stage.FRESH,
        (Stage.PROVEN, Event.DEVICE_REFUSED): Stage.FRESH,
        (Stage.PROVEN, Event.CANCELLED): Stage.FRESH,
    }
)
"""Where each event leads from each stage; what is missing cannot happen there. A device that proves itself
ends the login: the client is a member then."""


@frozen
class Login:
    """A login.

    :ivar workspace: whose it is, and
    :ivar domain: the domain of that; both from :attr:`Stage.NAMED` on.
    :ivar password: what was stored of the password that was right, at :attr:`Stage.PROVEN`; if it is changed
        before the device has proved itself, it is right no more.
    """

    stage: Stage = Stage.FRESH
    workspace: WorkspaceID | None = None
    domain: Domain | None = None
    password: str | None = field(default=None, repr=False)

    def name(self, workspace: WorkspaceID, domain: Domain) -> "Login":
        """Give the login after a workspace was named."""
        return evolve(self.after(Event.NAMED), workspace=workspace, domain=domain)

    def prove(self, password: str) -> "Login":
        """Give the login after the password of which this is stored was right."""
        return evolve(self.after(Event.PASSWORD_RIGHT), password=password)

    def after(self, event: Event) -> "Login":
        """Give the login after an event.

        :raises StateMismatch: if that cannot happen at this stage.
        """
        stage = TRANSITIONS.get((self.stage, event))
        if stage is None:
            raise StateMismatch
        return Login() if stage is Stage.FRESH else evolve(self, stage=stage)

    @property
    def named(self) -> tuple[WorkspaceID, Domain]:
        """The workspace that was named, and its domain.

        :raises StateMismatch: before that.
        """
        if self.workspace is None or self.domain is None:
            raise StateMismatch
        return self.workspace, self.domain

    @property
    def proven(self) -> tuple[WorkspaceID, Domain, str]:
        """The workspace, its domain, and what is stored of the password that was right.

        :raises StateMismatch: before that.
        """
        if self.password is None:
            raise StateMismatch
        return *self.named, self.password
