"""``mensagod org``: the organization's own keycard and keys (spec 03; 06, *The `mensagod` command*)."""

import sys
from datetime import UTC, datetime
from typing import Any, Final

import click

from mensagod.cli import organizations, output
from mensagod.cli.founded import as_lines
from mensagod.cli.verbs import Invocation, VerbGroup, pass_invocation
from mensagod.config import Config
from mensagod.crypto.sealing import SecretKey
from mensagod.installation.certificates import read_pins
from mensagod.installation.opening import open_installation
from mensagod.keycards.entries import OrganizationEntry
from mensagod.keycards.signatures import fingerprint
from mensagod.organization import dns_changes, keycard
from mensagod.organization.dns_changes import Task
from mensagod.organization.dns_records import Record, make_records, public_port
from mensagod.organization.key_file import read_candidates
from mensagod.organization.keycard import Replacement, ReplacementStep
from mensagod.organization.keyring import choose_master
from mensagod.organization.rekeying import is_unfinished, revoke_with_new_key
from mensagod.organization.rekeying import rekey as replace_key
from mensagod.storage import keys
from mensagod.storage.connections import Connection
from mensagod.storage.transactions import transaction

DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")

QUESTION: Final = (
    "This revokes all keys of the organization permanently. Users cannot be verified until they have made a"
    " new keycard entry, and you must change DNS at once. Revoke?"
)

AFTERWARDS: Final = (
    "Copy it to the other machines of this server, and make a new backup: older backups need the old file."
)

COPY: Final = (
    "At once: copy the new {path} to the other machines of this server, which need it to work, and make a new"
    " backup: older backups need the old file"
)


@click.group(cls=VerbGroup)
def command() -> None:
    """Manage the organization's keycard and keys, whether the server runs or not."""


@command.command()
@pass_invocation
def show(invocation: Invocation) -> None:
    """Show the current entry, the keys, the users who need a new keycard entry, and the DNS records."""
    config = invocation.load()
    with open_installation(config) as connection:
        state = organizations.read_state(config, connection)
    if invocation.as_json:
        output.show_document(state.as_document())
    else:
        output.show("\n".join(state.as_lines()))


@command.command()
@DRY_RUN
@pass_invocation
def rotate(invocation: Invocation, *, dry_run: bool) -> None:
    """Give the organization new keys, and its keycard a new entry.

    The old encryption key remains in use for decryption for 30 days. Running servers use the new keys
    within a second.
    """
    _change(invocation, keycard.rotate, dry_run=dry_run)


@command.command()
@DRY_RUN
@click.option(
    "--new-key", is_flag=True, help="Also make a new organization.key, if the old one is lost or compromised."
)
@pass_invocation
def revoke(invocation: Invocation, *, dry_run: bool, new_key: bool) -> None:
    """Revoke all keys of the organization, because they may be compromised.

    All users then need a new keycard entry. Running servers use the new keys within a second.
    """
    _change(invocation, keycard.revoke, dry_run=dry_run, new_key=new_key)


@command.command()
@DRY_RUN
@pass_invocation
def rekey(invocation: Invocation, *, dry_run: bool) -> None:
    """Replace organization.key, the key that encrypts the private keys in the database.

    If a change was interrupted, this completes it. Other machines of the server need a copy of the new file.
    """
    config = invocation.load()
    path = config.organization_key
    with open_installation(config) as connection:
        completes = is_unfinished(config, connection)
        done = not dry_run and replace_key(config, connection)
    if dry_run and completes:
        text = f"The interrupted change of {path} would be completed."
    elif dry_run:
        text = f"{path} would be replaced, and all private keys would be encrypted with the new key."
    elif done:
        text = f"{path} has been replaced. {AFTERWARDS}"
    else:
        text = f"The interrupted change of {path} has been completed. {AFTERWARDS}"
    if invocation.as_json:
        output.show_document({"organization_key": str(path), "changed": done, "dry_run": dry_run})
    else:
        output.show(text)


