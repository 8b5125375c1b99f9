"""The fields of requests: one class defines how they are read, written and documented (spec 04).

A class of fields belongs to one request. It is frozen, and each attribute is one field::

    @frozen(kw_only=True)
    class ListFields(Fields):
        path: ServerPath | None = optional("Path", parse_directory, "the directory; else the current one")
        time: int = optional("Time", parse_unix_time, "only files of that time or later", default=0)

``ListFields.read(request)`` checks the fields in their order; it returns an instance or raises the error
that is answered 400. A client makes an instance with keyword arguments, and :meth:`Fields.to_data` gives the
data of its request.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, overload

import attrs
from attrs import frozen

from mensagod.errors import BadRequest, StateMismatch
from mensagod.wire.messages import Request

T = TypeVar("T")
D = TypeVar("D")
G = TypeVar("G", bound="Fields")

Presence = Literal["required", "optional", "refused"]

_FIELD = "mensagod.field"
_GROUP = "mensagod.group"


@frozen
class Field:
    """The definition of one field.

    :ivar name: its name on the wire.
    :ivar attribute: the attribute of the class that has its value.
    :ivar parse: converts its text into the value.
    :ivar presence: ``required``; ``optional``, an empty text counting as missing; or ``refused``.
    :ivar unless: the name of another field; if the request has that one, this one is optional.
    :ivar default: the value of an optional field that is missing.
    :ivar says: its description on the reference page, without a full stop.
    :ivar refusal: for a refused field, makes the error to answer.
    :ivar is_long: whether the text may be longer than 64 KiB; then it is a
        :class:`~mensagod.wire.long_texts.LongText`, and not parsed.
    """

    name: str
    attribute: str
    parse: Callable[[str], Any]
    presence: Presence
    unless: str
    default: Any
    says: str
    refusal: Callable[[], BadRequest]
    is_long: bool

    @property
    def type_name(self) -> str:
        """The type of the value, by its name in spec 02."""
        owner = getattr(self.parse, "__self__", None)
        if isinstance(owner, type):
            return _SPEC_TYPES.get(owner.__name__, owner.__name__)
        if self.parse is str:
            return "String"
        words = self.parse.__name__.removeprefix("parse_").split("_")
        name = "".join(word.capitalize() for word in words)
        return _SPEC_TYPES.get(name, name)

    def read(self, request: Request) -> Any:
        """Give the value that a request has, or the default.

        :raises BadRequest: if it is missing, malformed or refused.
        """
        if request.has(self.name):
            if self.presence == "refused":
                raise self.refusal()
            if self.is_long and self.name in request.long:
                return request.long[self.name]
            return request.required(self.name, self.parse)
        if self.presence == "required" and not (self.unless and request.has(self.unless)):
            raise BadRequest(f"Missing required field {self.name}")
        return self.default


_SPEC_TYPES: Mapping[str, str] = {
    "WorkspaceID": "RandomID",
    "DeviceID": "RandomID",
    "ServerPath": "Path",
    "NewUserId": "UserID",
    "NewWorkspace": "RandomID",
    "DeviceId": "RandomID",
    "DeviceKey": "CryptoString",
    "DeviceInfo": "CryptoString",
    "Challenge": "CryptoString",
    "Signature": "CryptoString",
    "PasswordHash": "String",
    "Parameter": "String",
    "Code": "String",
    "LoginType": "``PLAIN``",
    "Directory": "Path",
    "File": "Path",
    "Owner": "MAddress, WAddress, RandomID or Domain",
    "Index": "digits, a minus sign allowed",
    "End": "digits",
}


class Fields:
    """The fields of one request; subclasses are frozen attrs classes of :func:`required` and the like.

    :cvar action: for the further request of a command: its action, if that is not the command's name.
    """

    action: ClassVar[str] = ""

    @classmethod
    def read(cls, request: Request) -> Self:
        """Read and check the fields of a request.

        :raises BadRequest: for the first field that is missing, malformed or refused.
        :raises mensagod.errors.AlgorithmNotSupported: for the first field that names an unknown algorithm.
        """
        reader = _READERS.get(cls)
        if reader is None:
            reader = _READERS[cls] = _make_reader(cls)
        return cast(Self, reader(request))

    @classmethod
    def fits(cls, request: Request) -> bool:
        """Tell whether a request has every required field."""
        return all(map(request.has, cls.needed()))

    @classmethod
    def needed(cls) -> tuple[str, ...]:
        """Give the names of the required fields."""
        return tuple(field.name for field in cls.definitions() if field.presence == "required")

    @classmethod
    def definitions(cls) -> tuple[Field, ...]:
        """Give the fields in their order; the fields of a group stand in its place."""
        return _definitions(cls)

    @classmethod
    def require_well_defined(cls) -> None:
        """Make sure that this is a frozen attrs class each of whose attributes is one field, or a group.

        A class with a :meth:`read` of its own may have any attributes.

        :raises TypeError: with what is wrong.
        """
        reads_itself = getattr(cls.read, "__func__", None) is not vars(Fields)["read"].__func__
        if not attrs.has(cast(type, cls)) or cls.__setattr__ is object.__setattr__ or cls.__hash__ is None:
            raise TypeError(f"{cls.__name__} is not a class with @frozen")
        for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
            if not reads_itself and not {_FIELD, _GROUP} & set(attribute.metadata):
                raise TypeError(
                    f"{cls.__name__}.{attribute.name} is no field: define it with required() or optional()"
                )
        definitions = () if reads_itself else _definitions(cls)
        for definition in definitions:
            if not callable(definition.parse):
                raise TypeError(f"{cls.__name__}.{definition.attribute} has no function that parses its text")
        names = [definition.name for definition in definitions]
        for name in names:
            if names.count(name) > 1:
                raise TypeError(f"{cls.__name__} has two fields of the name {name}")

    def to_data(self) -> dict[str, str]:
        """Give the fields as text, for a client to send, without optional ones that have their default."""
        return dict(self._texts())

    def _texts(self) -> Iterator[tuple[str, str]]:
        for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", type(self))):
            value = getattr(self, attribute.name)
            if isinstance(value, Fields):
                yield from value._texts()
            elif value is not None and (_is_needed(attribute) or value != attribute.default):
                yield attribute.metadata[_FIELD]["name"], str(value)


@frozen(kw_only=True)
class NoFields(Fields):
    """A request without fields; any that it has are ignored."""


_READERS: dict[type[Fields], Callable[[Request], Fields]] = {}


def required(
    name: str, parse: Callable[[str], T], says: str, *, secret: bool = False, is_long: bool = False
) -> T:
    """Define a field that must be present.

    :param secret: whether the value must never be shown in a log or a traceback.
    :param is_long: whether the text may be long; the attribute is then annotated
        :class:`~mensagod.wire.long_texts.Text`.
    """
    return cast(T, _define(name, parse, says, "required", secret=secret, is_long=is_long))


def required_unless(other: str, name: str, parse: Callable[[str], T], says: str) -> T | None:
    """Define a field that must be present unless another one is."""
    return cast("T | None", _define(name, parse, says, "required", unless=other))


@overload
def optional(name: str, parse: Callable[[str], T], says: str) -> T | None: ...
@overload
def optional(name: str, parse: Callable[[str], T], says: str, default: D) -> T | D: ...


def optional(name: str, parse: Callable[[str], T], says: str, default: D | None = None) -> T | D | None:
    """Define a field that may be missing; an empty one counts as missing."""
    return cast("T | D | None", _define(name, parse, says, "optional", default=default))


def refused(name: str, says: str, refusal: Callable[[], BadRequest] = StateMismatch) -> Any:
    """Define a field that must be absent: it belongs to a later request, or to another command."""
    return _define(name, str, says, "refused", refusal=refusal)


def group(fields: type[G]) -> G:
    """Include the fields of another class, which several requests share."""
    return cast(G, attrs.field(metadata={_GROUP: fields}))


def _define(
    name: str,
    parse: Callable[[str], object],
    says: str,
    presence: Presence,
    *,
    unless: str = "",
    default: object = None,
    refusal: Callable[[], BadRequest] = StateMismatch,
    secret: bool = False,
    is_long: bool = False,
) -> object:
    definition = {"name": name, "parse": parse, "presence": presence, "says": says}
    more = {"unless": unless, "default": default, "refusal": refusal, "is_long": is_long}
    metadata = {_FIELD: {**definition, **more}}
    if presence == "required" and not unless:
        return attrs.field(repr=not secret, metadata=metadata)
    return attrs.field(default=default, init=presence != "refused", metadata=metadata)


def _definitions(cls: type[Fields]) -> tuple[Field, ...]:
    found: list[Field] = []
    for _, definition in _members(cls):
        found += [definition] if isinstance(definition, Field) else _definitions(definition)
    return tuple(found)


def _is_needed(attribute: "attrs.Attribute[Any]") -> bool:
    return bool(attribute.metadata[_FIELD]["presence"] == "required")


def _make_reader(cls: type[Fields]) -> Callable[[Request], Fields]:
    """Make the function that reads the fields of a class, so that definitions are looked up only once."""
    members = [
        (name, definition.read, not isinstance(definition, Field) or definition.presence != "refused")
        for name, definition in _members(cls)
    ]

    def read(request: Request) -> Fields:
        """Read one request; raises what the first faulty field raises."""
        values = {}
        for name, take, has_value in members:
            value = take(request)
            if has_value:
                values[name] = value
        return cls(**values)

    return read


def _members(cls: type[Fields]) -> Iterator[tuple[str, Field | type[Fields]]]:
    """Give the attributes of a class by name: each is a field or a group of fields."""
    for attribute in attrs.fields(cast("type[attrs.AttrsInstance]", cls)):
        if _GROUP in attribute.metadata:
            yield attribute.name, attribute.metadata[_GROUP]
        else:
            yield attribute.name, Field(attribute=attribute.name, **attribute.metadata[_FIELD])
