"""The ``mensagod`` command (spec 06, *The `mensagod` command*)."""

from typing import Final

import click

from mensagod import __version__
from mensagod.cli.verbs import Entry, Root

VERBS: Final = {
    "init": Entry("mensagod.cli.init", "Set up a server: configuration, database, keys, administrator."),
    "quickstart": Entry("mensagod.cli.quickstart", "Set up a test server in ./var, and run it."),
    "join": Entry("mensagod.cli.join", "Set up one more process of an installation."),
    "run": Entry("mensagod.cli.run", "Run the server in the foreground."),
    "org": Entry("mensagod.cli.org", "Show, rotate or revoke the organization's keys."),
    "card": Entry("mensagod.cli.card", "Show or verify a keycard, entry by entry."),
}
"""All verbs. To add one, write a module that defines ``command``, and add a line here."""


@click.group(cls=Root, entries=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mensagod", message="%(prog)s %(version)s")
def main() -> None:
    """Run and maintain a server for the Mensago platform."""


if __name__ == "__main__":
    main()