def _change(invocation: Invocation, step: ReplacementStep, *, dry_run: bool, new_key: bool = False) -> None:
    """Rotate or revoke. All files are read before anything is changed."""
    config = invocation.load()
    pins = read_pins(config)
    port = public_port(config.network.endpoints)
    domains = config.global_.domains
    revokes = step is keycard.revoke
    with open_installation(config) as connection:
        with transaction(connection) as txn:
            before = keycard.current_entry(txn)
        masters = () if new_key else _read_masters(config, connection)
        if dry_run:
            old = make_records(before, domains, pins, port)
            tasks = _copying(config, None) if new_key else []
            tasks += [] if revokes else [dns_changes.before_rotation()]
            lacking = _lacking(connection, after_revocation=revokes)
            _show_plan(invocation, before, old, tasks, lacking, revokes=revokes)
            return
        if revokes:
            _confirm(invocation)
        now = datetime.now(UTC)
        if new_key:
            change = revoke_with_new_key(config, connection, before.hash, now)
        else:
            with transaction(connection) as txn:
                change = step(txn, masters, before.hash, now)
        records = make_records(change.entry, domains, pins, port)
        lacking = _lacking(connection)
        tasks = (
            dns_changes.after_revocation(records, now, anybody=bool(lacking))
            if revokes
            else dns_changes.after_rotation(records, now)
        )
        if new_key:
            tasks[1:1] = _copying(config, now)
        _show_change(invocation, change, tasks, lacking)


def _copying(config: Config, when: datetime | None) -> list[Task]:
    """Give the task after a change of organization.key."""
    return [Task(when, COPY.format(path=config.organization_key))]


def _read_masters(config: Config, connection: Connection) -> tuple[SecretKey, ...]:
    """Read organization.key, and check that it decrypts the private keys."""
    masters = read_candidates(config.organization_key)
    with transaction(connection) as txn:
        choose_master(keys.current_keys(txn), masters)
    return masters


def _lacking(connection: Connection, *, after_revocation: bool = False) -> list[dict[str, Any]]:
    """List the users who need a new keycard entry, or would need one."""
    with transaction(connection) as txn:
        holders = keycard.lacking_entries(txn, after_revocation=after_revocation)
        return [organizations.holder_document(holder) for holder in holders]


def _confirm(invocation: Invocation) -> None:
    if invocation.yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("There is no terminal to ask on: add --yes to confirm")
    click.confirm(QUESTION, abort=True, err=True)


def _show_plan(
    invocation: Invocation,
    before: OrganizationEntry,
    old: list[Record],
    tasks: list[Task],
    lacking: list[dict[str, Any]],
    *,
    revokes: bool,
) -> None:
    texts = [record for record in old if record.type == "TXT"]
    verb = "revoke" if revokes else "follow"
    if invocation.as_json:
        output.show_document(
            {
                "dry_run": True,
                "action": "revoke" if revokes else "rotate",
                "index": before.index + 1,
                "replaces": [dns_changes.record_document(record) for record in texts],
                "steps": [dns_changes.as_document(task) for task in tasks],
                "need_entries": lacking,
            }
        )
        return
    lines = [f"Entry {before.index + 1} of the organization's keycard would {verb} entry {before.index}."]
    lines += ["", *(task.text for task in tasks)] if tasks else []
    lines += ["", "These records would have to be replaced:", "", *as_lines(texts)]
    lines += organizations.lacking_lines(lacking, "Users who would need a new keycard entry")
    output.show("\n".join(lines))


def _show_change(
    invocation: Invocation, change: Replacement, tasks: list[Task], lacking: list[dict[str, Any]]
) -> None:
    revokes = change.entry.revokes is not None
    if invocation.as_json:
        document = {
            "action": "revoke" if revokes else "rotate",
            **organizations.entry_document(change.entry),
            "steps": [dns_changes.as_document(task) for task in tasks],
            "need_entries": lacking,
        }
        output.show_document(document)
        return
    done = "revoked" if revokes else "rotated"
    lines = [
        f"The organization's keys are {done}: entry {change.entry.index} of its keycard is the current one.",
        f"Its fingerprint is {fingerprint(change.entry)}",
    ]
    for number, task in enumerate(tasks, start=1):
        when = "" if task.when is None else f"{dns_changes.show_time(task.when)}  "
        lines += [
            "",
            f"{number}. {when}{task.text}.",
            *(["", *as_lines(task.records)] if task.records else []),
        ]
    lines += organizations.lacking_lines(lacking)
    output.show("\n".join(lines))
