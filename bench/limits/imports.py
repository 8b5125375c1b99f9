"""A process that only imports the server's libraries: the limit for the memory of the idle server."""

import sys

import twisted.enterprise.adbapi
import twisted.internet.reactor
import twisted.internet.ssl  # noqa: F401

from bench.processes import tell

if __name__ == "__main__":
    tell("ready")
    sys.stdin.read()
