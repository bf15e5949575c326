"""One joint answer from data in two jurisdictions that no party hands over.

``Study`` is a question, ``simulate`` a whole federation on this machine, ``connect`` your party's running node::

    import xbcompute as xb

    study = xb.Study.load("study.toml")
    with xb.simulate("my-study") as federation:
        print(federation.explain(study))
        run = federation.run(study)
    run["cox"].summary
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xbcompute.client.connect import connect as connect
    from xbcompute.client.results import Decision as Decision
    from xbcompute.client.results import Result as Result
    from xbcompute.client.results import Run as Run
    from xbcompute.client.study import Study as Study
    from xbcompute.core.errors import XbError as XbError
    from xbcompute.simulate import Simulation as simulate  # noqa: N813

__version__ = "0.1.0"

_WHERE = {
    "connect": ("xbcompute.client.connect", "connect"),
    "Decision": ("xbcompute.client.results", "Decision"),
    "Result": ("xbcompute.client.results", "Result"),
    "Run": ("xbcompute.client.results", "Run"),
    "Study": ("xbcompute.client.study", "Study"),
    "XbError": ("xbcompute.core.errors", "XbError"),
    "simulate": ("xbcompute.simulate", "Simulation"),
}
__all__ = ["Decision", "Result", "Run", "Study", "XbError", "connect", "simulate"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used, so that the command line and nodes start fast."""
    if name in _WHERE:
        module, attribute = _WHERE[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module 'xbcompute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
