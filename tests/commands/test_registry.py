"""Commands as plugins: found, verified once, loud (spec 04)."""

import os
import sys
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from attrs import define, frozen
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from mensagod.commands import sessions
from mensagod.commands.audience import Audience
from mensagod.commands.interfaces import Command, ICommand
from mensagod.commands.registry import CommandRegistry, PluginFaults
from mensagod.errors import BadRequest
from mensagod.sessions.outcomes import Outcome
from mensagod.sessions.session import Session
from mensagod.status import Status
from mensagod.wire.fields import Fields, NoFields, required
from mensagod.wire.messages import Response
from tests.conversations import Scripted, answer_ok

DROPIN = '''
from mensagod.commands.sessions import Idle

class Hello(Idle):
    """Say hello."""
    name = "HELLO"

hello = Hello()
'''


class VerificationTests(SynchronousTestCase):
    """What may be a command."""

    def fault(self, *commands: Any, disabled: tuple[str, ...] = ()) -> str:
        """Give the one fault of these commands."""
        error = self.assertRaises(PluginFaults, CommandRegistry.of, commands, disabled)
        self.assertEqual(len(error.faults), 1)
        return str(error)

    def test_find(self) -> None:
        """Commands are found by name; an unknown one is named in printable characters."""
        echo = Scripted("ECHO", answer_ok)
        registry = CommandRegistry.of([echo])
        self.assertIs(registry.find("ECHO"), echo)
        for name, info in (
            ("NOSUCH", "Unrecognized command 'NOSUCH'"),
            ("", "Unrecognized command ''"),
            ("A\n\x00", "Unrecognized command 'A??'"),
        ):
            self.assertEqual(self.assertRaises(BadRequest, registry.find, name).info, info)
        self.assertLess(len(self.assertRaises(BadRequest, registry.find, "X" * 100_000).info), 100)

    def test_twice(self) -> None:
        """Two commands of one name stop the start, and both are named."""
        fault = self.fault(sessions.Idle(), Scripted("IDLE", answer_ok))
        self.assertIn("mensagod.commands.sessions.Idle", fault)
        self.assertIn("tests.conversations.Scripted", fault)

    def test_wrong_interface(self) -> None:
        """What does not do what a command does stops the start."""

        class Mute(sessions.Idle):
            async def perform(self) -> Outcome:  # type: ignore[override]
                return Response(Status.OK)

        class Demanding(sessions.Idle):
            demands = ("login",)  # type: ignore[assignment]

        class Undemanding(sessions.Idle):
            demands = None  # type: ignore[assignment]

        class Blocking(sessions.Idle):
            def perform(self, asked: Any, session: Session) -> Outcome:  # type: ignore[override]
                return Response(Status.OK)

        class Idling(Command):
            name = "IDLING"
            audience = Audience.MEMBER

        wrongs = {
            Mute(): "perform",
            Demanding(): "IDemand",
            Undemanding(): "demands are not a tuple",
            Blocking(): "async def",
            Idling(): "no perform",
        }
        for wrong, reason in wrongs.items():
            fault = self.fault(wrong)
            self.assertIn("is not a command", fault)
            self.assertIn(reason, fault)
        self.assertIn("is not a command", self.fault(object()))

    def test_wrong_fields(self) -> None:
        """Fields that could not be read, or not as their author thinks, stop the start."""

        class Bare(Fields):
            """No class of attrs."""

        @define(kw_only=True)
        class Mutable(Fields):
            days: int = required("Days", int, "how many")

        @frozen(kw_only=True)
        class Loose(Fields):
            days: int = 5

        @frozen(kw_only=True)
        class Doubled(Fields):
            days: int = required("Days", int, "how many")
            more: int = required("Days", int, "how many")

        @frozen(kw_only=True)
        class Unparsed(Fields):
            days: int = required("Days", cast(Any, "int"), "how many")

        reasons = {
            dict: "subclass of mensagod.wire.fields.Fields",
            Bare: "@frozen",
            Mutable: "@frozen",
            Loose: "Loose.days is no field",
            Doubled: "two fields of the name Days",
            Unparsed: "no function",
        }
        for wrong, reason in reasons.items():
            for more in (False, True):
                values = {"more_fields": (wrong,)} if more else {"fields": wrong}
                self.assertIn(reason, self.fault(type("Wrong", (sessions.Idle,), values)()))
        self.assertIn("not a tuple", self.fault(type("W", (sessions.Idle,), {"more_fields": NoFields})()))

    def test_no_audience(self) -> None:
        """A command that does not say who may use it is for nobody, and stops the start."""

        class Open(Command):
            name = "OPEN"

        for audience in (None, "everybody", 31, True, Audience(0)):
            wrong = type("Wrong", (Open,), {"audience": audience})
            self.assertIn("has no audience", self.fault(wrong()))
        self.assertIn("has no audience", self.fault(Open()))
        nameless = type("Nameless", (Command,), {"audience": Audience.MEMBER})
        self.assertIn("has the name None", self.fault(nameless()))

    def test_no_plugin(self) -> None:
        """An object that is a command but no plugin is refused as well."""

        class Plain:
            name = "PLAIN"
            audience = Audience.EVERYBODY
            demands = ()
            fields = NoFields
            more_fields = ()

            async def perform(self, asked: Any, session: Session) -> Outcome:
                return Response(Status.OK)

        plain = Plain()
        directlyProvides(plain, ICommand)
        self.assertIn("IPlugin", self.fault(plain))

    def test_names(self) -> None:
        """A name is upper-case ASCII letters, digits and underscores."""
        for name in ("", "idle", "I D", "1DLE", "ÄNDERN", "A\n", None, 5, b"IDLE"):
            self.assertIn("name", self.fault(Scripted(name, answer_ok)))  # type: ignore[arg-type]
        CommandRegistry.of([Scripted("MY_OWN2", answer_ok)])

    def test_disabled(self) -> None:
        """A disabled command is unknown to clients."""
        registry = CommandRegistry.of([sessions.Idle(), sessions.Quit()], ["idle"])
        self.assertEqual(list(registry.commands), ["QUIT"])
        self.assertRaises(BadRequest, registry.find, "IDLE")

    def test_disabled_unknown(self) -> None:
        """To disable what is not there is a fault, with the nearest name if there is one near."""
        self.assertIn("did you mean IDLE?", self.fault(sessions.Idle(), disabled=("IDEL",)))
        self.assertNotIn("did you mean", self.fault(sessions.Idle(), disabled=("XYZZY",)))

    def test_all_faults(self) -> None:
        """Every fault is told, not just the first."""
        error = self.assertRaises(
            PluginFaults, CommandRegistry.of, [object(), Scripted("x", answer_ok), sessions.Idle()], ["NO"]
        )
        self.assertEqual(len(error.faults), 3)


