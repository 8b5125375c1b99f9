"""A minimal client of the protocol over a blocking socket, as fast as Python allows."""

import base64
import json
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.sealing import EncryptionKey, EncryptionPair
from mensagod.wire.frames import FrameDecoder, encode_message

OK = b'{"Code":200,'
PASSWORD = "what the client makes of a password"
PIECE = 1024 * 1024
LARGEST_ANSWER = 16 * 1024 * 1024


class WrongAnswer(Exception):
    """The server did not answer as expected."""


def frame(action: str, data: Mapping[str, str]) -> bytes:
    """Make the frame of a request."""
    return encode_message(json.dumps({"Action": action, "Data": dict(data)}).encode())


def open_socket(port: int, tls: bool = False, source: str = "127.0.0.1") -> socket.socket:
    """Connect to loopback from the address ``source``, and read the greeting."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection: socket.socket = _no_check().wrap_socket(plain) if tls else plain
    greeting = b""
    while not greeting.endswith(b"\n"):
        piece = connection.recv(1024)
        if not piece:
            raise WrongAnswer("closed before the greeting")
        greeting += piece
    if b'"Code":200,' not in greeting:
        raise WrongAnswer(f"not admitted: {greeting!r}")
    return connection


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Send a request; give the answer, which must fit into one frame."""
    connection.sendall(request)
    answer = connection.recv(65535)
    while len(answer) < 3 or len(answer) < 3 + (answer[1] << 8 | answer[2]):
        piece = connection.recv(65535)
        if not piece:
            raise WrongAnswer("closed before the answer")
        answer += piece
    return answer[3:]


def ask(connection: socket.socket, action: str, data: Mapping[str, str]) -> dict[str, str]:
    """Send a request; give the fields of the answer, whose code must be below 300.

    The answer may have many frames.
    """
    connection.sendall(frame(action, data))
    decoder = FrameDecoder(LARGEST_ANSWER)
    while (message := decoder.next_message()) is None:
        piece = connection.recv(65535)
        if not piece:
            raise WrongAnswer(f"{action}: closed before the answer")
        decoder.receive(piece)
    answer = json.loads(message)
    if answer["Code"] >= 300:
        raise WrongAnswer(f"{action}: {answer}")
    fields: dict[str, str] = answer["Data"]
    return fields


def log_in(connection: socket.socket, person: Mapping[str, Any], organization_key: str) -> None:
    """Log in as a user of the installation."""
    challenge = base64.b85encode(os.urandom(32))
    sealed = EncryptionKey.from_cryptostring(CryptoString.from_text(organization_key)).seal(challenge)
    ask(
        connection,
        "LOGIN",
        {"Login-Type": "PLAIN", "Workspace-ID": person["workspace"], "Challenge": str(sealed)},
    )
    ask(connection, "PASSWORD", {"Password-Hash": PASSWORD})
    device = {"Device-ID": person["device"], "Device-Key": person["public"]}
    answer = ask(connection, "DEVICE", device)
    pair = EncryptionPair.from_cryptostrings(
        CryptoString.from_text(person["public"]), CryptoString.from_text(person["private"])
    )
    opened = pair.open(CryptoString.from_text(answer["Challenge"])).decode()
    ask(connection, "DEVICE", {**device, "Response": opened})


def download(connection: socket.socket, path: str, size: int, room: memoryview) -> None:
    """Download a file of a known size; each piece overwrites the one before in ``room``."""
    ask(connection, "DOWNLOAD", {"Path": path})
    connection.sendall(frame("DOWNLOAD", {"Path": path, "Size": str(size)}))
    receive(connection, size, room)


def fetch(connection: socket.socket, path: str) -> bytes:
    """Download a small file; give its content."""
    size = int(ask(connection, "DOWNLOAD", {"Path": path})["Size"])
    content = bytearray(size)
    connection.sendall(frame("DOWNLOAD", {"Path": path, "Size": str(size)}))
    done = 0
    while done < size:
        got = connection.recv_into(memoryview(content)[done:])
        if not got:
            raise WrongAnswer("closed in the middle of a file")
        done += got
    return bytes(content)


def receive(connection: socket.socket, size: int, room: memoryview) -> None:
    """Receive exactly ``size`` bytes; each piece overwrites the one before."""
    while size:
        got = connection.recv_into(room, min(size, len(room)))
        if not got:
            raise WrongAnswer("closed in the middle of a file")
        size -= got


def _no_check() -> ssl.SSLContext:
    """Make a context that accepts any certificate: the one of the server is self-signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
