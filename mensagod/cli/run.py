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
    """Run the server in the foreground, until SIGTERM or Ctrl-C.

    The same as "twistd --nodaemon mensagod --config FILE". SIGHUP reads configuration and certificates again.
    """
    # A program that asks for JSON gets no log in between.
    log = sys.stderr if invocation.as_json else sys.stdout
    serve(configuration_path(os.environ, invocation.config), log=log)
