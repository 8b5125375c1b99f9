"""Showing an installation and its DNS records, as JSON and as text."""

from collections.abc import Iterable, Sequence
from typing import Any

from mensagod.organization.dns_records import Record
from mensagod.values.identity import Domain, WorkspaceID


def as_document(
    *,
    config: str,
    domain: Domain,
    admin: WorkspaceID | None,
    code: str | None,
    records: Iterable[Record],
    listen: Iterable[str],
) -> dict[str, Any]:
    """Give the JSON document of ``init --json``.

    :param code: the administrator's registration code; ``None`` after it was used.
    """
    return {
        "config": config,
        "domain": str(domain),
        "admin": {"workspace_id": None if admin is None else str(admin), "registration_code": code},
        "dns": [{"type": record.type, "name": record.name, "value": record.value} for record in records],
        "listen": list(listen),
    }


def as_lines(records: Sequence[Record]) -> Iterable[str]:
    """Give DNS records as lines of text, to copy."""
    width = max((len(record.name) for record in records), default=0)
    for record in records:
        yield f"  {record.name:<{width}}  {record.type}  {record.zone_data}"
