"""A bare Twisted server with only framing and JSON: ``python -m bench.limits.bare DESCRIPTION``.

It answers every request with 200; for GETWID it runs the query of mensagod through adbapi. It is the limit
for IDLE, GETWID and the memory of connections.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg2.extras
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet import reactor as installed
from twisted.internet import ssl
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from bench.processes import tell
from mensagod.installation.certificates import make_self_signed

GREETING = b'{"Name":"Mensago","Version":"0.1","Code":200,"Status":"OK","Date":"2026-01-01T00:00:00Z"}\r\n'
STATEMENT = (
    "SELECT workspaces.id FROM names JOIN workspaces ON workspaces.id = names.workspace"
    " WHERE names.domain = %s AND names.user_id = %s AND names.kind <> 'former'"
    " AND workspaces.status NOT IN ('archived', 'preregistered')"
)


class Members(msgspec.Struct):
    """A request."""

    Action: str
    Data: dict[str, str] = {}


class Reply(msgspec.Struct):
    """A response."""

    Code: int
    Status: str
    Info: str
    Data: dict[str, str]


decode = msgspec.json.Decoder(Members).decode
encode = msgspec.json.Encoder().encode


class Bare(Protocol):
    """Reads requests and writes responses."""

    transport: ITCPTransport

    def __init__(self, pool: ConnectionPool):
        self.pool = pool
        self.buffer = b""

    def connectionMade(self) -> None:
        """Send the greeting."""
        self.transport.setTcpNoDelay(True)
        self.transport.write(GREETING)

    def dataReceived(self, data: bytes) -> None:
        """Answer each whole frame."""
        data = self.buffer + data
        while len(data) >= 3:
            end = 3 + (data[1] << 8 | data[2])
            if len(data) < end:
                break
            self.request(decode(data[3:end]))
            data = data[end:]
        self.buffer = data

    def request(self, members: Members) -> None:
        """Answer one request."""
        if members.Action == "GETWID":
            values = ("example.com", members.Data["User-ID"])
            self.pool.runQuery(STATEMENT, values).addCallback(self.found)
        else:
            self.answer({})

    def found(self, rows: list[Any]) -> None:
        """Answer with the workspace that the query found."""
        self.answer({"Workspace-ID": str(rows[0].id)})

    def answer(self, data: dict[str, str]) -> None:
        """Write a response."""
        message = encode(Reply(200, "OK", "", data))
        size = len(message)
        self.transport.write(b"%c%c%c%b" % (50, size >> 8, size & 0xFF, message))


reactor: Any = installed


def _main(description: dict[str, Any]) -> None:
    pool = ConnectionPool(
        "psycopg2",
        **description["database"],
        cp_min=2,
        cp_max=10,
        cp_reactor=reactor,
        cp_openfun=lambda connection: psycopg2.extras.register_uuid(conn_or_curs=connection),
        cursor_factory=psycopg2.extras.NamedTupleCursor,
    )
    factory = Factory.forProtocol(lambda: Bare(pool))
    factory.noisy = False
    made = make_self_signed(["localhost"], datetime.now(UTC))
    context = ssl.PrivateCertificate.loadPEM(made.certificate + made.key).options()
    tcp = reactor.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
    tls = reactor.listenSSL(0, factory, context, backlog=1024, interface="127.0.0.1")
    reactor.callWhenRunning(pool.start)
    reactor.callWhenRunning(tell, {"tcp": tcp.getHost().port, "tls": tls.getHost().port})
    deferToThread(sys.stdin.read).addCallback(lambda _: reactor.stop())
    reactor.run()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as told:
        _main(json.load(told))
