"""A plant's own certificates: its authority, servers, cameras, people; renewal and revocation. Offline, files in a folder.

    plant/
        ca.pem  ca.key     the authority; keep the key off the line's machines
        revoked.pem        certificates that count no more (X.509 CRL), copied to the service
        NAME.pem NAME.key  what was issued
        audit.jsonl        who was issued what, in a chain of hashes

Keys are ECDSA on P-256, which every TLS stack speaks (RFC 8446 requires it); certificates are X.509 v3 as in RFC 5280.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspector.access.identity import Role, camera_uri, role_uri
from inspector.errors import AccessError

CA_CERTIFICATE, CA_KEY, REVOKED = "ca.pem", "ca.key", "revoked.pem"
CA_DAYS, LEAF_DAYS, CRL_DAYS = 3650, 730, 3650
MAX_DAYS = 3650
# A machine whose clock is a little behind must take a certificate that was issued a moment ago.
_CLOCK_SKEW = timedelta(minutes=5)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_MAX_FILE_BYTES = 1 << 20

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, written to `certificate` and `key`; `serial` and `expires` are in the certificate."""

    certificate: Path
    key: Path
    serial: int
    expires: datetime


def init_authority(folder: Path, plant: str, passphrase: str = "", *, now: datetime | None = None) -> Issued:
    """Make a plant's authority in `folder`. Raises AccessError if there is one already or it cannot be written."""
    now = now or datetime.now(UTC)
    if not plant.strip() or len(plant) > 64 or not plant.isprintable():
        raise AccessError(f"a plant cannot be named {plant!r:.80}: give up to 64 printable characters")
    if is_there(folder / CA_CERTIFICATE) or is_there(folder / CA_KEY):
        raise AccessError(
            f"{folder} holds an authority already, and another would make its certificates worthless: choose another folder"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(f"{plant} inspector CA")
    builder = (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
    )
    certificate = builder.sign(key, hashes.SHA256())
    make_folder(folder, 0o700)
    _write_key(folder / CA_KEY, key, passphrase)
    write_file(folder / CA_CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM))
    _write_revoked(folder, [], certificate, key, now)
    return Issued(folder / CA_CERTIFICATE, folder / CA_KEY, certificate.serial_number, certificate.not_valid_after_utc)


