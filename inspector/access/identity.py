"""Who a client is: what its certificate says it may do.

A certificate names cameras and a role in URIs of its subject alternative name:

    urn:inspector:camera:LINE:CAMERA     may stream as this camera, and as no other
    urn:inspector:role:viewer            may read inspections and pictures

A certificate without such a URI, such as that of a server, may do nothing.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from inspector.errors import AccessDenied

PREFIX = "urn:inspector:"
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
_CAMERA = re.compile(rf"{PREFIX}camera:({_NAME}):({_NAME})")
_ROLE = re.compile(rf"{PREFIX}role:([a-z]+)")


class Role(enum.IntEnum):
    """What a person or a program may do; each may also do what stands before it."""

    NONE = 0
    VIEWER = 1
    """Reads inspections and pictures."""
    OPERATOR = 2
    """Runs the line: starts, stops, acknowledges; judges and labels parts."""
    ENGINEER = 3
    """Trains, changes recipes."""
    APPROVER = 4
    """Lets a bundle go live."""
    ADMIN = 5
    """Manages users."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A client that was recognised: its name, the cameras it may stream as, (line, camera), and its role.

    `serial` is that of its certificate, 0 without one, and `expires` when that ends.
    """

    name: str
    cameras: frozenset[tuple[str, str]] = frozenset()
    role: Role = Role.NONE
    serial: int = 0
    expires: datetime | None = None

    def __str__(self) -> str:
        return f'"{self.name}"'


def camera_uri(line: str, camera: str) -> str:
    """The URI that lets a certificate stream as a camera. Raises ValueError if a name cannot stand in it."""
    uri = f"{PREFIX}camera:{line}:{camera}"
    if not _CAMERA.fullmatch(uri):
        raise ValueError(
            f"line {line!r} or camera {camera!r} is no name: use letters, digits, '_', '.' or '-', as in the line file"
        )
    return uri


def role_uri(role: Role) -> str:
    """The URI that gives a certificate a role."""
    return f"{PREFIX}role:{role.name.lower()}"


def identity_of_uris(name: str, uris: Iterable[str], serial: int = 0) -> Identity:
    """What a certificate with these URIs may do. Raises AccessDenied if one of ours is not understood: then nothing."""
    cameras: set[tuple[str, str]] = set()
    role = Role.NONE
    for uri in uris:
        if not uri.startswith(PREFIX):
            continue
        if camera := _CAMERA.fullmatch(uri):
            cameras.add((camera[1], camera[2]))
        elif (named := _ROLE.fullmatch(uri)) and named[1].upper() in Role.__members__:
            role = max(role, Role[named[1].upper()])
        else:
            raise AccessDenied(
                f"certificate {serial:x} names {uri!r:.100}, which this version does not know: issue it again with "
                "`inspector certs`"
            )
    return Identity(name, frozenset(cameras), role, serial)


def identity_of_certificate(pem: bytes) -> Identity:
    """Read a certificate that the TLS handshake has verified. Raises AccessDenied if it is none for clients."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise AccessDenied(
            f"the certificate is none of `inspector certs` ({error}): issue one for this client"
        ) from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise AccessDenied("the certificate is not for clients: issue one with `inspector certs camera` or `user`")
    name = str(subject[0].value) if subject else "without a name"
    who = identity_of_uris(name, uris, certificate.serial_number)
    return replace(who, expires=certificate.not_valid_after_utc)
