"""The users of the installation, who open their accounts as all users do, and their messages."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from bench.installation import DOMAIN
from bench.wire import PASSWORD, WrongAnswer, ask, log_in, open_socket
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import seal_message
from mensagod.values.identity import DeviceID, WAddress, WorkspaceID

SENDERS = 16
"""How many users send. As many others receive, so that no sender has news of its own."""

DOWNLOAD_SIZE = 10 * 1024 * 1024
DELIVERY_SECONDS = 60

Person = dict[str, Any]
"""A user with one device, in the form of JSON."""


def settle(port: int, made: Mapping[str, Any]) -> dict[str, Any]:
    """Open the accounts, and deliver the file to download; give what the load generators need.

    :param made: what :mod:`bench.installation` printed.
    """
    key = made["organization_key"]
    admin = _person("admin", made["admin"])
    with open_socket(port) as connection:
        _register(connection, admin, made["code"])
        log_in(connection, admin, key)
        people = [_person(f"member{number}", str(WorkspaceID.random())) for number in range(2 * SENDERS)]
        codes = [
            ask(connection, "PREREG", {"User-ID": each["name"], "Workspace-ID": each["workspace"]})[
                "Reg-Code"
            ]
            for each in people
        ]
    with open_socket(port) as connection:
        for person, code in zip(people, codes, strict=True):
            _register(connection, person, code)
    path = _place_file(port, people[0], key)
    # The name of a file tells its size.
    size = int(path.rpartition(" ")[2].split(".")[1])
    return {
        **made,
        "senders": people[:SENDERS],
        "recipients": people[SENDERS:],
        "download": path,
        "download_size": size,
    }


def letter(sender: Person, recipient: Person, organization_key: str, size: int) -> str:
    """Make an envelope of about ``size`` bytes, at least the size of one without a text."""
    empty = _seal(sender, recipient, organization_key, b"")
    # Base85 makes 5 characters of 4 bytes.
    text = os.urandom(max(0, size - len(empty)) * 2 // 5).hex().encode()
    return _seal(sender, recipient, organization_key, text)


def inbox(person: Person) -> str:
    """Give the path of the directory that messages are delivered to."""
    return f"/ wsp {person['workspace']} new"


def _seal(sender: Person, recipient: Person, organization_key: str, text: bytes) -> str:
    key = CryptoString.from_text(organization_key)
    return seal_message(
        b'{"body": "%b"}' % text,
        _address(sender),
        _address(recipient),
        sender_org_key=key,
        recipient_org_key=key,
        recipient_key=CryptoString.from_text(recipient["public"]),
        date=datetime.now(UTC),
    )


def _person(name: str, workspace: str) -> Person:
    keys = EncryptionPair.generate()
    return {
        "name": name,
        "workspace": workspace,
        "device": str(DeviceID.random()),
        "public": str(keys.public),
        "private": str(keys.private),
    }


def _address(person: Person) -> WAddress:
    return WAddress(WorkspaceID.from_text(person["workspace"]), DOMAIN)


def _register(connection: Any, person: Person, code: str) -> None:
    fields = {
        "Workspace-ID": person["workspace"],
        "Reg-Code": code,
        "Password-Hash": PASSWORD,
        "Device-ID": person["device"],
        "Device-Key": person["public"],
    }
    ask(connection, "REGCODE", fields)


def _place_file(port: int, person: Person, organization_key: str) -> str:
    """Let somebody send a large message to their own mailbox; give the path of its file."""
    message = letter(person, person, organization_key, DOWNLOAD_SIZE)
    with open_socket(port) as connection:
        log_in(connection, person, organization_key)
        ask(connection, "SEND", {"Message": message, "Domain": str(DOMAIN)})
        deadline = monotonic() + DELIVERY_SECONDS
        while True:
            listed = ask(connection, "LIST", {"Path": inbox(person)})
            if "Files" in listed:
                return f"{inbox(person)} {listed['Files']}"
            if monotonic() > deadline:
                raise WrongAnswer(f"the file to download was not delivered: {json.dumps(listed)}")
            sleep(0.05)
