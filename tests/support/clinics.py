"""One small federation of four clinics for attacks on sessions, and what must hold after each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import generator
from tests.support.folders import Draft, category, number
from xbcompute.client.session import followed
from xbcompute.client.study import Study
from xbcompute.core.errors import XbError
from xbcompute.core.parties import PartyId
from xbcompute.node.session import Session
from xbcompute.simulate import Simulation
from xbcompute.testing.faults import Act, Dishonest, memory_nodes

LEAD, SECOND, THIRD, FOURTH = "sz-hospital-1", "sz-hospital-2", "sg-centre-1", "sg-centre-2"
PARTIES = (LEAD, SECOND, THIRD, FOURTH)
COLUMNS: dict[str, dict[str, Any]] = {
    "age": number(18, 100),
    "y": number(-4, 4),
    "group": category("a", "b"),
    "sick": category("no", "yes"),
}
TABLE = {"id": "t", "kind": "table", "rows": "group", "columns": "sick"}
LINEAR = {"id": "m", "kind": "linear", "outcome": "y", "covariates": ["age"]}


def frame(n: int = 240, seed: int = 5) -> pd.DataFrame:
    """Rows without small cells."""
    g = generator(seed)
    age = g.integers(20, 90, n)
    group = np.where(np.arange(n) % 8 < 4, "a", "b")
    return pd.DataFrame(
        {
            "age": age,
            "y": (0.02 * age + g.normal(0.0, 0.3, n)).clip(-4, 4).round(4),
            "group": group,
            "sick": np.where(g.random(n) < 0.5, "no", "yes"),
        }
    )


def clinics(*analyses: Mapping[str, Any], rows: pd.DataFrame | None = None, **more: Any) -> Draft:
    """Four clinics, a table and a linear model unless said otherwise."""
    return Draft(frame() if rows is None else rows, COLUMNS, *(analyses or (TABLE, LINEAR)), **more)


@dataclass(frozen=True)
class Ending:
    """How a run ended: the caller's error, and each party's session."""

    error: XbError
    sessions: Mapping[str, Session]
    dishonest: Dishonest | None

    def codes(self, *parties: str) -> set[str]:
        """The error codes at these parties' nodes (all of them, unless named)."""
        return {session.error.code for session in self._of(parties) if session.error is not None}

    def exits(self, *parties: str) -> set[int]:
        """The exit codes at these parties' nodes."""
        return {0 if session.error is None else session.error.exit_code for session in self._of(parties)}

    def left(self, party: str) -> set[str]:
        """The kinds of messages that left a party in the session."""
        session = self.sessions[party]
        return {str(row["kind"]) for row in session.node.links.accounts.crossings(session.id)}

    def _of(self, parties: tuple[str, ...]) -> list[Session]:
        return [self.sessions[party] for party in parties or self.sessions]


def run_against(
    federation: Simulation, party: str, act: Act | None, study: Study | None = None, *, runs: bool = True
) -> Ending:
    """Run the study while ``party`` behaves as ``act`` says; the run must fail, and nothing may be released.

    Approvals are signed before (:func:`started` has them signed); with ``runs`` False the study is only explained.
    """
    nodes = memory_nodes(federation)
    with ExitStack() as stack:
        dishonest = stack.enter_context(Dishonest(federation, party, act)) if act is not None else None
        before = {name: set(node.sessions) for name, node in nodes.running.items()}
        with pytest.raises(XbError) as caught:
            if runs:
                asked = study or Study(federation.folder.study)
                followed(federation.nodes.callers[PartyId(asked.spec.study.lead)], asked, None)
            else:
                federation.explain(study)
        sessions = {}
        for name, node in nodes.running.items():
            new = [session for key, session in node.sessions.items() if key not in before[name]]
            if new:
                sessions[str(name)] = new[-1]
                nodes.do(new[-1].events.ended())
    ending = Ending(caught.value, sessions, dishonest)
    nothing_released(federation, ending, but=party if act is not None else "")
    return ending


def nothing_released(federation: Simulation, ending: Ending, *, but: str = "") -> None:
    """No store holds a release of the session, no user gets results, no node says that it released.

    ``but`` is a dishonest party, which may keep what it likes of what it learnt.
    """
    for party, session in ending.sessions.items():
        if party == but:
            continue
        assert session.node.store.releases.release(session.id.hex()) is None, party
        states = events(federation, session)
        assert "released" not in states, (party, states)
        assert states[-1] in ("aborted", "refused", "held", "interrupted"), (party, states)
        answer = results(federation, session)
        assert answer["results"] is None, party
        assert answer["error"] is not None, party


def events(federation: Simulation, session: Session) -> list[str]:
    """The states a session went through."""

    async def read() -> list[str]:
        return [str(event["state"]) async for event in session.events.watch()]

    return memory_nodes(federation).do(read())


def results(federation: Simulation, session: Session) -> dict[str, Any]:
    """What the party's user is answered about a session."""
    body = federation.nodes.callers[PartyId(session.me)].results(session.id.hex())
    answer: dict[str, Any] = json.loads(body)
    return answer


def started(draft: Draft, root: Path, stack: ExitStack, **more: Any) -> Simulation:
    """A running federation in this process."""
    federation = stack.enter_context(Simulation(draft.write(root), in_process=True, **more))
    federation.explain()
    return federation
