"""``mensagod run``: the server in the foreground (spec 06)."""

import os
import sys

import click

from mensagod.cli.serving import serve
from mensagod.cli.verbs import Invocation, Verb, pass_invocation
from mensagod.config import configuration_path


@click.command(cls=Verb)
@pass_invocation
def command(invocation: Invocation) -> None:
    """Run the server in the foreground until SIGTERM or Ctrl-C.

    This is the same as "twistd --nodaemon mensagod --config FILE". SIGHUP reads the configuration and the
    certificates again.
    """
    # With --json, stdout is reserved for JSON.
    log = sys.stderr if invocation.as_json else sys.stdout
    serve(configuration_path(os.environ, invocation.config), log=log)
