"""A slow reader of requests, on the JSON of the standard library, to judge the fast one by."""

import json
from typing import Any


class Refused(Exception):
    """The text is not a request."""


class Members(list[tuple[str, Any]]):
    """The members of an object, each as often as it came."""


def _no_constant(name: str) -> None:
    raise Refused(f"{name} is no JSON")


def _has_surrogate(value: Any) -> bool:
    if isinstance(value, str):
        return any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, list | tuple):
        return any(map(_has_surrogate, value))
    return False


def _once(members: Members) -> dict[str, Any]:
    if len(dict(members)) != len(members):
        raise Refused("member twice")
    return dict(members)


def _strings(members: Any) -> dict[str, str]:
    if members is None:
        return {}
    if not isinstance(members, Members):
        raise Refused("Data is no object")
    data = _once(members)
    if not all(isinstance(value, str) for value in data.values()):
        raise Refused("value is no string")
    return data


def read_request(raw: bytes) -> tuple[str, dict[str, str]]:
    """Give action and data, or refuse."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=Members, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused("no JSON") from error
    if not isinstance(value, Members) or _has_surrogate(value):
        raise Refused("no object, or a lone surrogate")
    request = _once(value)
    action, data = request.get("Action"), _strings(request.get("Data"))
    if not isinstance(action, str) or "\0" in "".join((action, *data, *data.values())):
        raise Refused("no action, or a NUL")
    return action.upper() if action.isascii() else action, data
