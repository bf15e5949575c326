"""A whole federation on one machine, with throwaway keys: ``xb.simulate(folder)``.

The public name ``xbcompute.simulate`` is both this package and what scripts call, since Python binds a subpackage to
its name in the parent once it is imported; so the package itself can be called.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from xbcompute.simulate.federation import Simulation

__all__ = ["Simulation"]


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Simulation:
        """Start a federation; see :class:`Simulation`."""
        return Simulation(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
