"""What can go wrong for a client."""

from mensagod.status import Status
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import Response


class ClientError(Exception):
    """A request did not end as it was meant to."""


class ServerRefused(ClientError):
    """The server's greeting says that it takes no connections now (spec 01, *Greeting*).

    :ivar greeting: what it said.
    """

    def __init__(self, greeting: Greeting):
        super().__init__(f"The server is not ready: {greeting.status.text}")
        self.greeting = greeting

    @property
    def status(self) -> Status:
        """The code of the greeting."""
        return self.greeting.status


class RequestRefused(ClientError):
    """The server answered a request with another status than the one that was hoped for.

    :ivar response: the answer.
    """

    def __init__(self, response: Response):
        super().__init__(f"{response.status:d} {response.status.text}: {response.info}")
        self.response = response

    @property
    def status(self) -> Status:
        """The status of the answer."""
        return self.response.status


class Disconnected(ClientError):
    """The connection ended before the answer was there, or had ended before the request."""


class RequestTimedOut(ClientError):
    """The answer took too long. The connection is closed: what came later could not be told apart."""


class ServerViolation(ClientError):
    """The server broke the protocol; the connection is closed."""


class UnexpectedAnswer(ClientError):
    """An answer has not the fields that its command gives, or they are malformed."""


class ServerNotProven(ClientError):
    """The server could not open what was sealed to its organization's key (spec 04, *Logging in*)."""
