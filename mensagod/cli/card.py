"""``mensagod card``: keycards for people to look at (spec 03; 06, *The `mensagod` command*)."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from typing import BinaryIO, Final

import click

from mensagod.cli import output
from mensagod.cli.cards import CardReport, UsableHistory
from mensagod.cli.verbs import Invocation, Parsed, VerbGroup, pass_invocation
from mensagod.config import Config
from mensagod.installation.faults import InstallationFault
from mensagod.installation.opening import open_installation
from mensagod.keycards.errors import KeycardFault
from mensagod.keycards.splitting import split_entries
from mensagod.storage import keycards, workspaces
from mensagod.storage.keycards import ORGANIZATION
from mensagod.storage.rows import Transaction
from mensagod.storage.transactions import transaction
from mensagod.values.identity import Domain, MAddress, UserID, WorkspaceID, is_random_id
from mensagod.values.times import parse_date, parse_timestamp

LARGEST: Final = 1024 * 1024
"""Bytes of a card (spec 03, *Trust in a remote server*)."""

Owner = MAddress | WorkspaceID | UserID | Domain


def parse_moment(text: str) -> datetime:
    """Read a Timestamp, or a Date, whose last second is meant; :class:`BadValue` for anything else."""
    if "T" in text:
        return parse_timestamp(text)
    return datetime.combine(parse_date(text), time(23, 59, 59), UTC)


MOMENT: Final = Parsed("TIME", parse_moment)


@click.group(cls=VerbGroup)
def command() -> None:
    """Look at keycards: what verifies, and what does not."""


@command.command()
@click.argument("owner")
@pass_invocation
def show(invocation: Invocation, *, owner: str) -> int:
    """Show the keycard of OWNER: an address, a user ID, a workspace ID or a domain of this server.

    It is read from the database, whether the server runs or not. Exit status 1 if it does not verify.
    """
    config = invocation.load()
    whom = _parse_owner(owner, config)
    with open_installation(config) as connection, transaction(connection) as txn:
        workspace = _find(txn, whom, config)
        texts = [entry.text for entry in keycards.list_entries(txn, workspace, 1, None)]
        card = [entry.text for entry in keycards.list_entries(txn, ORGANIZATION, 1, None)]
    if not texts:
        raise InstallationFault(f"{owner} has no keycard yet")
    now = datetime.now(UTC)
    # A domain of ours stands for the main one, whose card this is.
    history = UsableHistory.of(card, now, config.global_.domains)
    return _show(CardReport.of(texts, now, history), invocation)


@command.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--organization",
    type=click.File("rb"),
    help="The keycard of a user's organization; without it no user's card verifies.",
)
@click.option("--at", type=MOMENT, help="When, as YYYY-MM-DDTHH:MM:SSZ or YYYY-MM-DD [default: now].")
@pass_invocation
def verify(
    invocation: Invocation, *, file: BinaryIO, organization: BinaryIO | None, at: datetime | None
) -> int:
    """Verify the keycard in FILE, "-" for the standard input: entries one after the other, or Card-Data.

    Exit status 1 if it does not verify. A card that has ended verifies still, which is told.
    """
    if organization is not None and organization is file:
        raise click.UsageError("Only one of the two cards can come from the standard input")
    now = at or datetime.now(UTC)
    texts = _read(file)
    history = None if organization is None else UsableHistory.of(_read(organization), now)
    return _show(CardReport.of(texts, now, history), invocation)


def _show(report: CardReport, invocation: Invocation) -> int:
    if invocation.as_json:
        output.show_document(report.as_document())
    else:
        output.show("\n".join(report.as_lines()))
    return 0 if report.is_good else output.FAILED


def _read(file: BinaryIO) -> Sequence[str]:
    """Read a file of entries.

    :raises InstallationFault: if it is none, or too long.
    """
    name = getattr(file, "name", "the standard input")
    try:
        content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InstallationFault(f"{name} is longer than a keycard, which has at most 1 MiB")
        texts = split_entries(content.decode("utf-8"))
    except (UnicodeDecodeError, KeycardFault) as error:
        reason = error.info if isinstance(error, KeycardFault) else "It is no text in UTF-8"
        raise InstallationFault(f"{name} is no keycard: {reason}") from None
    except OSError as error:
        raise InstallationFault(f"{name} cannot be read: {error.strerror}") from error
    if not texts:
        raise InstallationFault(f"{name} is empty")
    return texts


def _parse_owner(text: str, config: Config) -> Owner:
    """Read whose card is meant; what could be a domain is one only if it is ours."""
    try:
        if "/" in text:
            return MAddress.from_text(text)
        if is_random_id(text):
            return WorkspaceID.from_text(text)
        if text.lower() in map(str, config.global_.domains):
            return Domain.from_text(text)
        return UserID.from_text(text)
    except ValueError as error:
        raise click.UsageError(f"{text!r} is no owner of a keycard here: {error}") from None


def _find(txn: Transaction, owner: Owner, config: Config) -> WorkspaceID:
    """Find whose card it is.

    :raises InstallationFault: if nobody here has that name.
    """
    if isinstance(owner, Domain):
        return ORGANIZATION
    if isinstance(owner, WorkspaceID):
        return owner
    domain = owner.domain if isinstance(owner, MAddress) else config.global_.domain
    name = owner.id if isinstance(owner, MAddress) else owner
    if domain not in config.global_.domains:
        raise InstallationFault(f"{domain} is no domain of this server: use `mensagod card verify`")
    if isinstance(name, WorkspaceID):
        return name
    found = workspaces.find_registered(txn, name, domain)
    if found is None:
        raise InstallationFault(f"There is no {name} in {domain}")
    return found
