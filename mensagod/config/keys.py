"""The definition of a configuration key, in the class of its table (spec 06, *Configuration*)."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, cast

import attrs
from attrs import frozen

from mensagod.config.values import Kind, SecretText

T = TypeVar("T")
_KEY = "mensagod.key"


@frozen
class Key:
    """The definition of one key. Loading, documentation and reloading use it.

    :ivar table: the table of the key.
    :ivar name: its name in that table.
    :ivar kind: the kind of value that it accepts.
    :ivar default: its value if it is not set; ``None`` for an optional or a required key.
    :ivar required: whether it must be set.
    :ivar explanation: one or two sentences for the operator.
    :ivar unit: the unit of a number, ``""`` if it has none.
    :ivar example: the value that the commented configuration shows if there is no default.
    :ivar reload: whether SIGHUP applies a change; otherwise a change needs a restart.
    :ivar attribute: the name of the attribute in the class of the table.
    """

    table: str
    name: str
    kind: Kind[Any]
    default: Any
    required: bool
    explanation: str
    unit: str
    example: Any
    reload: bool
    attribute: str

    @property
    def path(self) -> str:
        """The full name of the key: ``table.key``."""
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"MENSAGOD_{self.table.upper()}__{self.name.upper()}"

    @property
    def is_secret(self) -> bool:
        """Whether its value must never be shown."""
        return isinstance(self.kind, SecretText)

    @property
    def is_optional(self) -> bool:
        """Whether an empty text unsets it."""
        return self.default is None and not self.required


def key(
    kind: Kind[T],
    default: T,
    explanation: str,
    *,
    unit: str = "",
    example: T | None = None,
    reload: bool = True,
) -> T:
    """Define a key that always has a value."""
    return cast(T, _define(kind, default, explanation, unit=unit, example=example, reload=reload))


def optional_key(kind: Kind[T], explanation: str, *, example: T, reload: bool = True) -> T | None:
    """Define a key that need not be set; an empty text counts as not set."""
    return cast(T, _define(kind, None, explanation, example=example, reload=reload))


def required_key(kind: Kind[T], explanation: str, *, example: T) -> T:
    """Define a key that must be set; a change needs a restart."""
    definition = {"kind": kind, "explanation": explanation, "unit": "", "example": example, "reload": False}
    return cast(T, attrs.field(metadata={_KEY: {**definition, "default": None, "required": True}}))


def _define(kind: Kind[T], default: T | None, explanation: str, **others: object) -> object:
    definition = {"unit": "", "kind": kind, "default": default, "explanation": explanation, "required": False}
    return attrs.field(default=default, metadata={_KEY: {**definition, **others}})


def keys_of(table: str, owner: type[attrs.AttrsInstance]) -> Iterator[Key]:
    """List the keys that the class of a table defines, in its order."""
    for attribute in attrs.fields(owner):
        definition: Mapping[str, Any] | None = attribute.metadata.get(_KEY)
        if definition is not None:
            yield Key(table=table, name=attribute.name, attribute=attribute.name, **definition)