class DropinTests(SynchronousTestCase):
    """Dropins in a directory."""

    def setUp(self) -> None:
        """Make a plugin package of one directory."""
        parent = Path(self.mktemp()).absolute()
        self.name = f"dropins_{uuid4().hex}"
        self.directory = parent / self.name
        self.directory.mkdir(parents=True)
        (self.directory / "__init__.py").touch()
        sys.path.insert(0, str(parent))
        self.addCleanup(sys.path.remove, str(parent))
        self.package = import_module(self.name)
        self.addCleanup(self.forget)

    def forget(self) -> None:
        """Have the dropins imported anew."""
        invalidate_caches()
        for name in [name for name in sys.modules if name.startswith(f"{self.name}.")]:
            del sys.modules[name]

    def install(self, name: str, content: str) -> None:
        (self.directory / f"{name}.py").write_text(content)

    def fault(self, **options: Any) -> str:
        """Give the one fault of what is installed; what Twisted logs of it is expected."""
        error = self.assertRaises(PluginFaults, CommandRegistry.installed, package=self.package, **options)
        self.flushLoggedErrors()
        self.assertEqual(len(error.faults), 1)
        return str(error)

    def test_found(self) -> None:
        """A command of a dropin is found, also the second time, from the cache."""
        self.install("hello", DROPIN)
        for _ in range(2):
            registry = CommandRegistry.installed(package=self.package)
            self.assertEqual(list(registry.commands), ["HELLO"])
            self.forget()
        self.assertTrue((self.directory / "dropin.cache").exists())

    def test_cache_cannot_be_written(self) -> None:
        """That the cache cannot be written, or read, does not matter."""
        self.install("hello", DROPIN)
        (self.directory / "dropin.cache").mkdir()
        registry = CommandRegistry.installed(package=self.package)
        self.assertEqual(list(registry.commands), ["HELLO"])

    def test_broken_cache(self) -> None:
        """Nor that it holds nonsense."""
        self.install("hello", DROPIN)
        (self.directory / "dropin.cache").write_bytes(b"nonsense")
        self.assertEqual(list(CommandRegistry.installed(package=self.package).commands), ["HELLO"])

    def test_import_error(self) -> None:
        """A dropin that cannot be imported is named, with the reason, and nothing else is complained of."""
        self.install("hello", DROPIN)
        self.install("broken", "import no_such_module")
        fault = self.fault(disabled=("IN_THE_BROKEN_ONE",))
        self.assertIn(str(self.directory / "broken.py"), fault)
        self.assertIn("No module named 'no_such_module'", fault)

    def test_mended(self) -> None:
        """A dropin that failed just now and does not any more is missing all the same: start again."""
        self.addCleanup(delattr, sys, "dropin_ran")
        self.install(
            "broken",
            "import sys\nif not hasattr(sys, 'dropin_ran'):\n    sys.dropin_ran = 1\n    raise ValueError\n",
        )
        self.assertIn("it was repaired meanwhile, start again", self.fault())

    def test_stale_cache(self) -> None:
        """A dropin of which only the cache is left as it was, say after a downgrade, is named too."""
        self.install("hello", DROPIN)
        CommandRegistry.installed(package=self.package)
        self.forget()
        self.install("hello", "")
        times = (self.directory / "dropin.cache").stat()
        os.utime(self.directory / "hello.py", (times.st_mtime - 100, times.st_mtime - 100))
        self.assertIn("hello.hello cannot be loaded", self.fault())

    def test_not_a_command(self) -> None:
        """A dropin with other plugins does not disturb."""
        self.install(
            "service",
            "from twisted.application.service import ServiceMaker\ns = ServiceMaker('x', 'x', 'x', 'x')\n",
        )
        self.assertEqual(dict(CommandRegistry.installed(package=self.package).commands), {})

    def test_built_in(self) -> None:
        """What mensagod brings along is in order."""
        self.assertIn("IDLE", CommandRegistry.installed().commands)
