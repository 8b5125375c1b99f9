"""SELECT, LIST, EXISTS, DOWNLOAD and who may do what (spec 04, *Files*)."""

import os
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from attrs import evolve

from mensagod.client.connection import ClientConnection
from mensagod.client.files import download, list_files, select
from mensagod.commands import files as commands
from mensagod.contents.keys import ContentKey
from mensagod.operations import files as operations
from mensagod.status import Status
from mensagod.storage import contents, files, queue
from mensagod.storage.contents import Content, Owned
from mensagod.storage.files import Arrival
from mensagod.storage.listings import Listing
from mensagod.storage.queue import NewMessage
from mensagod.storage.rows import Transaction
from mensagod.values.identity import Domain
from mensagod.values.paths import FileName, ServerPath
from tests.commands.cases import CommandTestCase
from tests.delivery.stores import WatchedStore
from tests.serving import ADMIN, DOMAIN, Person

ACTIONS = ("SELECT", "LIST", "EXISTS", "DOWNLOAD")
NOBODY = "99999999-9999-4999-8999-999999999999"
FILE = f"1.2.{NOBODY}"
HOSTILE = (
    "wsp",
    "/wsp",
    "/  wsp",
    "/ wsp ..",
    "/ wsp . new",
    f"/ wsp {NOBODY} ../x",
    f"/ wsp {NOBODY} new/..",
    f"/ wsp {NOBODY} ",
    f"/ wsp {NOBODY}\t",
    "/ etc passwd",
    f"/ wsp {NOBODY} new {NOBODY}",
    "/ " + "x" * 600,
    "/ wsp \N{ARABIC-INDIC DIGIT ONE}",
)


class FilesTestCase(CommandTestCase):
    """Somebody with a mailbox, logged in."""

    async def prepare(self) -> None:
        await super().prepare()
        self.alice = await self.settle("alice")
        self.client_ = await self.enter(self.alice)

    async def put(self, person: Person, content: bytes = b"content", time: int = 1000) -> ServerPath:
        """Put a file into somebody's ``new``."""
        row = Content.in_row(content)
        return await self.add(person, row, time)

    async def put_stored(self, person: Person, content: bytes = b"content", time: int = 1000) -> ServerPath:
        """Put a file whose content is in the store into somebody's ``new``."""
        key = await self.database.run(contents.begin_writing, person.workspace)
        await self.database.run(contents.end_writings, [Owned(person.workspace, key)])
        writer = self.service.server.store.write(key)
        writer.write(content)
        written = writer.finish()
        return await self.add(person, Content(key.id, written.size, written.hash, key.day), time)

    async def add(self, person: Person, content: Content, time: int) -> ServerPath:
        name = FileName.make(time, content.size)

        def deliver(txn: Transaction) -> None:
            arrival = Arrival(person.workspace, name, content)
            assert files.place(txn, [arrival], person.device, wait=True)

        await self.database.run(deliver)
        return ServerPath.new_messages(person.workspace).child(name)

    async def key_of(self, path: ServerPath) -> ContentKey:
        """Give the key of the content of a file that is in the store."""
        content = await self.database.read(files.find_content, path)
        assert content is not None
        assert content.key is not None
        return content.key


class FieldTests(FilesTestCase):
    """What the commands take."""

    async def test_login(self) -> None:
        """All of them need a login, which is asked for before the fields are looked at."""
        client = await self.client()
        for action in ACTIONS:
            await self.assert_answer(client, action, {"Path": ".."}, Status.UNAUTHORIZED, "Login required")

    async def test_fields(self) -> None:
        """Paths are checked element by element; files where directories are asked for, and the reverse."""
        own = ServerPath.workspace_root(self.alice.workspace)
        file = f"{own} {FILE}"
        await self.assert_fields(self.client_, "SELECT", {"Path": own}, {"Path": (*HOSTILE, file)})
        await self.assert_fields(self.client_, "EXISTS", {"Path": own}, {"Path": HOSTILE})
        times = ("-1", "x", "1.0", str(2**63), "1" * 40)
        await self.assert_fields(
            self.client_, "LIST", {"Path": own}, {}, {"Path": (*HOSTILE, file), "Time": times}
        )
        await self.assert_fields(
            self.client_,
            "DOWNLOAD",
            {"Path": file},
            {"Path": (*HOSTILE, str(own))},
            {"Offset": ("-1", "x", "0x1", str(2**63))},
        )


