"""The protocol's test vectors."""

import json
from pathlib import Path
from typing import Any


def load(name: str) -> dict[str, Any]:
    """Read one file of vectors, such as ``values``."""
    text = Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8")
    vectors: dict[str, Any] = json.loads(text)
    return vectors
