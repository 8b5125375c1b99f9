"""Interfaces of commands and demands, for the built-in ones and for plugins of the operator (spec 04)."""

from typing import Any, ClassVar

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface, implementer

from mensagod.commands.audience import Audience
from mensagod.errors import CommandError
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.wire.fields import Fields, NoFields


class IDemand(Interface):
    """A condition that a session must meet before the fields of a request are read."""

    async def require(session: Session) -> None:
        """Return if the session meets the condition.

        :raises mensagod.errors.CommandError: if it does not; the command is not performed.
        """

    async def conclude(session: Session, fault: CommandError | None) -> CommandError | None:
        """Note how the command ended; give the error to answer, or ``None`` to keep the command's outcome.

        Called once for each :meth:`require` that returned, also if a later demand or a field was refused; not
        if the command was given up, or failed with a bug.

        :param fault: the error that ended the command; ``None`` if it succeeded.
        """


class ICommand(Interface):
    """A command of the protocol, found as a plugin.

    One object serves all sessions at once, so it must not keep state. To add a command, put an object that
    provides this interface and :class:`twisted.plugin.IPlugin` into a module of ``twisted/plugins``, and
    restart the server. :class:`Command` is the usual base class.
    """

    name: str = Attribute("The Action of its requests, in upper case.")

    audience: Audience = Attribute("The kinds of clients that may use it; there is no default.")

    demands: tuple[IDemand, ...] = Attribute("The conditions that are checked before the fields, in order.")

    fields: type[Fields] = Attribute("The fields of its request.")

    more_fields: tuple[type[Fields], ...] = Attribute(
        "The fields of the further requests that it may wait for."
    )

    async def perform(asked: Any, session: Session) -> Outcome:
        """Perform the command; give its outcome.

        :param asked: the fields of the request, an instance of :attr:`fields`.
        :raises mensagod.errors.CommandError: an error that is answered with its status. Every other
            exception is a bug: it is answered 300 with an incident ID, and logged.
        """


@implementer(IPlugin, ICommand)
class Command:
    """The usual base class; a subclass sets a name, an audience, and ``perform``, and maybe the rest.

    The docstrings of the class and of ``perform`` become its entry on the reference page.
    """

    name: ClassVar[str]
    audience: ClassVar[Audience]
    demands: ClassVar[tuple[IDemand, ...]] = ()
    fields: ClassVar[type[Fields]] = NoFields
    more_fields: ClassVar[tuple[type[Fields], ...]] = ()

    async def perform(self, asked: Any, session: Session) -> Outcome:
        """Perform the command; give its outcome."""
        raise NotImplementedError(f"{type(self).__name__} has no perform")
