"""The site's secret for digests of people: made once, never exported, readable by its owner alone."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.secret import Secret

KEY_SIZE = 32
NAME = "site.key"


def site_key(folder: Path) -> Secret[bytes]:
    """The 32 bytes in ``folder``/site.key, made there if absent.

    Raises:
        IntegrityError: the file is not a key, or others than its owner may read it.
        InputError: it cannot be made or read.
    """
    path = folder / NAME
    try:
        if not path.exists():
            _make(path)
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = file.read(KEY_SIZE + 1)
    except OSError as error:
        raise InputError("store.key_file", f"{NAME} cannot be made or read: {error.strerror}.") from None
    if mode & 0o077:
        raise IntegrityError("store.key", f"{NAME} may be read by others.", todo=f"Run chmod 600 {NAME}.")
    if len(key) != KEY_SIZE:
        raise IntegrityError(
            "store.key",
            f"{NAME} does not hold 32 bytes.",
            todo="Restore it from your backup: a new one would forget whom this site has counted and opened.",
        )
    return Secret(key)


def _make(path: Path) -> None:
    """Written whole under another name and linked into place, so that of two makers one wins and both read it."""
    partial = path.with_name(f".{NAME}.{secrets.token_hex(8)}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_SIZE))
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(partial)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        partial.unlink(missing_ok=True)
