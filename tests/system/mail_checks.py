"""Whether mailboxes have what was sent, as their owners see them through the wire."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field, frozen

from mensagod.client.answers import required
from mensagod.client.connection import ClientConnection
from mensagod.client.files import download
from mensagod.client.updates import UpdateRecord, get_updates
from mensagod.requests.files import ListFields
from mensagod.requests.sessions import IdleFields
from mensagod.status import Status
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import FileName, ServerPath
from mensagod.values.times import parse_integer


@define(eq=False)
class Message:
    """A message of a test.

    :ivar is_acknowledged: whether its sender was answered 200.
    """

    recipient: WorkspaceID
    content: bytes = field(repr=False)
    is_acknowledged: bool = False


@frozen
class Mailbox:
    """What the owner of a workspace finds in it.

    :ivar files: the files of ``new``, with their contents.
    :ivar file_count: how many there are, by LIST.
    :ivar records: all update records.
    :ivar record_count: how many there are, by IDLE.
    :ivar usage: the bytes in use.
    """

    files: Mapping[FileName, bytes]
    file_count: int
    records: Sequence[UpdateRecord]
    record_count: int
    usage: int


async def count_files(client: ClientConnection, path: ServerPath) -> int:
    """Count the files of a directory."""
    answer = await client.request("LIST", ListFields(path=path, time=0), Status.OK)
    return required(answer, "FileCount", parse_integer)


async def read_mailbox(client: ClientConnection, owner: WorkspaceID, usage: int) -> Mailbox:
    """Read all that there is of a workspace; ``client`` is logged in to it.

    :param usage: the bytes in use, for no command tells them yet.
    """
    new = ServerPath.new_messages(owner)
    listing = await client.request("LIST", ListFields(path=new, time=0), Status.OK)
    names = [FileName.from_text(name) for name in listing.data.get("Files", "").split(",") if name]
    counted = await client.request("IDLE", IdleFields(count_updates=0), Status.OK)
    return Mailbox(
        files={name: await download(client, new.child(name)) for name in names},
        file_count=required(listing, "FileCount", parse_integer),
        records=await _all_records(client),
        record_count=required(counted, "UpdateCount", parse_integer),
        usage=usage,
    )


async def _all_records(client: ClientConnection) -> list[UpdateRecord]:
    updates = await get_updates(client, 0)
    records = updates.records
    while updates.remaining:
        updates = await get_updates(client, 0, records[-1].id)
        records += updates.records
    return records


def faults(messages: Iterable[Message], mailboxes: Mapping[WorkspaceID, Mailbox]) -> list[str]:
    """Say what is wrong: what is lost, doubled, changed or miscounted. Nothing is wrong if that is empty.

    :param messages: all that were handed in, acknowledged or not.
    :param mailboxes: those of all recipients, when nothing is under way any more.
    """
    found = []
    for owner, mailbox in mailboxes.items():
        expected = [message for message in messages if message.recipient == owner]
        found += [
            f"{owner}: {fault}" for fault in (*_of_contents(expected, mailbox), *_of_counts(owner, mailbox))
        ]
    return found


def _of_contents(expected: list[Message], mailbox: Mailbox) -> list[str]:
    there = Counter(mailbox.files.values())
    sent = {message.content for message in expected}
    return [
        *(
            f"a message of {len(message.content)} bytes was acknowledged and is not there"
            for message in expected
            if message.is_acknowledged and not there[message.content]
        ),
        *(
            f"a message of {len(content)} bytes is there {times} times"
            for content, times in there.items()
            if times > 1
        ),
        *(
            f"{name} has bytes that nobody sent"
            for name, content in mailbox.files.items()
            if content not in sent
        ),
    ]


def _of_counts(owner: WorkspaceID, mailbox: Mailbox) -> list[str]:
    found = [
        f"{name} has {len(content)} bytes"
        for name, content in mailbox.files.items()
        if name.size != len(content)
    ]
    paths = [str(ServerPath.new_messages(owner).child(name)) for name in mailbox.files]
    recorded = [record.data for record in mailbox.records if record.type == "CREATE"]
    if sorted(recorded) != sorted(paths) or len(recorded) != len(mailbox.records):
        found.append(f"{len(mailbox.records)} update records do not tell of just these {len(paths)} files")
    used = sum(map(len, mailbox.files.values()))
    for what, said, true in (
        ("files", mailbox.file_count, len(mailbox.files)),
        ("update records", mailbox.record_count, len(mailbox.records)),
        ("bytes in use", mailbox.usage, used),
    ):
        if said != true:
            found.append(f"the server counts {said} {what} instead of {true}")
    return found
