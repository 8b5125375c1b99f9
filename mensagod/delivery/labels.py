"""Labels, the sealed parts of a delivery tag: one names the recipient, one the sender.

Each is sealed to the key of one server's organization: the recipient's server learns of the sender only the
domain, and the sender's server learns of the recipient only the domain (spec 05, *Delivery tag*).
"""

import json
from collections.abc import Callable
from typing import ClassVar, Self

from attrs import frozen

from mensagod.crypto.cryptostring import CryptoString
from mensagod.delivery.members import Members, read_members
from mensagod.delivery.tags import DeliveryTag
from mensagod.errors import BadValue
from mensagod.status import Status
from mensagod.values.identity import Domain, MAddress, UserID, WAddress, WorkspaceID, is_random_id

Open = Callable[[CryptoString], bytes]
"""Opens a sealed text with the keys of an organization; raises :class:`BadValue` if none fits."""


class UnreadableLabel(BadValue):
    """A sealed part does not open, or its content is not a label."""

    status: ClassVar[Status] = Status.UNREADABLE_RECIPIENT_ADDRESS


class BadLabelAddress(BadValue):
    """A label has a malformed address or domain."""

    status: ClassVar[Status] = Status.BAD_RECIPIENT_ADDRESS


@frozen
class ReceiverPart:
    """The label for the recipient's server: the recipient and the sender's domain."""

    to: MAddress | WAddress
    sender_domain: Domain

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the JSON of an opened part, in the object form or the older string form.

        :raises UnreadableLabel: if it has not the form of a receiver part.
        :raises BadLabelAddress: if a value in it is malformed (spec 02).
        """
        members = _members(text)
        domain = _domain(_member(members, "senderdom", "senderdomain"))
        return cls(_address(_member(members, "to")), domain)

    def __str__(self) -> str:
        """Give the newest form, to be sealed to the key of the recipient's organization."""
        return _text({"to": _object(self.to), "senderDom": {"value": str(self.sender_domain)}})


@frozen
class SenderPart:
    """The label for the sender's server: the sender and the recipient's domain."""

    sender: WAddress
    recipient_domain: Domain

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the JSON of an opened part, in the object form or the older string form.

        :raises UnreadableLabel: if it has not the form of a sender part.
        :raises BadLabelAddress: if a value in it is malformed, or the sender is no workspace address.
        """
        members = _members(text)
        domain = _domain(_member(members, "recipientdom", "recipientdomain"))
        sender = _address(_member(members, "from"))
        if not isinstance(sender, WAddress):
            raise BadLabelAddress("The sender is not a workspace address")
        return cls(sender, domain)

    def __str__(self) -> str:
        """Give the newest form, to be sealed to the key of the sender's organization."""
        return _text({"from": _object(self.sender), "recipientDom": {"value": str(self.recipient_domain)}})


def open_receiver(tag: DeliveryTag, open_: Open) -> ReceiverPart:
    """Open the part for the recipient's server.

    :raises UnreadableLabel: if it does not open or has not the form of a receiver part.
    :raises BadLabelAddress: if a value in it is malformed.
    """
    return ReceiverPart.from_text(_opened(tag.receiver, open_))


def open_sender(tag: DeliveryTag, open_: Open) -> SenderPart:
    """Open the part for the sender's server.

    :raises UnreadableLabel: if it does not open or has not the form of a sender part.
    :raises BadLabelAddress: if a value in it is malformed.
    """
    return SenderPart.from_text(_opened(tag.sender, open_))


def _opened(sealed: CryptoString, open_: Open) -> str:
    """Open ``sealed`` to a text."""
    try:
        return open_(sealed).decode()
    except (BadValue, UnicodeDecodeError) as error:
        raise UnreadableLabel("A label does not open to a text") from error


def _members(text: str) -> Members:
    """Read the object that a label is."""
    try:
        return read_members(text)
    except BadValue as error:
        raise UnreadableLabel(f"Bad label: {error}") from error


def _member(members: Members, *names: str) -> object:
    """Give the value of the one member that has one of ``names``."""
    found = [members[name] for name in names if name in members]
    if len(found) != 1:
        raise UnreadableLabel(f"A label needs one member {names[0]}")
    return found[0]


def _value(value: object) -> str:
    """Give the text of a value, which is a string or an object with the string in ``value``."""
    if isinstance(value, dict):
        # Today's client leaves the member out when it is empty.
        value = value.get("value", "")
    if not isinstance(value, str):
        raise UnreadableLabel("A value in a label is not a text")
    return value


def _domain(value: object) -> Domain:
    """Read a domain in either form."""
    text = _value(value)
    try:
        return Domain.from_text(text)
    except BadValue as error:
        raise BadLabelAddress(f"Bad domain in a label: {error}") from error


def _address(value: object) -> MAddress | WAddress:
    """Read an address in either form."""
    if isinstance(value, dict):
        # A member ``address`` is ignored, even if it differs: servers route by ID and domain.
        owner, domain = _value(value.get("id", "")), _domain(value.get("domain", ""))
    else:
        owner, _, rest = _value(value).partition("/")
        domain = _domain(rest)
    if is_random_id(owner):
        return WAddress(WorkspaceID.from_text(owner), domain)
    try:
        return MAddress(UserID.from_text(owner), domain)
    except BadValue as error:
        raise BadLabelAddress(f"Bad address in a label: {error}") from error


def _object(address: MAddress | WAddress) -> dict[str, dict[str, str]]:
    """Give the object form of an address."""
    return {"id": {"value": str(address.id)}, "domain": {"value": str(address.domain)}}


def _text(members: dict[str, dict[str, dict[str, str]] | dict[str, str]]) -> str:
    """Write a label as today's client does."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))
