"""Ed25519 keys and signatures as text, in the one form each that a file may hold."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xbcompute.core.errors import IntegrityError

Sign: TypeAlias = Callable[[bytes], bytes]
"""Bytes to their 64-byte Ed25519 signature; ``Ed25519PrivateKey.sign`` is one."""

PREFIX = "ed25519:"


def key_text(key: Ed25519PublicKey) -> str:
    """``ed25519:`` and the 32 raw bytes in base64, as ``federation.toml`` writes a ``signing_key``."""
    return PREFIX + base64.b64encode(key.public_bytes_raw()).decode("ascii")


def read_key(text: str) -> Ed25519PublicKey:
    """The public key in ``text``.

    Raises:
        IntegrityError: ``text`` is not exactly what :func:`key_text` writes.
    """
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        key = Ed25519PublicKey.from_public_bytes(raw)
    except (binascii.Error, ValueError):
        raise IntegrityError("ledger.key", "a public key is not ed25519:<base64 of 32 bytes>.") from None
    if key_text(key) != text:
        raise IntegrityError("ledger.key", "a public key is not ed25519:<base64 of 32 bytes>.")
    return key


def check_signature(key: str, signature: bytes, message: bytes, *, what: str, party: str) -> None:
    """Refuse ``signature`` unless ``key`` made it over ``message``.

    Raises:
        IntegrityError: naming ``what`` was signed and the ``party``.
    """
    try:
        read_key(key).verify(signature, message)
    except InvalidSignature:
        raise IntegrityError("ledger.signature", f"{what}: the signature is not by the key of {party}.") from None
