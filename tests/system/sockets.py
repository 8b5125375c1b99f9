"""Plain sockets of clients, used from threads, because some clients are no good ones."""

import socket
import ssl
from contextlib import suppress

from mensagod.wire.frames import FrameDecoder
from mensagod.wire.messages import Response

SECONDS = 20
"""How long a call on a socket may take before the test fails."""


class Plug:
    """A blocking client.

    :param context: for a TLS client.
    :param source: the address to come from.
    :param buffer: how much the kernel keeps of what was not read, in bytes.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        source: str = "127.0.0.1",
        buffer: int | None = None,
    ):
        self.socket = socket.socket()
        self.socket.settimeout(SECONDS)
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
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
