"""What two keys of the configuration cannot say together, and what the operator should hear of (spec 06)."""

from collections.abc import Container, Iterator

from attrs import frozen

from mensagod.config.tree import Config

_INSTEAD_OF_URL = ("host", "port", "name", "user", "password")


@frozen
class Contradiction:
    """Keys that do not fit together.

    :ivar keys: ``table.key`` of each; the first that was given is the one that the fault is about.
    :ivar sentence: what is wrong, to follow the name of that key.
    """

    keys: tuple[str, ...]
    sentence: str


def contradictions(config: Config, given: Container[str]) -> Iterator[Contradiction]:
    """Find all of them; ``given`` are the keys that something set."""
    yield from _database(config, given)
    yield from _domains(config)
    yield from _listeners(config)
    security = config.security
    if security.argon2_memory < 8 * security.argon2_parallelism:
        keys = ("security.argon2_parallelism", "security.argon2_memory")
        yield Contradiction(keys, "needs argon2_memory to be at least eight times as large")


def _database(config: Config, given: Container[str]) -> Iterator[Contradiction]:
    database = config.database
    if database.url is not None:
        for name in _INSTEAD_OF_URL:
            if f"database.{name}" in given:
                keys = (f"database.{name}", "database.url")
                yield Contradiction(keys, "cannot stand together with database.url, which says it already")
    if database.url is not None and database.embedded:
        yield Contradiction(
            ("database.embedded", "database.url"), "cannot be true together with database.url"
        )
    if database.pool_min > database.pool_max:
        keys = ("database.pool_min", "database.pool_max")
        yield Contradiction(keys, f"must not be more than database.pool_max, {database.pool_max}")


def _domains(config: Config) -> Iterator[Contradiction]:
    extra = config.global_.extra_domains
    if config.global_.domain in extra:
        yield Contradiction(("global.extra_domains", "global.domain"), "must not have global.domain in it")
    if len(set(extra)) < len(extra):
        yield Contradiction(("global.extra_domains",), "has a domain twice")
    for domain in config.global_.domains:
        if domain in config.federation.blocked_domains:
            keys = ("federation.blocked_domains", "global.domain", "global.extra_domains")
            yield Contradiction(keys, f"must not block {domain}, which is served here")


def _listeners(config: Config) -> Iterator[Contradiction]:
    network = config.network
    if len(set(network.listen)) < len(network.listen):
        yield Contradiction(("network.listen",), "has an endpoint twice")
    keys = ("network.proxy_protocol", "network.listen", "network.listen_ip", "network.port")
    for listener in network.proxy_protocol:
        if listener not in network.endpoints:
            listed = ", ".join(map(str, network.endpoints))
            yield Contradiction(keys, f"has {listener}, which is not one of network.listen: take {listed}")
        elif listener.kind == "ssl":
            # Twisted begins TLS there before anybody sees a byte.
            sentence = f"has {listener}, where TLS begins before the PROXY header: make it a tls: endpoint"
            yield Contradiction(keys, sentence)


NOT_YET = (
    "global.archive_approval",
    "metrics.listen",
    "cluster.listen_url",
)
"""What is checked, but has no effect before its feature comes, and might be relied on."""


def warnings(config: Config, given: Container[str]) -> Iterator[tuple[str, str]]:
    """Find what does not stop the start but looks wrong: the key, and a sentence about it."""
    yield from ((key, f"{key} has no effect in this version") for key in NOT_YET if key in given)
    for listener in config.network.endpoints:
        if not listener.is_tls and not listener.is_local:
            yield "network.listen", f"{listener} is open to other machines without TLS (spec: SHOULD be tls:)"
    if config.network.listen:
        for name in ("listen_ip", "port"):
            if f"network.{name}" in given:
                yield f"network.{name}", f"network.{name} has no effect, because network.listen is set"
    if config.database.embedded:
        for name in ("host", "port", "password"):
            if f"database.{name}" in given:
                yield f"database.{name}", f"database.{name} has no effect, because database.embedded is true"
