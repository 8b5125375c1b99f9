"""TLS connections to a server with a certificate of a CA or a pinned certificate (spec 01, *Transport*)."""

from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

CONNECT_TIMEOUT = 10.0
_RECENT = {"raiseMinimumTo": TLSVersion.TLSv1_2}


@implementer(IOpenSSLClientConnectionCreator)
class PinnedCertificate:
    """Trusts exactly one certificate, whatever its issuer, names and dates."""

    def __init__(self, certificate: Certificate):
        self._expected: bytes = certificate.dump()
        self._context = CertificateOptions(**_RECENT).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        """Make the TLS connection of a protocol."""
        connection = Connection(self._context, None)
        connection.set_verify(VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, self._is_trusted)
        return connection

    def _is_trusted(self, connection: Connection, shown: X509, error: int, depth: int, ok: int) -> bool:
        """Accept a certificate of the chain; only the server's own, at depth 0, is compared."""
        return depth > 0 or Certificate(shown).dump() == self._expected


def tls_endpoint(
    reactor: object, host: str, port: int, trust: Certificate | None = None, timeout: float = CONNECT_TIMEOUT
) -> IStreamClientEndpoint:
    """Give the endpoint of a server that speaks TLS from the first byte.

    :param trust: the certificate that the server must have; default: any that is valid for ``host`` under the
        system's CAs.
    :param timeout: the seconds that connecting may take.
    """
    options = (
        optionsForClientTLS(host, extraCertificateOptions=_RECENT)
        if trust is None
        else PinnedCertificate(trust)
    )
    return wrapClientTLS(options, HostnameEndpoint(reactor, host, port, timeout))
