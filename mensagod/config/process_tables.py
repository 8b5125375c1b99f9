"""The tables of the configuration about a process: its log, metrics and plugins (spec 06).

As in :mod:`mensagod.config.tables`, a key is defined here only.
"""

# key() gives attrs.field(), which ruff cannot see.
# ruff: noqa: RUF009

from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from mensagod.config.choices import LogFormat, LogLevel
from mensagod.config.keys import key, optional_key
from mensagod.config.listeners import Listener, parse_listener
from mensagod.config.values import Choice, Endpoint, Many, Text


@frozen(kw_only=True)
class LogTable:
    """The log, on standard output."""

    format: LogFormat = key(
        Choice(LogFormat), LogFormat.TEXT, "The format of the log. Each event is one line of text or of JSON."
    )
    level: LogLevel = key(
        Choice(LogLevel), LogLevel.INFO, "The lowest level that is logged, in the order of this list."
    )


@frozen(kw_only=True)
class MetricsTable:
    """Metrics and health checks."""

    listen: Listener | None = optional_key(
        Endpoint(),
        "The endpoint for metrics, /live and /ready over HTTP. If it is not set, they are not served.",
        example=parse_listener("tcp:9090:interface=127.0.0.1"),
        reload=False,
    )


def _no_settings() -> Mapping[str, Mapping[str, object]]:
    return MappingProxyType({})


@frozen(kw_only=True)
class PluginsTable:
    """Plugins and their settings.

    :ivar settings: the sub-table of each plugin by its name, as TOML has it.
    """

    disabled: tuple[str, ...] = key(
        Many(Text()), (), "The names of plugins that are not loaded.", example=("EXAMPLE",), reload=False
    )
    settings: Mapping[str, Mapping[str, object]] = field(factory=_no_settings)
