"""The server's TLS certificate, which can be read again while connections last (spec 01, *Transport*)."""

from pathlib import Path

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, Error, load_privatekey
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

_END = b"-----END CERTIFICATE-----"


class CertificateFault(Exception):
    """One sentence about a certificate or its key that cannot be used, and what to do."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """Makes the TLS side of each new connection from the files as they were read last.

    :raises CertificateFault: if they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path):
        self._context = _read(certificate, key)

    def read_again(self, certificate: Path, key: Path) -> None:
        """Use these files as they are now, for new connections.

        :raises CertificateFault: if they cannot be used; then what was read before stays in use.
        """
        self._context = _read(certificate, key)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the TLS side of a connection."""
        return SSL.Connection(self._context, None)


def _read(certificate: Path, key: Path) -> SSL.Context:
    chain = _split(_content(certificate))
    private = _content(key)
    try:
        first, *others = [Certificate.loadPEM(pem).original for pem in chain]
        options = CertificateOptions(
            privateKey=load_privatekey(FILETYPE_PEM, private, _no_passphrase),
            certificate=first,
            extraCertChain=others,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        context = options.getContext()
        context.check_privatekey()
    except (SSL.Error, Error, ValueError, TypeError) as error:
        raise CertificateFault(
            f"{certificate} and {key} are not a certificate in PEM and its private key: put the right files"
            " there"
        ) from error
    return context


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateFault(
            f"{path} cannot be read ({error.strerror}): put the file there, or set"
            " network.tls_certificate and network.tls_key"
        ) from error


def _split(chain: bytes) -> list[bytes]:
    """Cut a file of certificates into one piece each; the last remainder is none."""
    return [part + _END for part in chain.split(_END)[:-1]]


def _no_passphrase(writing: bool) -> bytes:
    """Refuse an encrypted key, instead of asking on the terminal."""
    raise ValueError("the private key is encrypted")
