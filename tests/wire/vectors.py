"""The test vectors of the wire, and ways to read a stream."""

import json
from pathlib import Path
from typing import Any

from mensagod.errors import CommandError
from mensagod.wire.frames import FrameDecoder

_FOLDER = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    """Read a file of vectors."""
    return json.loads((_FOLDER / name).read_text(encoding="utf-8"))


def drain(decoder: FrameDecoder) -> list[bytes]:
    """Take every whole message out of ``decoder``."""
    messages = []
    while (message := decoder.next_message()) is not None:
        messages.append(message)
    return messages


def read_pieces(pieces: list[bytes], limit: int) -> tuple[list[bytes], str | None]:
    """Give the messages of a stream that arrives in ``pieces``, and the fault that ends it."""
    decoder = FrameDecoder(limit)
    messages: list[bytes] = []
    try:
        for piece in pieces:
            decoder.receive(piece)
            while (message := decoder.next_message()) is not None:
                messages.append(message)
    except CommandError as fault:
        return messages, f"{fault.status} {fault.info}"
    return messages, None
