"""What a command is, for the built-in ones and for an operator's own (spec 04)."""

from typing import Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface, implementer

from mensagod.commands.audience import Audience
from mensagod.errors import CommandError
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.wire.fields import Fields, NoFields


class IDemand(Interface):
    """A condition that a session must meet before a command's fields are looked at."""

    async def require(session: Session) -> None:
        """Return if the session meets it.

        :raises mensagod.errors.CommandError: if it does not; the command is not performed.
        """

    async def conclude(session: Session, fault: CommandError | None) -> CommandError | None:
        """Take note of how the command ended: with a fault, or well. Give the fault to answer.

        Called once for each :meth:`require` that returned, also if a later demand or the fields refuse.
        """


class ICommand(Interface):
    """A command of the protocol, found as a plugin.

    One object serves all sessions at once: it keeps no state of its own. An object that provides this
    interface and :class:`twisted.plugin.IPlugin`, in a module of ``twisted/plugins``, is a command of
    the server from its next start on. :class:`Command` has what most need.
    """

    name: str = Attribute("The Action, in upper case, that clients ask for.")

    audience: Audience = Attribute("Who may use it. There is no default: a command is for nobody else.")

    demands: tuple[IDemand, ...] = Attribute("What a session must meet before the command runs, in order.")

    fields: type[Fields] = Attribute("The fields of the request.")

    more_fields: tuple[type[Fields], ...] = Attribute("Those of the further requests that it may wait for.")

    async def perform(asked: Any, session: Session) -> Outcome:
        """Do what was asked for and say what to answer.

        :param asked: an instance of :attr:`fields`.
        :raises mensagod.errors.CommandError: a condition that the client is told. Anything else that is
            raised is a fault of the server: the client gets a 300 with an incident id.
        """


@implementer(IPlugin, ICommand)
class Command:
    """A command without demands and fields; a subclass has a name, an audience, and ``perform``.

    The docstring of the class, and that of ``perform``, are its entry in the reference.
    """

    name: ClassVar[str]
    audience: ClassVar[Audience]
    demands: ClassVar[tuple[IDemand, ...]] = ()
    fields: ClassVar[type[Fields]] = NoFields
    more_fields: ClassVar[tuple[type[Fields], ...]] = ()

    async def perform(self, asked: Any, session: Session) -> Outcome:
        """Do what was asked for and say what to answer."""
        raise NotImplementedError(f"{type(self).__name__} has no perform")
