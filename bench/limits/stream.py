"""A file sent by a loop over a plain socket: ``python -m bench.limits.stream FILE``, the limit for DOWNLOAD.

For each byte that comes in it sends the whole file.
"""

import socket
import sys
from threading import Thread

from bench.limits.bare import GREETING
from bench.processes import tell

PIECE = 128 * 1024


def serve(connection: socket.socket, path: str) -> None:
    """Send the file once for each byte received."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(GREETING)
    while connection.recv(1):
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                connection.sendall(piece)


def accept(listening: socket.socket, path: str) -> None:
    """Serve one connection after the other."""
    while True:
        connection, _ = listening.accept()
        with connection:
            serve(connection, path)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=accept, args=(listening, sys.argv[1]), daemon=True).start()
        tell({"tcp": listening.getsockname()[1]})
        sys.stdin.read()
