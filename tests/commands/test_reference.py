"""The reference page of the commands is what the definitions say."""

from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from mensagod.commands import identity, keycards, sessions
from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command
from mensagod.commands.reference import FAMILIES, REFERENCE_FILE, main, write_reference
from mensagod.commands.registry import CommandRegistry

ROOT = Path(__file__).parent.parent.parent
CURE = "run: python -m mensagod.commands.reference"


class ReferenceTests(SynchronousTestCase):
    """The page, whole and in parts."""

    def test_up_to_date(self) -> None:
        """The page of the checkout is the one that its commands make, byte for byte."""
        made = Path(self.mktemp())
        main([str(made)])
        self.assertEqual((ROOT / REFERENCE_FILE).read_text(), (made / REFERENCE_FILE).read_text(), CURE)

    def test_complete(self) -> None:
        """Every module of commands has a heading, in an order that somebody chose."""
        modules = {
            type(command).__module__.rpartition(".")[2]
            for command in CommandRegistry.installed().commands.values()
            if type(command).__module__.startswith("mensagod.")
        }
        self.assertEqual(modules, set(FAMILIES))

    def test_entry(self) -> None:
        """An entry has purpose, audience, fields with types, further requests and answers."""
        page = write_reference([keycards.GetCard(), keycards.OrgCard()])
        for text in (
            "GETCARD\n    Give the entries of a keycard, in two steps: the size, then the entries.\n",
            "    For all clients and other servers.\n",
            "    :Start-Index: digits, a minus sign allowed. The first entry; 0 or less is the current one",
            "    :End-Index: digits, optional. The last entry; else the current one.\n",
            "    :Owner: must be absent: belongs to USERCARD.\n",
            "    Then TRANSFER:\n",
            "    104 with ``Item-Count`` and ``Total-Size``, then 200 with these and ``Card-Data``.\n",
        ):
            self.assertIn(text, page)

    def test_order(self) -> None:
        """Families come in their order, the commands of one as they stand in its module."""
        page = write_reference([identity.IsCurrent(), identity.GetWID(), sessions.Quit(), sessions.Cancel()])
        names = [line for line in page.splitlines() if line.isupper() and line.isalpha()]
        self.assertEqual(names, ["CANCEL", "QUIT", "GETWID", "ISCURRENT"])

    def test_audiences(self) -> None:
        """Whoever a command is for is named; what is of no family is left out."""
        for audience, named in (
            (Audience.EVERYBODY, "everybody"),
            (Audience.STRANGER, "clients that are not logged in"),
            (Audience.MEMBER | Audience.OPERATOR, "clients that are logged in and the operator"),
        ):
            kind = type("Made", (sessions.Idle,), {"audience": audience})
            kind.__module__ = "mensagod.commands.sessions"
            self.assertIn(f"    For {named}.\n", write_reference([kind()]))

    def test_foreign(self) -> None:
        """An operator's own command is not on the page."""

        @frozen
        class Own(Command):
            name = "OWN"
            audience = Audience.MEMBER

        self.assertNotIn("OWN", write_reference([Own()]))
