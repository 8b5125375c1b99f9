"""The program of the tutorial: an administrator, two users, one sealed message.

Usage: first_message.py PORT WORKSPACE CODE  (as shown by `make serve`)
"""

import sys
from datetime import UTC, datetime
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from mensagod.client import accounts, control, files, login, lookups, sending
from mensagod.client.connection import ClientConnection, connect
from mensagod.client.devices import DeviceCredentials
from mensagod.client.errors import ClientError
from mensagod.client.passwords import hash_password
from mensagod.crypto.sealing import EncryptionPair
from mensagod.delivery.envelopes import open_payload, seal_message
from mensagod.keycards.entries import OrganizationEntry
from mensagod.values.identity import DeviceID, UserID, WorkspaceID
from mensagod.values.paths import ServerPath


@frozen
class Person:
    """A user who is logged in."""

    connection: ClientConnection
    account: accounts.Account
    keys: EncryptionPair


async def join(
    connection: ClientConnection, who: WorkspaceID, code: str, organization: OrganizationEntry
) -> Person:
    """Register with a code, and log in with a new device."""
    device = DeviceCredentials(DeviceID.random(), EncryptionPair.generate())
    password = hash_password("a long and secret sentence")
    account = await accounts.register_with_code(connection, who, code, password, device)
    await login.log_in(connection, account.workspace, password, device, organization.encryption_key)
    return Person(connection, account, EncryptionPair.generate())


async def main(reactor: Any, endpoint: IStreamClientEndpoint, workspace: str, code: str) -> None:
    """Run the steps of the tutorial with the server at ``endpoint``."""
    first = await connect(endpoint)
    organization = OrganizationEntry.from_text((await lookups.get_card(first))[0])
    admin = await join(first, WorkspaceID.from_text(workspace), code, organization)
    print("the administrator is logged in")

    people = []
    for name in ("alice", "bob"):
        ticket = await accounts.preregister(admin.connection, user_id=UserID.from_text(name))
        person = await join(await connect(endpoint), ticket.account.workspace, ticket.code, organization)
        people.append(person)
        print(f"{name} is logged in to {person.account.workspace}")

    alice, bob = people
    message = seal_message(
        b"Hello, Bob!",
        alice.account.address,
        bob.account.address,
        sender_org_key=organization.encryption_key,
        recipient_org_key=organization.encryption_key,
        recipient_key=bob.keys.public,
        date=datetime.now(UTC),
    )
    await sending.send(alice.connection, message, organization.domain)
    print("alice has sent a message")

    while not bob.connection.update_count:
        await control.idle(bob.connection)
        await deferLater(reactor, 0.1)
    new = ServerPath.new_messages(bob.account.workspace)
    for file in await files.list_files(bob.connection, new):
        content = await files.download(bob.connection, new.child(file))
        print(f"bob reads: {open_payload(content, bob.keys).decode()}")

    for person in (admin, alice, bob):
        await person.connection.close()


def run(reactor: Any, port: str, workspace: str, code: str) -> Deferred[None]:
    """Run the program under the reactor."""
    endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{port}")
    return Deferred.fromCoroutine(main(reactor, endpoint, workspace, code)).addErrback(explain)


def explain(failure: Failure) -> None:
    """End with a one-line message if the server, the workspace or the code is wrong."""
    failure.trap(ClientError, ConnectError, ValueError)
    raise SystemExit(f"The tutorial failed: {failure.getErrorMessage()}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    react(run, sys.argv[1:])
