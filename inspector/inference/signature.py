"""Signatures of bundles: who vouches for one, and which keys a line trusts. Ed25519 (RFC 8032).

A signature lies beside the manifest as `signature.json`. It covers the manifest's digest, and with it every file of the
bundle, and the signer's name and time. Another limit is another bundle, and wants a signature of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inspector.errors import BundleError, BundleUntrusted, ConfigError
from inspector.inference.bundle import Bundle
from inspector.inference.manifest import SIGNATURE_FILE

MAX_SIGNATURE_BYTES = 64 << 10
MAX_SIGNATURES = 16
_MAX_KEY_BYTES = 16 << 10
_DOMAIN = b"inspector bundle signature 1\n"
_SIGNER = re.compile(r"[^\x00-\x1f\x7f]{1,128}")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature. `key` is the fingerprint of the public key, `value` base64 of 64 bytes, `time` ISO 8601 UTC."""

    key: str
    signer: str
    time: str
    value: str


def fingerprint(key: Ed25519PublicKey) -> str:
    """First 32 hex digits of SHA-256 over the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def make_key_pair(path: Path, passphrase: str = "") -> tuple[Path, Path, str]:
    """Write a private key to `path` and its public one beside it as NAME.pub; returns both and the fingerprint.

    Raises ConfigError if one is there already or they cannot be written.
    """
    public_path = path.with_name(path.name + ".pub")
    key = Ed25519PrivateKey.generate()
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        protection = serialization.BestAvailableEncryption(passphrase.encode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, data, mode in ((path, private, 0o600), (public_path, public, 0o644)):
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
                stream.write(data)
    except FileExistsError as error:
        raise ConfigError(
            f"{error.filename} exists already and keys are never overwritten: choose another name"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}; check the path") from error
    return path, public_path, fingerprint(key.public_key())


def sign_bundle(bundle: Bundle, key_file: Path, signer: str, passphrase: str = "") -> Signature:
    """Add a signature to a bundle that was opened. Raises ConfigError for a bad key or name, BundleError."""
    if not _SIGNER.fullmatch(signer):
        raise ConfigError(f"a signer cannot be named {signer!r:.80}: give up to 128 printable characters")
    key = _private_key(key_file, passphrase)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    made = Signature(fingerprint(key.public_key()), signer, time, "")
    value = base64.b64encode(key.sign(_message(bundle.digest, made))).decode()
    made = Signature(made.key, signer, time, value)
    kept = [signature for signature in signatures_of(bundle) if signature.key != made.key]
    if len(kept) >= MAX_SIGNATURES:
        raise BundleError(f"bundle {bundle.label} has {len(kept)} signatures, which is the most")
    text = json.dumps({"version": 1, "signatures": [asdict(one) for one in (*kept, made)]}, indent=1)
    target, draft = bundle.path / SIGNATURE_FILE, bundle.path.parent / f".{bundle.path.name}.signature"
    try:
        with draft.open("w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    except OSError as error:
        raise BundleError(f"{target} cannot be written: {error.strerror or error}; check permissions") from error
    return made


def signatures_of(bundle: Bundle) -> tuple[Signature, ...]:
    """The signatures of a bundle, none of them believed yet. Raises BundleUntrusted if the file is none of ours."""
    path = bundle.path / SIGNATURE_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise BundleUntrusted(f"{path} cannot be read: {error.strerror}; sign the bundle again") from error
    with open(descriptor, "rb") as stream:
        data = stream.read(MAX_SIGNATURE_BYTES + 1)
    try:
        if len(data) > MAX_SIGNATURE_BYTES:
            raise ValueError(f"it is larger than {MAX_SIGNATURE_BYTES} bytes")
        document = json.loads(data)
        if set(document) != {"version", "signatures"} or document["version"] != 1:
            raise ValueError("it is of another version")
        found = tuple(Signature(**entry) for entry in document["signatures"])
        if len(found) > MAX_SIGNATURES or not all(isinstance(v, str) for one in found for v in asdict(one).values()):
            raise ValueError("its entries are not texts, or too many")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BundleUntrusted(
            f"{path} is no list of signatures ({error}): remove it and sign the bundle again"
        ) from error
    return found


def check_trust(bundle: Bundle, keys: Sequence[Path]) -> Signature | None:
    """The signature by one of the trusted public `keys`; None without keys, when every bundle is trusted.

    Raises BundleUntrusted if no trusted key has signed exactly this content, ConfigError if a key file is none.
    """
    if not keys:
        return None
    trusted = {fingerprint(key): key for key in map(read_public_key, keys)}
    signatures = signatures_of(bundle)
    for signature in signatures:
        key = trusted.get(signature.key)
        if key is not None and _holds(key, bundle.digest, signature):
            return signature
    names = ", ".join(str(path) for path in keys)
    if not signatures:
        fact = "is not signed"
    elif any(signature.key in trusted for signature in signatures):
        fact = "has a signature that is not of this content: it was changed after it was signed"
    else:
        fact = f"is signed by {', '.join(repr(one.signer)[:80] for one in signatures)}, whose keys this line does not trust"
    raise BundleUntrusted(
        f"bundle {bundle.label} {fact}; the line trusts {names}: look at the bundle and sign it with `inspector bundle sign`"
    )


def read_public_key(path: Path) -> Ed25519PublicKey:
    """A public key in PEM. Raises ConfigError."""
    try:
        key = serialization.load_pem_public_key(_read_key(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} holds no public key in PEM: give the .pub file of `inspector bundle key`") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds no Ed25519 key: give the .pub file of `inspector bundle key`")
    return key


def _private_key(path: Path, passphrase: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(_read_key(path), passphrase.encode() if passphrase else None)
    except TypeError as error:
        step = "it has no passphrase: give none" if passphrase else "give its passphrase"
        raise ConfigError(f"the key {path} cannot be opened: {step}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the key {path} cannot be opened: wrong passphrase, or no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} holds no Ed25519 key: make one with `inspector bundle key`")
    return key


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror or error}; check the path") from error


def _message(digest: str, signature: Signature) -> bytes:
    """What is signed: the digest of the content, and who says so when, so that neither can be exchanged."""
    said = json.dumps([digest, signature.key, signature.signer, signature.time], ensure_ascii=True)
    return _DOMAIN + said.encode()


def _holds(key: Ed25519PublicKey, digest: str, signature: Signature) -> bool:
    try:
        key.verify(base64.b64decode(signature.value, validate=True), _message(digest, signature))
    except (InvalidSignature, ValueError):
        return False
    return True
