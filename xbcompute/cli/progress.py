"""The live view of a running session on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from xbcompute.cli.render import make_console
from xbcompute.client.progress import ProgressView
from xbcompute.client.session import Progress


@contextmanager
def live_progress(*, quiet: bool) -> Iterator[Progress | None]:
    """A callable for a session's events, shown on standard error; None with ``quiet``."""
    if quiet:
        yield None
        return
    with ProgressView(make_console(stderr=True)) as view:
        yield view
