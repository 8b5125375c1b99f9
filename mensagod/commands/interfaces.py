"""What a command is, for the built-in ones and for an operator's own (spec 04)."""

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from mensagod.sessions.session import Outcome, Session
    from mensagod.wire.messages import Request


class ICommand(Interface):
    """A command of the protocol, found as a plugin.

    One object serves all sessions at once: it keeps no state of its own. An object that provides this
    interface and :class:`twisted.plugin.IPlugin`, in a module of ``twisted/plugins``, is a command of
    the server from its next start on.
    """

    name: str = Attribute("The Action, in upper case, that clients ask for.")

    demands = Attribute("A tuple of :class:`IDemand`: what a session must be before the command runs.")

    async def perform(request: "Request", session: "Session") -> "Outcome":
        """Do what ``request`` asks and say what to answer.

        :raises mensagod.errors.CommandError: a condition that the client is told. Anything else that is
            raised is a fault of the server: the client gets a 300 with an incident id.
        """


class IDemand(Interface):
    """A condition that a session must meet before a command's own checks begin."""

    def check(session: "Session") -> None:
        """Return if the session meets it.

        :raises mensagod.errors.CommandError: if it does not.
        """
