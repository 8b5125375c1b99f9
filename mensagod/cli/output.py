"""The output of the command: results on stdout, errors on stderr, one line each."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

FAILED: Final = 1
"""The exit status of a verb that failed."""
WRONG: Final = 2
"""The exit status of a usage error or a configuration error."""


class Refusal(Exception):
    """Ends a verb with an error.

    :ivar lines: the messages, a sentence each.
    :ivar status: the exit status.
    """

    def __init__(self, *lines: str, status: int = FAILED):
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status


def reporting(run: Callable[[], Any]) -> int:
    """Run a verb, report its errors, and give the exit status.

    An exception that the operator cannot cause is a bug, and is raised again.
    """
    try:
        status = run()
    except click.Abort:
        complain(["Stopped"])
        return FAILED
    except click.ClickException as error:
        complain([_advised(error)])
        return WRONG if isinstance(error, click.UsageError) else FAILED
    except Exception as error:
        refusal = explain(error)
        if refusal is None:
            raise
        complain(refusal.lines)
        return refusal.status
    return status if isinstance(status, int) else 0


def _advised(error: click.ClickException) -> str:
    """Give the text of an error; for a usage error, with a reference to ``--help``."""
    message = error.format_message()
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    return f"{message.rstrip('.')}; see `{error.ctx.command_path} --help`"


def explain(error: Exception) -> Refusal | None:
    """Give the messages and the status of an error that the operator can correct; ``None`` for others."""
    # Imported here, because importing these takes longer than showing the overview.
    from mensagod.config.faults import ConfigFaults  # noqa: PLC0415
    from mensagod.installation.faults import BadChoice, InstallationFault  # noqa: PLC0415
    from mensagod.process.accounts import AccountError  # noqa: PLC0415

    if isinstance(error, Refusal):
        return error
    if isinstance(error, ConfigFaults):
        return Refusal(*map(str, error.faults), status=WRONG)
    if isinstance(error, BadChoice):
        return Refusal(str(error), status=WRONG)
    if isinstance(error, AccountError | InstallationFault):
        return Refusal(str(error))
    return None


def complain(lines: Iterable[str]) -> None:
    """Print messages on stderr, each on one line."""
    for line in lines:
        click.echo(f"mensagod: {' '.join(line.split())}", err=True)


def warn_of_fallback(user: str) -> None:
    """Print a warning if the server would run as ``nobody``, because there is no account ``user``."""
    # Imported here for the same reason as above.
    from mensagod.process.accounts import fallback_warning, service_account  # noqa: PLC0415

    warning = fallback_warning(user, service_account(user) if os.geteuid() == 0 else None)
    if warning is not None:
        complain([f"warning: {warning}"])


def show(text: str) -> None:
    """Print a result as text."""
    click.echo(text)


def show_document(document: object) -> None:
    """Print a result as JSON."""
    click.echo(json.dumps(document, indent=2))
