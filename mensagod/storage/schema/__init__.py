"""The numbered SQL files of the schema, applied in order by :mod:`mensagod.storage.migrations`."""

from pathlib import Path

DIRECTORY = Path(__file__).parent
"""The directory of the numbered files."""
