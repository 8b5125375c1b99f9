"""The server's TLS certificate, which can be reloaded without closing connections (spec 01, *Transport*)."""

from pathlib import Path

from OpenSSL import SSL
from OpenSSL.crypto import FILETYPE_PEM, Error, load_privatekey
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

_END = b"-----END CERTIFICATE-----"


class CertificateFault(Exception):
    """The certificate or its key cannot be used; the text says why, and what to do."""


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """Makes TLS connections with the certificate and key that were read last.

    :raises CertificateFault: if the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path):
        self._context = _read(certificate, key)

    def read_again(self, certificate: Path, key: Path) -> None:
        """Reload the certificate and key; new connections use them.

        :raises CertificateFault: if the files cannot be used; then the previous ones stay in use.
        """
        self._context = _read(certificate, key)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make the OpenSSL connection for a new client."""
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
    """Split a file of certificates; what follows the last certificate is dropped."""
    return [part + _END for part in chain.split(_END)[:-1]]


def _no_passphrase(writing: bool) -> bytes:
    """Refuse an encrypted key; otherwise OpenSSL would ask for the passphrase on the terminal."""
    raise ValueError("the private key is encrypted")
