"""A server for the Mensago platform."""

__version__ = "0.1.0"
