"""Creates self-signed certificates."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PLAIN = serialization.NoEncryption()


class Pem(NamedTuple):
    """A certificate and its private key, as PEM."""

    certificate: str
    key: str

    def write(self, folder: Path) -> dict[str, str]:
        """Write the certificate and the key to a folder. Return the settings with the paths of both files."""
        (folder / "certificate.pem").write_text(self.certificate, encoding="ascii")
        (folder / "key.pem").write_text(self.key, encoding="ascii")
        return {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}


def make(name: str, encryption: serialization.KeySerializationEncryption = PLAIN) -> Pem:
    """Create a certificate with this common name, valid for a day."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateBuilder(
        named, named, key.public_key(), x509.random_serial_number(), now - timedelta(hours=1), now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return Pem(made.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def believing_anybody() -> ssl.SSLContext:
    """Return the TLS context of a client that does not verify certificates."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def name_of(der: bytes) -> str:
    """Return the common name of a certificate."""
    attributes = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attributes[0].value)
