"""The differences between two configurations, and which of them SIGHUP applies (spec 06)."""

from collections.abc import Iterator

from attrs import evolve, frozen

from mensagod.config.tree import KEYS, Config, attribute_of, value_of


@frozen
class Difference:
    """A key whose value differs.

    :ivar key: ``table.key``, or ``plugins.NAME`` for the sub-table of a plugin.
    :ivar restart: whether the new value takes effect only after a restart.
    """

    key: str
    restart: bool


def apply_reloadable(old: Config, new: Config) -> Config:
    """Give ``new``, but with the values of ``old`` for every key that needs a restart."""
    kept: dict[str, dict[str, object]] = {}
    for key in KEYS.values():
        if not key.reload:
            kept.setdefault(attribute_of(key.table), {})[key.attribute] = value_of(old, key)
    kept.setdefault("plugins", {})["settings"] = old.plugins.settings
    tables = {table: evolve(getattr(new, table), **values) for table, values in kept.items()}
    return evolve(new, **tables)


def changed_keys(old: Config, new: Config) -> tuple[Difference, ...]:
    """Compare two configurations, in the order of the tables."""
    changes = [
        Difference(key.path, restart=not key.reload)
        for key in KEYS.values()
        if value_of(old, key) != value_of(new, key)
    ]
    return (*changes, *_changed_plugins(old, new))


def _changed_plugins(old: Config, new: Config) -> Iterator[Difference]:
    before, after = old.plugins.settings, new.plugins.settings
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Difference(f"plugins.{name}", restart=True)