class Authority:
    """A plant's authority at work: issues, renews, revokes."""

    def __init__(self, folder: Path, passphrase: str = "") -> None:
        """Open the authority in `folder`. Raises AccessError."""
        self.folder = folder
        self._certificate = read_certificate(folder / CA_CERTIFICATE)
        self._key = _read_key(folder / CA_KEY, passphrase)
        if self._key.public_key() != self._certificate.public_key():
            raise AccessError(
                f"{folder / CA_KEY} is not the key of {folder / CA_CERTIFICATE}: restore both from one copy"
            )

    def issue_server(
        self, name: str, hosts: Sequence[str], days: int = LEAF_DAYS, *, now: datetime | None = None
    ) -> Issued:
        """For a service that clients reach under `hosts`, names or addresses. Raises AccessError."""
        if not hosts:
            raise AccessError(
                "a server's certificate needs the names or addresses that clients connect to: give --host"
            )
        names: list[x509.GeneralName] = [host_name(host) for host in hosts]
        return self._issue(name, names, ExtendedKeyUsageOID.SERVER_AUTH, days, now)

    def issue_camera(
        self, name: str, line: str, cameras: Sequence[str], days: int = LEAF_DAYS, *, now: datetime | None = None
    ) -> Issued:
        """For a camera program that may stream as `cameras` of `line`, and as no other. Raises AccessError."""
        if not cameras:
            raise AccessError("a camera's certificate needs the cameras that it may stream as: give --camera")
        try:
            uris = [camera_uri(line, camera) for camera in cameras]
        except ValueError as error:
            raise AccessError(str(error)) from error
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self._issue(name, names, ExtendedKeyUsageOID.CLIENT_AUTH, days, now)

    def issue_user(self, name: str, role: Role, days: int = LEAF_DAYS, *, now: datetime | None = None) -> Issued:
        """For a person or program with a role. Raises AccessError."""
        if role is Role.NONE:
            raise AccessError("a user without a role may do nothing: give --role")
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(role_uri(role))]
        return self._issue(name, names, ExtendedKeyUsageOID.CLIENT_AUTH, days, now)

    def renew(self, certificate: Path, days: int = LEAF_DAYS, *, now: datetime | None = None) -> Issued:
        """The same certificate with a new key, serial and time, in place of the old files. Raises AccessError.

        The old certificate is kept as NAME.DIGITS.pem, the first of its serial: it counts until it ends, unless that file is
        given to `revoke`.
        """
        old = read_certificate(certificate)
        self._check_own(old, certificate)
        if self.is_revoked(old.serial_number):
            raise AccessError(f"{certificate} was revoked and is not renewed: issue another one if that was a mistake")
        usage, names = _says(old, certificate)
        # Whoever has the old key can use the old certificate until it ends: it must still be there to be revoked.
        write_file(
            certificate.with_name(f"{certificate.stem}.{old.serial_number:040x}"[: len(certificate.stem) + 9] + ".pem"),
            read_bounded(certificate),
        )
        return self._write_leaf(certificate, old.subject, list(names), next(iter(usage)), days, now)

    def revoke(self, certificate: Path, *, now: datetime | None = None) -> Path:
        """Put a certificate on the list of those that count no more; returns the list's path. Raises AccessError."""
        old = read_certificate(certificate)
        self._check_own(old, certificate)
        if self.is_revoked(old.serial_number):
            raise AccessError(f"{certificate} is revoked already")
        now = now or datetime.now(UTC)
        before = list(_read_revoked(self.folder / REVOKED, self._certificate))
        entry = x509.RevokedCertificateBuilder().serial_number(old.serial_number).revocation_date(now).build()
        _write_revoked(self.folder, [*before, entry], self._certificate, self._key, now)
        return self.folder / REVOKED

    def is_revoked(self, serial: int) -> bool:
        """Whether a certificate counts no more. Raises AccessError if the list cannot be believed."""
        return serial in {entry.serial_number for entry in _read_revoked(self.folder / REVOKED, self._certificate)}

    def _check_own(self, certificate: x509.Certificate, path: Path) -> None:
        try:
            certificate.verify_directly_issued_by(self._certificate)
        except (InvalidSignature, ValueError, TypeError) as error:
            raise AccessError(
                f"{path} was not issued by the authority in {self.folder}: use the one that did"
            ) from error

    def _issue(
        self, name: str, names: list[x509.GeneralName], usage: x509.ObjectIdentifier, days: int, now: datetime | None
    ) -> Issued:
        if not _NAME.fullmatch(name):
            raise AccessError(f"a certificate cannot be named {name!r:.80}: use letters, digits, '_', '.' or '-'")
        path = self.folder / f"{name}.pem"
        if is_there(path) or name in (Path(CA_CERTIFICATE).stem, Path(REVOKED).stem):
            raise AccessError(f"{path} exists already: choose another name, or renew it with `inspector certs renew`")
        return self._write_leaf(path, _subject(name), names, usage, days, now)

    def _write_leaf(
        self,
        path: Path,
        subject: x509.Name,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        days: int,
        now: datetime | None,
    ) -> Issued:
        if not 1 <= days <= MAX_DAYS:
            raise AccessError(f"got {days} days, expected 1 to {MAX_DAYS}")
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, self._certificate.subject, key, now or datetime.now(UTC), days)
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        if certificate.not_valid_after_utc > self._certificate.not_valid_after_utc:
            end = f"{self._certificate.not_valid_after_utc:%Y-%m-%d}"
            raise AccessError(f"the authority itself ends on {end}: give fewer days, or make a new authority")
        key_path = path.with_suffix(".key")
        _write_key(key_path, key, "")
        write_file(path, certificate.public_bytes(serialization.Encoding.PEM))
        return Issued(path, key_path, certificate.serial_number, certificate.not_valid_after_utc)


def read_certificate(path: Path) -> x509.Certificate:
    """A certificate in PEM. Raises AccessError."""
    try:
        return x509.load_pem_x509_certificate(read_bounded(path))
    except ValueError as error:
        raise AccessError(
            f"{path} holds no certificate in PEM ({error}): give the file that `inspector certs` wrote"
        ) from error


def revoked_serials(path: Path, authority: Path) -> frozenset[int]:
    """Serials of a revocation list that the authority signed. Raises AccessError."""
    return frozenset(entry.serial_number for entry in _read_revoked(path, read_certificate(authority)))