class RightsTests(FilesTestCase):
    """Who may do what, whether or not anything is there."""

    async def allowed(self, client: ClientConnection, action: str, path: str) -> bool:
        answer = await self.ask(client, action, {"Path": path})
        # What is not there is not found, but only by who may know.
        self.assertIn(answer.status, {Status.OK, Status.CONTINUE, Status.NOT_FOUND, Status.FORBIDDEN})
        if answer.status is Status.CONTINUE:
            await self.assert_answer(client, "CANCEL", {}, Status.OK)
        return answer.status is not Status.FORBIDDEN

    async def granted(self, client: ClientConnection, directory: str) -> set[str]:
        """Tell what may be done in a directory: to it, or to a file in it."""
        paths = dict.fromkeys(ACTIONS, directory) | {"DOWNLOAD": f"{directory} {FILE}"}
        return {action for action, path in paths.items() if await self.allowed(client, action, path)}

    async def test_own(self) -> None:
        """In one's own directories, area by area."""
        own = self.alice.workspace
        for directory, expected in (
            (f"/ wsp {own}", set(ACTIONS)),
            (f"/ wsp {own} new", set(ACTIONS)),
            (f"/ wsp {own} {NOBODY}", set(ACTIONS)),
            (f"/ wsp {str(own).upper()} settings", set(ACTIONS)),
            (f"/ keys {own}", {"LIST", "EXISTS", "DOWNLOAD"}),
            (f"/ out {own}", {"LIST"}),
            (f"/ tmp {own}", set()),
            ("/ wsp", set()),
            ("/ keys", set()),
            ("/ out", set()),
            ("/ tmp", set()),
        ):
            self.assertEqual(await self.granted(self.client_, directory), expected, directory)
        for action in ("SELECT", "LIST", "EXISTS"):
            self.assertFalse(await self.allowed(self.client_, action, "/"))

    async def test_others(self) -> None:
        """In others' directories nothing is allowed, there or not, also to the administrator."""
        bob = await self.settle("bob")
        path = await self.put(bob)
        admin, _ = await self.admin()
        for client in (self.client_, admin):
            for workspace in (bob.workspace, NOBODY):
                for area in ("wsp", "keys", "out", "tmp"):
                    self.assertEqual(await self.granted(client, f"/ {area} {workspace}"), set())
            for action in ("EXISTS", "DOWNLOAD"):
                for name in (str(path), f"{path.directory} {FILE}"):
                    answer = await self.assert_answer(client, action, {"Path": name}, Status.FORBIDDEN)
                    self.assertNotIn("not", answer.info.lower().split())

    async def test_administrator_with_access(self) -> None:
        """Where the configuration says so the administrator has rights in others' workspaces, no one else."""
        config = self.service.server.config
        self.service.server.config = evolve(config, security=evolve(config.security, admin_file_access=True))
        admin, _ = await self.admin()
        own = f"/ wsp {self.alice.workspace}"
        self.assertEqual(await self.granted(admin, own), set(ACTIONS))
        self.assertEqual(await self.granted(admin, f"/ tmp {self.alice.workspace}"), set())
        self.assertEqual(await self.granted(self.client_, f"/ wsp {ADMIN}"), set())

    async def test_path_of_another_within_own(self) -> None:
        """A directory of one's own that is called like another workspace gives no right to that."""
        bob = await self.settle("bob")
        path = await self.put(bob)
        inside = f"/ wsp {self.alice.workspace} {bob.workspace}"
        for action in ("SELECT", "LIST", "EXISTS"):
            await self.assert_answer(self.client_, action, {"Path": inside}, Status.NOT_FOUND)
        await self.assert_answer(self.client_, "EXISTS", {"Path": f"{inside} {path.name}"}, Status.NOT_FOUND)


