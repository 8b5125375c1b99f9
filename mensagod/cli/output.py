"""What the command prints: results on stdout, faults as one plain line each on stderr."""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

import click

FAILED: Final = 1
"""The exit status of a verb that could not do its work."""
WRONG: Final = 2
"""The exit status of wrong use and of a wrong configuration."""


class Refusal(Exception):
    """Ends a verb.

    :ivar lines: what is wrong, a sentence each.
    :ivar status: the exit status.
    """

    def __init__(self, *lines: str, status: int = FAILED):
        super().__init__("\n".join(lines))
        self.lines = lines
        self.status = status


def reporting(run: Callable[[], Any]) -> int:
    """Run, report what goes wrong, and give the exit status.

    What is none of the conditions that an operator can cause is a fault of ours, and goes on as it is.
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
    """Give the text of wrong use, with where to read about the right one."""
    message = error.format_message()
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    return f"{message.rstrip('.')}; see `{error.ctx.command_path} --help`"


def explain(error: Exception) -> Refusal | None:
    """Turn a fault that the operator can mend into lines and a status."""
    # Only here, for these take longer to load than the overview takes to show.
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
    """Print faults on stderr, each on one line."""
    for line in lines:
        click.echo(f"mensagod: {' '.join(line.split())}", err=True)


def warn_of_fallback(user: str) -> None:
    """Print a warning if the server would serve as ``nobody``, because there is no account ``user``."""
    # Only here, as above.
    from mensagod.process.accounts import fallback_warning, service_account  # noqa: PLC0415

    warning = fallback_warning(user, service_account(user) if os.geteuid() == 0 else None)
    if warning is not None:
        complain([f"warning: {warning}"])


def show(text: str) -> None:
    """Print a result for a person."""
    click.echo(text)


def show_document(document: object) -> None:
    """Print a result for a program."""
    click.echo(json.dumps(document, indent=2))
