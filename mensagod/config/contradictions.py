"""Contradictions between keys of the configuration, and warnings for the operator (spec 06)."""

from collections.abc import Container, Iterator

from attrs import frozen

from mensagod.config.choices import Hints
from mensagod.config.tree import Config

_INSTEAD_OF_URL = ("host", "port", "name", "user", "password")


@frozen
class Contradiction:
    """Keys whose values contradict each other.

    :ivar keys: ``table.key`` of each; the fault is reported for the first of them that is set.
    :ivar sentence: what is wrong; it follows the name of that key.
    """

    keys: tuple[str, ...]
    sentence: str


def contradictions(config: Config, given: Container[str]) -> Iterator[Contradiction]:
    """Find all contradictions.

    :param given: the keys that the file or the environment sets.
    """
    yield from _database(config, given)
    yield from _domains(config)
    yield from _listeners(config)
    security = config.security
    if security.argon2_memory < 8 * security.argon2_parallelism:
        keys = ("security.argon2_parallelism", "security.argon2_memory")
        yield Contradiction(
            keys, f"needs security.argon2_memory to be at least {8 * security.argon2_parallelism} KiB"
        )


def _database(config: Config, given: Container[str]) -> Iterator[Contradiction]:
    database = config.database
    if database.url is not None:
        for name in _INSTEAD_OF_URL:
            if f"database.{name}" in given:
                keys = (f"database.{name}", "database.url")
                yield Contradiction(keys, "cannot be set together with database.url; remove one of the two")
    if database.url is not None and database.embedded:
        yield Contradiction(
            ("database.embedded", "database.url"),
            "cannot be true if database.url is set; remove one of the two",
        )
    if database.pool_min > database.pool_max:
        keys = ("database.pool_min", "database.pool_max")
        yield Contradiction(keys, f"must not be more than database.pool_max, {database.pool_max}")


def _domains(config: Config) -> Iterator[Contradiction]:
    extra = config.global_.extra_domains
    if config.global_.domain in extra:
        yield Contradiction(("global.extra_domains", "global.domain"), "must not contain global.domain")
    if len(set(extra)) < len(extra):
        yield Contradiction(("global.extra_domains",), "contains a domain twice")
    for domain in config.global_.domains:
        if domain in config.federation.blocked_domains:
            keys = ("federation.blocked_domains", "global.domain", "global.extra_domains")
            yield Contradiction(keys, f"must not contain {domain}, which this server serves")


def _listeners(config: Config) -> Iterator[Contradiction]:
    network = config.network
    if len(set(network.listen)) < len(network.listen):
        yield Contradiction(("network.listen",), "contains an endpoint twice")
    keys = ("network.proxy_protocol", "network.listen", "network.listen_ip", "network.port")
    for listener in network.proxy_protocol:
        if listener not in network.endpoints:
            listed = ", ".join(map(str, network.endpoints))
            yield Contradiction(keys, f"contains {listener}, which is not in network.listen: take {listed}")
        elif listener.kind == "ssl":
            # Twisted begins TLS there before the header could be read.
            sentence = f"contains {listener}, where TLS begins before the PROXY header: use tls:"
            yield Contradiction(keys, sentence)


NOT_YET = (
    "global.archive_approval",
    "metrics.listen",
)
"""Keys that are checked but have no effect yet; an operator who sets one gets a warning."""


def warnings(config: Config, given: Container[str]) -> Iterator[tuple[str, str]]:
    """Find what looks wrong but does not stop the start; give the key and a sentence for each."""
    yield from ((key, f"{key} has no effect in this version") for key in NOT_YET if key in given)
    for listener in config.network.endpoints:
        if not listener.is_tls and not listener.is_local:
            yield (
                "network.listen",
                f"{listener} accepts connections from other machines without TLS: use a tls: endpoint",
            )
    if config.network.listen:
        for name in ("listen_ip", "port"):
            if f"network.{name}" in given:
                yield f"network.{name}", f"network.{name} has no effect, because network.listen is set"
    if config.database.embedded:
        for name in ("host", "port", "password"):
            if f"database.{name}" in given:
                yield f"database.{name}", f"database.{name} has no effect, because database.embedded is true"
    if "cluster.listen_url" in given:
        yield from _listen_url(config)


def _listen_url(config: Config) -> Iterator[tuple[str, str]]:
    key, reason = "cluster.listen_url", None
    if config.cluster.hints is Hints.POLL:
        reason = "cluster.hints is poll"
    elif config.database.embedded:
        reason = "database.embedded is true"
    if reason is not None:
        yield key, f"{key} has no effect, because {reason}"
