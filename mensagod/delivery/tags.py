"""The delivery tag: the part of a message that servers read to route it (spec 05, *Delivery tag*)."""

import json
from datetime import datetime
from enum import Enum
from typing import Self

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import parse_hash
from mensagod.delivery.members import Members, read_members
from mensagod.errors import BadValue
from mensagod.values.times import format_timestamp, parse_timestamp

VERSION = 1.0
_VERSIONS = ("1.0", "1")


class BadEnvelope(BadValue):
    """The text is not an envelope with a complete delivery tag."""


class MessageType(Enum):
    """The type of a message; the value is the newest spelling."""

    USER = "User"
    SYSTEM = "System"

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the newest spelling or the older ones, ``usermessage`` and ``sysmessage``.

        :raises BadValue: for any other.
        """
        older = {"usermessage": "User", "sysmessage": "System"}
        try:
            return cls(older.get(text, text))
        except ValueError as error:
            raise BadValue("Unknown message type") from error


@frozen(kw_only=True)
class DeliveryTag:
    """The tag of a message, with its sealed parts still sealed.

    :ivar receiver: for the recipient's server, see :func:`mensagod.delivery.labels.open_receiver`.
    :ivar sender: for the sender's server, see :func:`mensagod.delivery.labels.open_sender`.
    :ivar payload_key: the key of the payload, sealed to the recipient.
    :ivar key_hash: the hash of the key that the payload key is sealed to.
    :ivar sub_type: the kind of system message.
    :ivar send_time: not to be delivered before this time.
    """

    receiver: CryptoString
    sender: CryptoString
    type: MessageType
    date: datetime
    payload_key: CryptoString
    key_hash: CryptoString
    sub_type: str | None = None
    send_time: datetime | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the JSON of a tag, with the newest member names or the older ones.

        :raises BadEnvelope: if it is not a complete tag of version 1.0, or a value is not of its type.
        """
        try:
            return cls._from_members(read_members(text))
        except BadValue as error:
            raise BadEnvelope(f"Bad delivery tag: {error}") from error

    @classmethod
    def _from_members(cls, members: Members) -> Self:
        """Check every value of a tag."""
        _check_version(members.get("version"))
        send_time = _optional(members, "sendtime")
        return cls(
            receiver=CryptoString.from_text(_required(members, "receiver")),
            sender=CryptoString.from_text(_required(members, "sender")),
            type=MessageType.from_text(_required(members, "type")),
            date=parse_timestamp(_required(members, "date")),
            payload_key=CryptoString.from_text(_required(members, "payloadkey")),
            key_hash=parse_hash(_required(members, "keyhash")),
            sub_type=_optional(members, "subtype"),
            send_time=None if send_time is None else parse_timestamp(send_time),
        )

    def __str__(self) -> str:
        """Give the newest form: no other members, and in the order in which today's client writes them."""
        members: dict[str, str | float] = {
            "receiver": str(self.receiver),
            "sender": str(self.sender),
            "type": self.type.value,
            "date": format_timestamp(self.date),
            "payloadKey": str(self.payload_key),
            "keyHash": str(self.key_hash),
        }
        if self.sub_type is not None:
            members["subType"] = self.sub_type
        members["version"] = VERSION
        if self.send_time is not None:
            members["sendTime"] = format_timestamp(self.send_time)
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _check_version(version: object) -> None:
    """Refuse other versions: their members may mean something else."""
    if isinstance(version, str):
        known = version in _VERSIONS
    else:
        known = isinstance(version, float) and version == VERSION
    if not known:
        raise BadValue("Unknown version of the tag")


def _required(members: Members, name: str) -> str:
    """Give the text of a member that must be there."""
    value = _optional(members, name)
    if value is None:
        raise BadValue(f"{name} is missing")
    return value


def _optional(members: Members, name: str) -> str | None:
    """Give the text of a member; null and the empty text count as missing (spec 01, *Requests*)."""
    value = members.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadValue(f"{name} is not a string")
    if not value.isprintable():
        raise BadValue(f"{name} has a character that cannot be printed")
    return value
