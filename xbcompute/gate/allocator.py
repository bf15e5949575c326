"""Keeps freed megabytes in the process, so that each frame does not touch fresh memory.

glibc gives blocks of a frame's size back to the system as soon as they are free and fetches them again for the next
frame; zeroing those pages costs more than encrypting what is put in them.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEEP = 128 << 20
_BLOCK = 32 << 20


def keep_freed_memory() -> bool:
    """Let the allocator keep up to 128 MiB for reuse; False where the C library has no such setting."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _KEEP)) and bool(mallopt(_M_MMAP_THRESHOLD, _BLOCK))
