"""A login in progress: a value with a stage, and the table of transitions between stages (spec 04)."""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from attrs import evolve, field, frozen

from mensagod.errors import StateMismatch
from mensagod.values.identity import Domain, WorkspaceID


class Stage(Enum):
    """The stages of a login."""

    FRESH = "no workspace was named yet"
    NAMED = "LOGIN named a workspace that may log in, and the server has answered its challenge"
    PROVEN = "PASSWORD had the right password"


class Event(Enum):
    """The events that change the stage of a login."""

    NAMED = "LOGIN named a workspace"
    PASSWORD_RIGHT = "the password was right"  # noqa: S105
    PASSWORD_WRONG = "the password was wrong"  # noqa: S105
    DEVICE_REFUSED = "the device failed its challenge, or may not log in any more"
    CANCELLED = "the client restarts the login"


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
"""The next stage for each stage and event; an event without an entry is not allowed at that stage. When the
device has answered its challenge the client becomes a member, which ends the login."""


@frozen
class Login:
    """A login in progress.

    :ivar workspace: the workspace that LOGIN named; ``None`` before :attr:`Stage.NAMED`.
    :ivar domain: the domain of that workspace; ``None`` before :attr:`Stage.NAMED`.
    :ivar password: the stored hash that the password was checked against; ``None`` before
        :attr:`Stage.PROVEN`. The login starts over if another one is stored by the time of the last step.
    """

    stage: Stage = Stage.FRESH
    workspace: WorkspaceID | None = None
    domain: Domain | None = None
    password: str | None = field(default=None, repr=False)

    def name(self, workspace: WorkspaceID, domain: Domain) -> "Login":
        """Give the login after LOGIN named a workspace."""
        return evolve(self.after(Event.NAMED), workspace=workspace, domain=domain)

    def prove(self, password: str) -> "Login":
        """Give the login after the password was right; ``password`` is the stored hash."""
        return evolve(self.after(Event.PASSWORD_RIGHT), password=password)

    def after(self, event: Event) -> "Login":
        """Give the login after an event.

        :raises StateMismatch: if the event is not allowed at this stage.
        """
        stage = TRANSITIONS.get((self.stage, event))
        if stage is None:
            raise StateMismatch
        return Login() if stage is Stage.FRESH else evolve(self, stage=stage)

    @property
    def named(self) -> tuple[WorkspaceID, Domain]:
        """The workspace that LOGIN named, and its domain.

        :raises StateMismatch: before :attr:`Stage.NAMED`.
        """
        if self.workspace is None or self.domain is None:
            raise StateMismatch
        return self.workspace, self.domain

    @property
    def proven(self) -> tuple[WorkspaceID, Domain, str]:
        """The workspace, its domain, and the stored hash of its password.

        :raises StateMismatch: before that.
        """
        if self.password is None:
            raise StateMismatch
        return *self.named, self.password
