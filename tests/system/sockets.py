"""Plain sockets of clients, used from threads, because some clients are no good ones."""

import select
import socket
import ssl
from contextlib import suppress

from mensagod.wire.frames import FrameDecoder
from mensagod.wire.messages import Response

SECONDS = 90
"""How long a call on a socket may take before the test fails."""

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Plug:
    """A blocking client.

    :param context: for a TLS client.
    :param source: the address to come from.
    :param buffer: how much the kernel keeps of what was not read, in bytes.
    :param first: what to send before all else, TLS included.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        source: str = "127.0.0.1",
        buffer: int | None = None,
        first: bytes = b"",
    ):
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(first)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self._decoder = FrameDecoder(30_000_000)

    def greeting(self) -> bytes:
        """Read the greeting by a single call, as old clients do."""
        line, end, rest = self.socket.recv(1024).partition(b"\r\n")
        self._decoder.receive(rest)
        return line + end

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_some(self, data: bytes) -> bytes:
        """Send until the server has taken nothing more for a second; give the rest."""
        self.socket.settimeout(0)
        while data and select.select([], [self.socket], [], 1)[1]:
            data = data[self._send_now(data) :]
        self.socket.settimeout(SECONDS)
        return data

    def exchange(self, data: bytes, answers: int) -> list[Response]:
        """Send ``data`` and read answers meanwhile: in one thread, as TLS of one socket is not for two."""
        found: list[Response] = []
        self.socket.settimeout(0)
        while len(found) < answers:
            if not any(select.select([self.socket], [self.socket] if data else [], [], SECONDS)):
                raise TimeoutError
            data = data[self._send_now(data) :]
            has_ended = self._read_now()
            while (message := self._decoder.next_message()) is not None:
                found.append(Response.from_bytes(message))
            if has_ended and len(found) < answers:
                raise EOFError
        self.socket.settimeout(SECONDS)
        return found

    def _send_now(self, data: bytes) -> int:
        try:
            return self.socket.send(data[:16384]) if data else 0
        except _NOT_NOW:
            return 0

    def _read_now(self) -> bool:
        """Read what has come; tell whether that was the end."""
        with suppress(*_NOT_NOW):
            while data := self.socket.recv(65536):
                self._decoder.receive(data)
            return True
        return False

    def answer(self) -> Response:
        """Read one answer."""
        while (message := self._decoder.next_message()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self._decoder.receive(data)
        return Response.from_bytes(message)

    def ask(self, data: bytes) -> Response:
        self.send(data)
        return self.answer()

    def ends(self) -> bool:
        """Whether the server closes the connection, in one way or another, before the time is up."""
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()
