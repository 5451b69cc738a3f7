"""One signer interface for bundles, certificates, audit checkpoints and rollouts, over securesystemslib.

Signing state is explicit: `unsigned`; `development`, a local ed25519 key made on first use, which shows that
the bundle is as this workstation wrote it; `release`, a threshold of keys the reader was given beforehand.
Signatures lie beside the manifest, over its exact bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from securesystemslib.exceptions import Error as SecureSystemsError
from securesystemslib.signer import Key, Signature, Signer

from edgewise.bundle.atomic import write_file
from edgewise.bundle.canonical import canonical_json
from edgewise.errors import InputError, TrustError, missing_extra

__all__ = ["SigningState", "Trusted", "development_signer", "sign", "verify"]

SigningState = Literal["unsigned", "development", "release"]


class SignatureFile(msgspec.Struct, frozen=True):
    """`signatures.json`: who signed, with which public keys, in which state."""

    state: Literal["development", "release"]
    keys: dict[str, dict[str, Any]]
    signatures: tuple[dict[str, str], ...]


class Trusted(msgspec.Struct, frozen=True):
    """Release keys a reader was given beforehand, and how many of them must have signed: at least one."""

    keys: Mapping[str, Key]
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise ValueError(f"a threshold of {self.threshold} cannot be met by {len(self.keys)} keys")


def sign(payload: bytes, signers: list[Signer], *, state: Literal["development", "release"]) -> bytes:
    """Return the bytes of a signature file over `payload`."""
    signatures = tuple({"keyid": s.public_key.keyid, "sig": s.sign(payload).signature} for s in signers)
    keys = {s.public_key.keyid: s.public_key.to_dict() for s in signers}
    return canonical_json(SignatureFile(state=state, keys=keys, signatures=signatures))


def verify(payload: bytes, signature_file: bytes | None, trusted: Trusted | None = None) -> SigningState:
    """Check the signatures over `payload` and return the state they justify.

    `development` shows integrity only: the key travels with the bundle. `release` needs `trusted` keys.
    Raises TrustError on any signature that does not verify, and when the threshold is not reached.
    """
    if signature_file is None:
        if trusted:
            raise TrustError("the bundle is unsigned, and release keys were asked for: refuse it or sign it")
        return "unsigned"
    document = _parse(signature_file)
    keys = {keyid: _key(keyid, value) for keyid, value in document.keys.items()}
    valid = {_verified(payload, entry, keys) for entry in document.signatures}
    if not valid:
        raise TrustError("signatures.json holds no signature: remove the file or sign the bundle")
    if trusted is None:
        return "development"
    _check_threshold(payload, document, trusted)
    return "release"


def development_signer(folder: Path | None = None) -> Signer | None:
    """Return the signer of this workstation's development key, made on first use.

    The key lies in `folder` (default: `$EDGEWISE_HOME` or `~/.config/edgewise`), readable by its owner alone.
    Returns None where it cannot be kept, so that a build on a read-only home stays `unsigned` and says so.
    Raises TrustError when a key is there and cannot be used: it is the user's to move away.
    """
    try:
        from securesystemslib.signer import CryptoSigner
    except ImportError as error:
        raise missing_extra("cryptography", "lab") from error
    try:
        home = folder or Path(os.environ.get("EDGEWISE_HOME") or Path.home() / ".config" / "edgewise")
        path = home / "development.pem"
        if not path.exists():
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_file(path, CryptoSigner.generate_ed25519().private_bytes, private=True)
        return _load_development(path)
    except (OSError, InputError, RuntimeError):  # RuntimeError: the user has no home at all
        return None


def _load_development(path: Path) -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except ValueError as error:
        message = f"{path} is not a private key: move it away, and the next build makes a new one"
        raise TrustError(message) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise TrustError(f"{path} is not an ed25519 key: move it away, and the next build makes a new one")
    return CryptoSigner(private)


def _parse(data: bytes) -> SignatureFile:
    try:
        return msgspec.json.decode(data, type=SignatureFile)
    except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
        raise TrustError(f"signatures.json cannot be read: {error}") from error


def _key(keyid: str, value: dict[str, Any]) -> Key:
    try:
        return Key.from_dict(keyid, dict(value))
    except (KeyError, ValueError, TypeError) as error:
        raise TrustError(f"signatures.json: key {keyid[:12]} cannot be read: {error}") from error


def _verified(payload: bytes, entry: dict[str, str], keys: Mapping[str, Key]) -> str:
    keyid = entry.get("keyid", "")
    if keyid not in keys:
        raise TrustError(f"signatures.json: no public key for signature {keyid[:12] or '(none)'}")
    try:
        keys[keyid].verify_signature(Signature(keyid, entry.get("sig", "")), payload)
    except SecureSystemsError as error:
        message = (
            f"the signature by {keyid[:12]} does not fit manifest.json: one of them was changed after signing"
        )
        raise TrustError(message) from error
    return keyid


def _check_threshold(payload: bytes, document: SignatureFile, trusted: Trusted) -> None:
    """Count distinct trusted keys, using the reader's copy of each key, never the bundle's."""
    good = {
        _verified(payload, entry, trusted.keys)
        for entry in document.signatures
        if entry.get("keyid", "") in trusted.keys
    }
    if len(good) < trusted.threshold:
        raise TrustError(f"signed by {len(good)} of the {trusted.threshold} release keys required")
