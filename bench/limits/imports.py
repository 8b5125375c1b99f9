"""A process that only imports what the server is built on: the limit for its memory at rest."""

import sys

import twisted.enterprise.adbapi
import twisted.internet.reactor
import twisted.internet.ssl  # noqa: F401

from bench.processes import tell

if __name__ == "__main__":
    tell("ready")
    sys.stdin.read()
