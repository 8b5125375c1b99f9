"""The errors of the client."""

from mensagod.status import Status
from mensagod.wire.greeting import Greeting
from mensagod.wire.messages import Response


class ClientError(Exception):
    """A request failed."""


class ServerRefused(ClientError):
    """The server's greeting says that it does not accept connections now (spec 01, *Greeting*).

    :ivar greeting: the greeting.
    """

    def __init__(self, greeting: Greeting):
        super().__init__(f"The server is not ready: {greeting.status.text}")
        self.greeting = greeting

    @property
    def status(self) -> Status:
        """The code of the greeting."""
        return self.greeting.status


class RequestRefused(ClientError):
    """The server answered a request with a status other than the expected ones.

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
    """The connection ended before the answer came, or before the request was sent."""


class RequestTimedOut(ClientError):
    """The answer took too long. The connection is closed: a late answer could not be told from others."""


class ServerViolation(ClientError):
    """The server broke the protocol; the connection is closed."""


class UnexpectedAnswer(ClientError):
    """A field of an answer is missing or malformed."""


class ServerNotProven(ClientError):
    """The server could not prove that it has its organization's key (spec 04, *Logging in*)."""
