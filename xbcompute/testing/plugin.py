"""A pytest plugin: ``federation`` runs a study folder over several sites inside a test, without network.

::

    def test_our_study(federation):
        run = federation("studies/hormone").run()
        assert run["cox"].coef["age"] == pytest.approx(0.01, abs=0.02)

Everything runs in the test's own process; ``federation(folder, processes=True)`` starts one process a party with mutual
TLS on loopback, and ``--xbcompute-processes`` makes that the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xbcompute.simulate import Simulation

    StartFederation = Callable[..., Simulation]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--xbcompute-processes``."""
    parser.getgroup("xbcompute").addoption(
        "--xbcompute-processes",
        action="store_true",
        default=False,
        help="federations of the 'federation' fixture run one process a party",
    )


@pytest.fixture
def federation(request: pytest.FixtureRequest) -> Iterator[StartFederation]:
    """Start federations on study folders; all of them end with the test.

    ``federation(folder, processes=None, peer_grace=10.0)`` gives a running
    :class:`~xbcompute.simulate.Simulation` with ``explain`` and ``run``.
    """
    from xbcompute.simulate import Simulation

    by_default = bool(request.config.getoption("--xbcompute-processes"))
    with ExitStack() as stack:

        def start(folder: str | Path, *, processes: bool | None = None, peer_grace: float = 10.0) -> Simulation:
            separate = by_default if processes is None else processes
            return stack.enter_context(Simulation(folder, in_process=not separate, peer_grace=peer_grace))

        yield start