class DirectoryTests(FilesTestCase):
    """SELECT, EXISTS and LIST."""

    async def test_select(self) -> None:
        """What is selected is what a missing path means, until another is."""
        path = await self.put(self.alice)
        listing = await list_files(self.client_)
        self.assertEqual(listing, [])
        await select(self.client_, path.directory)
        self.assertEqual(await list_files(self.client_), [path.file])
        missing = f"/ wsp {self.alice.workspace} {NOBODY}"
        await self.assert_answer(self.client_, "SELECT", {"Path": missing}, Status.NOT_FOUND)
        self.assertEqual(await list_files(self.client_), [path.file])

    async def test_directory_gone(self) -> None:
        """If the current directory is gone, LIST says so."""
        own = ServerPath.settings(self.alice.workspace)
        await select(self.client_, own)
        await self.change("DELETE FROM folders WHERE path = %s", str(own))
        await self.assert_answer(self.client_, "LIST", {}, Status.NOT_FOUND)

    async def test_exists(self) -> None:
        """Files and directories are there or not."""
        path = await self.put(self.alice)
        own = path.directory
        for there in (
            path,
            own,
            str(path).upper().replace("WSP", "wsp"),
            ServerPath.settings(self.alice.workspace),
        ):
            await self.assert_answer(self.client_, "EXISTS", {"Path": there}, Status.OK)
        moved = f"/ wsp {self.alice.workspace} {path.name}"
        for gone in (own.child(FileName.make(1, 1)), moved, f"/ wsp {self.alice.workspace} {NOBODY}"):
            await self.assert_answer(self.client_, "EXISTS", {"Path": gone}, Status.NOT_FOUND)

    async def test_list(self) -> None:
        """Names come sorted, those of a time and later only if it is given."""
        paths = [await self.put(self.alice, time=time) for time in (3000, 1000, 2000, 1000)]
        own = paths[0].directory
        answer = await self.assert_answer(self.client_, "LIST", {"Path": own}, Status.OK)
        names = sorted(path.name for path in paths)
        self.assertEqual(answer.data, {"FileCount": "4", "Files": ",".join(names)})
        for pieces in (1, 2, 3):
            self.patch(commands, "AT_ONCE", pieces)
            in_pieces = await self.assert_answer(self.client_, "LIST", {"Path": own}, Status.OK)
            self.assertEqual(in_pieces.data, answer.data)
        for time, count in ((0, 4), (1000, 4), (1001, 2), (2000, 2), (3000, 1)):
            listing = await list_files(self.client_, own, time)
            self.assertEqual([str(name) for name in listing], names[4 - count :])
        answer = await self.assert_answer(self.client_, "LIST", {"Path": own, "Time": "3001"}, Status.OK)
        self.assertEqual(answer.data, {"FileCount": "0"})

    async def test_longest_list(self) -> None:
        """A listing of 16 MB is given, one of more is refused; here with a smaller limit."""
        self.assertEqual(operations.MAX_LISTING, 16_000_000)
        paths = [await self.put(self.alice, time=time) for time in (1000, 1000, 1001)]
        fields = {"Path": paths[0].directory}
        length = len(",".join(path.name for path in paths))
        self.patch(operations, "MAX_LISTING", length)
        await self.assert_answer(self.client_, "LIST", fields, Status.OK)
        self.patch(operations, "MAX_LISTING", length - 1)
        await self.assert_answer(self.client_, "LIST", fields, Status.LIMIT_REACHED)
        answer = await self.assert_answer(self.client_, "LIST", {**fields, "Time": "1001"}, Status.OK)
        self.assertEqual(answer.data["FileCount"], "1")

    async def test_far_too_long_list(self) -> None:
        """Of many more names than fit no more are fetched than show that."""
        paths = [await self.put(self.alice, time=1000) for _ in range(9)]
        out = ServerPath.outgoing(self.alice.workspace)
        for _ in range(9):
            await self.add_outgoing(1)
        fetched: list[int] = []
        self.patch(operations, "MAX_LISTING", 100)
        read = self.service.assembly.database.read

        async def counting(*args: Any) -> Any:
            result = await read(*args)
            if isinstance(result, Listing):
                fetched.append(result.count)
            return result

        self.patch(self.service.assembly.database, "read", counting)
        for directory in (paths[0].directory, out):
            await self.assert_answer(self.client_, "LIST", {"Path": directory}, Status.LIMIT_REACHED)
        self.assertEqual(fetched, [4, 4])

    async def add_outgoing(self, time: int, state: str = "queued") -> str:
        """Add a message of Alice's to the queue; give its name."""
        name = FileName.make(time, 1)
        elsewhere = Domain.from_text("example.org")
        message = NewMessage(
            uuid4(),
            None,
            self.alice.workspace,
            self.alice.device,
            DOMAIN,
            elsewhere,
            name,
            Content.in_row(b"x"),
            datetime(2100, 1, 1, tzinfo=UTC),
        )
        await self.database.run(queue.add, [message])
        await self.change("UPDATE queue SET state = %s WHERE id = %s", state, message.id)
        return name.text

    async def test_outgoing(self) -> None:
        """What waits for delivery, or for its report, is listed below out."""
        path = f"/ out {self.alice.workspace}"
        answer = await self.assert_answer(self.client_, "LIST", {"Path": path}, Status.OK)
        self.assertEqual(answer.data, {"FileCount": "0"})
        queued, failed = await self.add_outgoing(30), await self.add_outgoing(20, "failed")
        names = [str(name) for name in await list_files(self.client_, ServerPath.from_text(path))]
        self.assertEqual(names, [failed, queued])
        names = [str(name) for name in await list_files(self.client_, ServerPath.from_text(path), 21)]
        self.assertEqual(names, [queued])
        await self.assert_answer(self.client_, "LIST", {"Path": f"{path} {NOBODY}"}, Status.NOT_FOUND)