def names_of(path: Path) -> list[str]:
    """What the certificate in a file is for: hosts, or URIs that say what its holder may do. Raises AccessError."""
    return [str(name.value) for name in _says(read_certificate(path), path)[1]]


def _says(certificate: x509.Certificate, path: Path) -> tuple[x509.ExtendedKeyUsage, x509.SubjectAlternativeName]:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        return usage, certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as error:
        raise AccessError(
            f"{path} is no certificate of a server, camera or user ({error}): give one of those"
        ) from error


def check_pair(certificate: bytes, key: bytes, source: Path) -> x509.Certificate:
    """Raise AccessError unless certificate and key, in PEM, belong together: half of a renewal must not go live."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AccessError(f"{source} and its key cannot be read ({error}): issue them again") from error
    if private.public_key() != loaded.public_key():
        raise AccessError(f"{source} does not belong to its key: copy both files of one renewal")
    return loaded


def read_bounded(path: Path) -> bytes:
    """Content of a small file. Raises AccessError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AccessError(f"{path} cannot be read: {error.strerror or error}; check path and permissions") from error
    except ValueError as error:  # a path with NUL
        raise AccessError(f"{str(path)!r} cannot be a path: {error}") from error
    if len(data) > _MAX_FILE_BYTES:
        raise AccessError(f"{path} is larger than {_MAX_FILE_BYTES >> 20} MiB: is it the right file?")
    return data


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def host_name(host: str) -> x509.GeneralName:
    """A host as it stands in a certificate. Raises AccessError."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        host.encode("ascii")
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", host):
            raise ValueError("not a host name")
        return x509.DNSName(host)
    except ValueError as error:
        raise AccessError(
            f"{host!r:.100} is no host name or address ({error}): give what clients connect to"
        ) from error


def _read_key(path: Path, passphrase: str) -> Key:
    try:
        key = serialization.load_pem_private_key(read_bounded(path), passphrase.encode() if passphrase else None)
    except TypeError as error:  # a passphrase is missing, or there is one for a plain key
        step = "give it a passphrase" if not passphrase else "it has no passphrase: give none"
        raise AccessError(f"{path} cannot be opened: {step}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise AccessError(f"{path} cannot be opened: wrong passphrase, or no key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AccessError(f"{path} holds no ECDSA key: use the authority that `inspector certs init` made")
    return key


def _read_revoked(path: Path, authority: x509.Certificate) -> x509.CertificateRevocationList:
    try:
        revoked = x509.load_pem_x509_crl(read_bounded(path))
        public = authority.public_key()
        trusted = isinstance(public, ec.EllipticCurvePublicKey) and revoked.is_signature_valid(public)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AccessError(f"{path} holds no revocation list in PEM ({error}): copy it from the authority") from error
    if not trusted:
        raise AccessError(f"{path} was not signed by this authority: copy it from the authority")
    return revoked


def _write_revoked(
    folder: Path, entries: Sequence[x509.RevokedCertificate], authority: x509.Certificate, key: Key, now: datetime
) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(now - _CLOCK_SKEW).next_update(now + timedelta(days=CRL_DAYS))
    for entry in entries:
        builder = builder.add_revoked_certificate(entry)
    revoked = builder.sign(key, hashes.SHA256())
    write_file(folder / REVOKED, revoked.public_bytes(serialization.Encoding.PEM))


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder. Raises AccessError if that cannot be looked at."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise AccessError(
            f"{path} cannot be looked at: {error.strerror or error}; choose another path, or check permissions"
        ) from error
    return True


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """The folder is there, with this mode less the umask if it is new: others may at most look. Raises AccessError."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise AccessError(
            f"{folder} cannot be made: {error.strerror or error}; choose another folder, or check permissions and space"
        ) from error


def _write_key(path: Path, key: Key, passphrase: str) -> None:
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    write_file(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection),
        mode=0o600,
    )


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """The file appears whole, in place of an older one. Raises AccessError."""
    try:
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(descriptor, "wb") as stream:
                os.fchmod(stream.fileno(), mode)
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise AccessError(
            f"{path} cannot be written: {error.strerror or error}; check permissions and space"
        ) from error
