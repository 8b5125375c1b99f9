"""Tests with clients on plain sockets, whose calls run in threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

import twisted.plugins
from mensagod.commands.dispatch import Dispatch
from mensagod.commands.registry import CommandRegistry, installed_commands
from mensagod.config import Config
from tests.conversations import Held, Scripted, answer_ok
from tests.serving import ServerTestCase
from tests.system.sockets import Plug

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    return deferToThread(work, *args, **kwargs)


class ConnectionTestCase(ServerTestCase):
    """A server with two commands more: ECHO answers what it was sent, HOLD waits for the test."""

    network: dict[str, Any] = {}

    def configure(self, config: Config) -> Config:
        return evolve(config, network=evolve(config.network, **self.network))

    async def prepare(self) -> None:
        await super().prepare()
        self.held = Held()
        installed, _ = installed_commands(twisted.plugins)
        commands = [one.command for one in installed]
        own: Any = (Scripted("ECHO", answer_ok), Scripted("HOLD", self.held.perform))
        self.service.factory.dispatch = Dispatch(CommandRegistry.of((*commands, *own)))

    async def plug(self, **options: Any) -> Plug:
        """Connect a blocking client, closed after the test."""
        plug: Plug = await in_thread(Plug, self.port, **options)
        self.addCleanup(plug.close)
        return plug

    async def greeted(self, **options: Any) -> Plug:
        """Connect one and read its greeting."""
        plug = await self.plug(**options)
        greeting = await in_thread(plug.greeting)
        self.assertIn(b'"Code":200', greeting)
        return plug

    def write_configuration(self, *lines: str) -> Path:
        """Write the configuration file that the server reads again."""
        text = [
            "[global]",
            'domain = "example.com"',
            f'top_dir = "{self.directory}/data"',
            "[network]",
            *lines,
        ]
        path = self.directory / "serverconfig.toml"
        path.write_text("\n".join(text) + "\n")
        path.chmod(0o600)
        return path
