"""Masks: AES-256-CTR key streams read as little-endian 64-bit words (spec, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.engines.masked_sum.context import RoundContext

Words = NDArray[np.uint64]

BLOCK: Final = 1 << 16
"""Words made at a time: 512 KiB a stream, so that masks are added while they are still in cache."""

_WORD: Final = np.dtype("<u8")
_ZEROS: Final = bytes(BLOCK * 8)
_CIPHER_SLACK: Final = 15  # update_into asks for a block less one byte more than it fills


class KeyStream:
    """The words of one key, in order. A key must serve one stream only: the counter starts at zero."""

    def __init__(self, key: Secret[bytes], buffer: NDArray[np.uint8]) -> None:
        self._next = Cipher(AES(key.expose()), CTR(bytes(16))).encryptor()
        self._buffer = buffer

    def words(self, count: int) -> Words:
        """The next ``count`` ≤ ``BLOCK`` words; overwritten by the next call of any stream on the same buffer."""
        self._next.update_into(memoryview(_ZEROS)[: count * 8], self._buffer.data)
        return self._buffer[: count * 8].view(_WORD)


def key_streams(keys: Sequence[Secret[bytes]]) -> Callable[[int, int], Words]:
    """``words(i, count)``: the next words of the i-th key; all streams share one buffer."""
    buffer = np.empty(BLOCK * 8 + _CIPHER_SLACK, dtype=np.uint8)
    streams = [KeyStream(key, buffer) for key in keys]
    return lambda index, count: streams[index].words(count)


def self_key(seed: Secret[bytes], context: RoundContext, party: PartyId) -> Secret[bytes]:
    """The mask key of a participant's own 32-byte seed."""
    info = context.bind("self-mask", party=party)
    return Secret(HKDF(SHA256(), length=32, salt=None, info=info).derive(seed.expose()))


def commitment(seed: Secret[bytes], context: RoundContext, party: PartyId) -> bytes:
    """SHA-256 that binds a participant to its seed and, the seed being 256 random bits, hides it."""
    prefix = context.bind("seed-commitment", party=party)
    return sha256(len(prefix).to_bytes(4, "big") + prefix + seed.expose()).digest()
