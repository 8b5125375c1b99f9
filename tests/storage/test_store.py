"""Files that were opened: read from wherever the bytes are."""

import os

from twisted.python.filepath import FilePath
from twisted.trial.unittest import SynchronousTestCase

from mensagod.storage.store import MailboxStore
from mensagod.storage.stored_file import StoredFile
from mensagod.values.identity import WorkspaceID
from mensagod.values.paths import FileName, ServerPath


class StoredFileTests(SynchronousTestCase):
    """One read goes on where the last one ended, ready or not."""

    def setUp(self) -> None:
        self.content = os.urandom(300_000)
        root = self.mktemp()
        os.mkdir(root)
        store = MailboxStore(FilePath(os.path.abspath(root)))
        name = FileName.make(1, len(self.content))
        path = ServerPath.new_messages(WorkspaceID.random()).child(name)
        store.write(path, self.content)
        self.stored = store.open(path)
        self.addCleanup(self.stored.close)

    def read_all(self, stored: StoredFile) -> bytes:
        pieces = []
        while piece := stored.read_ready(70_000) or stored.read(70_000):
            pieces.append(piece)
        return b"".join(pieces)

    def test_whole(self) -> None:
        """Both kinds of reading together give the whole file once."""
        self.assertEqual(self.read_all(self.stored), self.content)

    def test_offset(self) -> None:
        """After a seek the rest is given, by either kind."""
        self.stored.seek(299_990)
        self.assertEqual(self.stored.read(4), self.content[299_990:299_994])
        self.assertEqual(self.read_all(self.stored), self.content[299_994:])

    def test_cannot_tell(self) -> None:
        """What cannot be read without waiting gives nothing, and is no error yet."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        stored = StoredFile(0, reading)
        self.addCleanup(stored.close)
        self.assertEqual(stored.read_ready(10), b"")
