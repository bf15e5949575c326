"""Processes that are not this one's children: waited for and ended through a descriptor that cannot name another."""

from __future__ import annotations

import os
import select
import signal


class ForeignProcess:
    """A running process by id (Linux). The descriptor stays with this very process, whatever becomes of the id."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._descriptor = None

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after waiting for it at most so long."""
        if self._descriptor is None:
            return True
        ended, _, _ = select.select([self._descriptor], [], [], seconds)
        return bool(ended)

    def kill(self) -> None:
        """End it without warning, and wait until it has."""
        if self._descriptor is not None:
            try:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            except ProcessLookupError:
                return
            self.wait(10.0)

    def end(self, patience: float) -> None:
        """Give it ``patience`` seconds to leave by itself, then kill it; the descriptor is closed."""
        if not self.wait(patience):
            self.kill()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