class DownloadTests(FilesTestCase):
    """Fetching files."""

    async def test_whole_and_rest(self) -> None:
        """From any offset up to the end comes exactly what is there."""
        content = os.urandom(300_000)
        for path in (await self.put(self.alice, content), await self.put_stored(self.alice, content)):
            for offset in (0, 1, 131_072, 299_999, 300_000):
                self.assertEqual(await download(self.client_, path, offset), content[offset:])
        await self.assert_answer(self.client_, "IDLE", {}, Status.OK)

    async def test_empty_file(self) -> None:
        """A file of no bytes is fetched in the same steps."""
        for path in (await self.put(self.alice, b""), await self.put_stored(self.alice, b"")):
            self.assertEqual(await download(self.client_, path), b"")
        await self.assert_answer(self.client_, "IDLE", {}, Status.OK)

    async def test_offset_beyond_the_end(self) -> None:
        """There is nothing behind the end."""
        for path in (await self.put(self.alice, b"1234"), await self.put_stored(self.alice, b"1234")):
            fields = {"Path": path, "Offset": "5"}
            await self.assert_answer(self.client_, "DOWNLOAD", fields, Status.BAD_REQUEST)
        await self.assert_answer(self.client_, "IDLE", {}, Status.OK)

    async def test_late_second_step(self) -> None:
        """A second step that nobody waits for any more is out of place."""
        path = await self.put(self.alice, b"1234")
        fields = {"Path": path, "Size": "4"}
        await self.assert_answer(self.client_, "DOWNLOAD", fields, Status.BAD_REQUEST)
        await self.assert_answer(self.client_, "IDLE", {}, Status.OK)

    async def test_size_is_the_whole(self) -> None:
        """The first answer tells the size of the file, wherever one begins."""
        path = await self.put(self.alice, b"1234")
        answer = await self.assert_answer(
            self.client_, "DOWNLOAD", {"Path": path, "Offset": "3"}, Status.CONTINUE
        )
        self.assertEqual(answer.data, {"Size": "4"})

    async def test_second_request_decides_nothing(self) -> None:
        """Path and offset of the second request are ignored, whatever they are."""
        path = await self.put(self.alice, b"1234")
        other = await self.put(self.alice, b"other content")
        for ignored in (str(other), "..", ""):
            received = bytearray()

            class Sink:
                def write(self, data: bytes) -> None:
                    received.extend(data)  # noqa: B023  used within this turn only

            async with self.client_.turn() as turn:
                await turn.request("DOWNLOAD", {"Path": path, "Offset": "1"}, Status.CONTINUE)
                fields = {"Path": ignored, "Offset": "99", "Size": "4"}
                await turn.receive("DOWNLOAD", fields, 3, Sink())
            self.assertEqual(bytes(received), b"234")

    async def test_deleted_between_the_steps(self) -> None:
        """What was offered is served to its end, also when its content is erased."""
        for path in (await self.put(self.alice, b"1234"), await self.put_stored(self.alice, b"1234")):
            await self.download_while_deleting(path)

    async def download_while_deleting(self, path: ServerPath) -> None:
        content = await self.database.read(files.find_content, path)
        assert content is not None
        received = bytearray()

        class Sink:
            def write(self, data: bytes) -> None:
                received.extend(data)

        async with self.client_.turn() as turn:
            await turn.request("DOWNLOAD", {"Path": path}, Status.CONTINUE)
            await self.change("DELETE FROM files WHERE name = %s", path.name)
            await self.change("DELETE FROM contents WHERE key = %s", content.id)
            if content.key is not None:
                self.service.server.store.remove(content.key)
            await turn.receive("DOWNLOAD", {"Path": path, "Size": "4"}, 4, Sink())
        self.assertEqual(bytes(received), b"1234")
        await self.assert_answer(self.client_, "DOWNLOAD", {"Path": path}, Status.NOT_FOUND)

    async def test_lost_content(self) -> None:
        """A file whose content has gone from the disk is there all the same: that is a fault of ours."""
        path = await self.put_stored(self.alice)
        self.service.server.store.remove(await self.key_of(path))
        await self.assert_answer(self.client_, "DOWNLOAD", {"Path": path}, Status.INTERNAL_SERVER_ERROR)
        self.assertEqual(len(self.flushLoggedErrors(FileNotFoundError)), 1)
        await self.assert_answer(self.client_, "EXISTS", {"Path": path}, Status.OK)

    async def test_deleted_before_it_is_opened(self) -> None:
        """A file that somebody deletes just now is not found."""
        path = await self.put_stored(self.alice)
        server = self.service.server
        server.store = store = WatchedStore(server.store)
        connection = self.connect()

        def delete(key: ContentKey) -> None:
            with connection, connection.cursor() as cursor:
                cursor.execute("DELETE FROM files")
            store.remove(key)

        store.before_open = delete
        await self.assert_answer(self.client_, "DOWNLOAD", {"Path": path}, Status.NOT_FOUND)

    async def test_given_up(self) -> None:
        """A download that was offered and not taken leaves no file open."""
        path = await self.put_stored(self.alice)
        for _ in range(3):
            await self.assert_answer(self.client_, "DOWNLOAD", {"Path": path}, Status.CONTINUE)
            await self.assert_answer(self.client_, "DOWNLOAD", {"Path": path}, Status.BAD_REQUEST)
            await self.assert_answer(
                self.client_, "DOWNLOAD", {"Path": path, "Offset": "99"}, Status.BAD_REQUEST
            )
        self.assertEqual(self.open_stored_files(), [])


class PlantedLinkTests(FilesTestCase):
    """What somebody else put into the store."""

    async def test_link(self) -> None:
        """A planted symbolic link is not followed: the server's other files stay its own."""
        size = (self.directory / "organization.key").stat().st_size
        path = await self.put_stored(self.alice, b"x" * size)
        (on_disk,) = (self.directory / "data" / "content").rglob("*.0")
        on_disk.unlink()
        on_disk.symlink_to(self.directory / "organization.key")
        answer = await self.assert_answer(
            self.client_, "DOWNLOAD", {"Path": path}, Status.INTERNAL_SERVER_ERROR
        )
        self.assertNotIn("XSALSA20", str(answer))
        self.flushLoggedErrors(OSError)
