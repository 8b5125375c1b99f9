"""Checking the status of an answer, and parsing its fields."""

from collections.abc import Callable
from typing import TypeVar

from mensagod.client.errors import RequestRefused, UnexpectedAnswer
from mensagod.errors import BadValue
from mensagod.status import Status
from mensagod.wire.messages import Response

T = TypeVar("T")


def expect(response: Response, *statuses: Status) -> Response:
    """Give the response if its status is one of ``statuses``, or below 300 if none is given.

    :raises RequestRefused: if its status is another one.
    """
    if response.status in statuses or (not statuses and response.status < Status.INTERNAL_SERVER_ERROR):
        return response
    raise RequestRefused(response)


def required(response: Response, name: str, parse: Callable[[str], T]) -> T:
    """Give the parsed value of a field.

    :raises UnexpectedAnswer: if it is missing, empty or malformed.
    """
    value = optional(response, name, parse)
    if value is None:
        raise UnexpectedAnswer(f"The answer has no field {name}")
    return value


def optional(response: Response, name: str, parse: Callable[[str], T]) -> T | None:
    """Give the parsed value of a field, or ``None`` if it is missing or empty.

    :raises UnexpectedAnswer: if it is malformed.
    """
    text = response.data.get(name)
    if not text:
        return None
    try:
        return parse(text)
    except BadValue as error:
        raise UnexpectedAnswer(f"The answer's field {name} is malformed: {error}") from error
