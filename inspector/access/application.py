"""The certificate of an OPC UA application: RSA and self-signed, because most of its clients trust certificates one by one.

OPC 10000-6, 6.2.2: the URI of the application and the hosts are in the subject alternative name; OPC 10000-7, policy
Basic256Sha256: RSA of 2048 to 4096 bits, signed with SHA-256. The plant's own authority signs with ECDSA, unknown to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspector.access.certificates import LEAF_DAYS, Issued, host_name, is_there, make_folder, read_bounded, write_file
from inspector.errors import AccessError

KEY_BITS = 2048
MIN_KEY_BITS, MAX_KEY_BITS = 2048, 4096
_CLOCK_SKEW = timedelta(minutes=5)


def application_uri(line: str) -> str:
    """The URI by which OPC UA names the server of a line."""
    return f"urn:inspector:opcua:{line}"


def make_application(
    folder: Path, name: str, line: str, hosts: Sequence[str], days: int = LEAF_DAYS, *, now: datetime | None = None
) -> Issued:
    """Write NAME.pem, NAME.key and, for the clients' lists of trusted servers, NAME.der. Raises AccessError."""
    path = folder / f"{name}.pem"
    if is_there(path):
        raise AccessError(f"{path} exists already: clients trust it; choose another name, or remove it to begin anew")
    if not hosts:
        raise AccessError("the certificate needs the names or addresses that clients connect to: give --host")
    now = now or datetime.now(UTC)
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Inspector {line}"[:64])])
    names = [x509.UniformResourceIdentifier(application_uri(line)), *(host_name(host) for host in hosts)]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    make_folder(folder)
    write_file(path.with_suffix(".key"), private, mode=0o600)
    write_file(path.with_suffix(".der"), certificate.public_bytes(serialization.Encoding.DER))
    write_file(path, certificate.public_bytes(serialization.Encoding.PEM))
    return Issued(path, path.with_suffix(".key"), certificate.serial_number, certificate.not_valid_after_utc)


def check_application(certificate: Path, key: Path, now: datetime) -> x509.Certificate:
    """The certificate, if an OPC UA server can show it for its key. Raises AccessError that says what is wrong."""
    try:
        loaded = x509.load_pem_x509_certificate(read_bounded(certificate))
        private = serialization.load_pem_private_key(read_bounded(key), None)
        uris = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise AccessError(
            f"{certificate} or {key} cannot be read ({error}): make both with `inspector opcua-certificate`"
        ) from error
    if not isinstance(private, rsa.RSAPrivateKey) or not MIN_KEY_BITS <= private.key_size <= MAX_KEY_BITS:
        raise AccessError(
            f"{key} is no RSA key of {MIN_KEY_BITS} to {MAX_KEY_BITS} bits, which Basic256Sha256 asks for"
        )
    if private.public_key() != loaded.public_key():
        raise AccessError(f"{certificate} does not belong to {key}: copy both from one place")
    if not uris.get_values_for_type(x509.UniformResourceIdentifier):
        raise AccessError(f"{certificate} names no application URI: make one with `inspector opcua-certificate`")
    if now >= loaded.not_valid_after_utc:
        raise AccessError(f"{certificate} ended on {loaded.not_valid_after_utc:%Y-%m-%d}: make a new one")
    return loaded


def uri_of(certificate: x509.Certificate) -> str:
    """The application URI that a certificate of `check_application` names."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return str(names.get_values_for_type(x509.UniformResourceIdentifier)[0])


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        # A self-signed certificate signs itself.
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
