"""TLS certificates: making a self-signed one, and the pins for DNS (spec 03, *DNS*)."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mensagod.config import Config
from mensagod.config.listeners import Listener
from mensagod.crypto.cryptostring import CryptoString
from mensagod.crypto.hashing import hash_bytes
from mensagod.installation.faults import InstallationFault
from mensagod.organization.dns_records import host_name

LIFETIME: Final = timedelta(days=825)
"""How long a self-signed certificate is valid; some clients refuse longer periods."""

_SLACK: Final = timedelta(hours=1)
_LONGEST_COMMON_NAME: Final = 64


@frozen
class SelfSigned:
    """A new certificate and its private key, both in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def make_self_signed(names: Iterable[str], now: datetime) -> SelfSigned:
    """Make a certificate for host names and IP addresses; the first short enough name is the common name."""
    alternatives = [_general_name(name) for name in dict.fromkeys(names)]
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _common_name(alternatives))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SelfSigned(certificate.public_bytes(Encoding.PEM), private)


def certificate_names(config: Config) -> list[str]:
    """List the names for the server's certificate: the domains, their hosts, and the listening addresses."""
    domains = config.global_.domains
    names = [name for domain in domains for name in (host_name(domain), str(domain))]
    for listener in config.network.endpoints:
        if listener.interface == "localhost":
            names.append("localhost")
        elif listener.interface and not ip_address(listener.interface).is_unspecified:
            names.append(str(ip_address(listener.interface)))
    return names


def public_key_hash(pem: bytes) -> CryptoString:
    """Compute the pin of a certificate: the hash of its public key (DER SubjectPublicKeyInfo).

    :raises ValueError: if ``pem`` is not a certificate in PEM.
    """
    public = x509.load_pem_x509_certificate(pem).public_key()
    return hash_bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def certificate_files(config: Config) -> list[Path]:
    """List the certificates of all TLS listeners, each once."""
    files = [_certificate_file(listener, config) for listener in config.network.endpoints if listener.is_tls]
    return list(dict.fromkeys(files))


def read_pins(config: Config) -> list[CryptoString]:
    """Compute the pin of every certificate of the server.

    :raises InstallationFault: if one cannot be read.
    """
    return [_read_pin(path) for path in certificate_files(config)]


def _read_pin(path: Path) -> CryptoString:
    try:
        return public_key_hash(path.read_bytes())
    except OSError as error:
        raise InstallationFault(
            f"The certificate {path} cannot be read ({error.strerror}): check its path, owner and mode"
        ) from error
    except ValueError:
        raise InstallationFault(f"{path} is not a certificate in PEM: replace the file") from None


def _certificate_file(listener: Listener, config: Config) -> Path:
    if listener.kind == "tls":
        return config.network.tls_certificate
    # As in Twisted: the file of the key also contains the certificate, unless certKey is given.
    name = listener.options.get("certKey") or listener.options.get("privateKey") or "server.pem"
    return Path(name)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _common_name(alternatives: list[x509.GeneralName]) -> str:
    names = [str(name.value) for name in alternatives if isinstance(name, x509.DNSName)]
    return next((name for name in names if len(name) <= _LONGEST_COMMON_NAME), "mensagod")
