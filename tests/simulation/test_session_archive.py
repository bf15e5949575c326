"""A node that was restarted still gives its recipients what it released."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import xbcompute as xb
from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.simulate import Simulation

FOLDER = Path(__file__).parents[2] / "examples" / "biomed" / "gbsg2"


def test_results_survive_a_restart_of_the_node(tmp_path: Path) -> None:
    party = PartyId("sz-hospital-1")
    with xb.simulate(FOLDER, in_process=True, state=tmp_path) as federation:
        body = federation.run_json()
        status = json.loads(federation.nodes.callers[party].status())
        (session,) = [name for name, state in status["sessions"].items() if "cox" in _released(federation, party, name)]
    with xb.simulate(FOLDER, in_process=True, state=tmp_path) as federation:
        again = json.loads(federation.nodes.callers[party].results(session))
        with pytest.raises(InputError) as caught:
            federation.nodes.callers[party].results("00" * 16)
    assert caught.value.code == "session.unknown"
    assert again["results"] == body["results"]
    assert (again["study"], again["digest"]) == (body["study"], body["digest"])
    assert again["decision"]["protocol"] == "masked-sum"
    sent = [row for row in again["crossings"] if row["kind"] == "masked"]
    assert sent == [row for row in body["crossings"] if row["kind"] == "masked" and row["from"] == party]


def _released(federation: Simulation, party: PartyId, session: str) -> dict[str, object]:
    results = json.loads(federation.nodes.callers[party].results(session))["results"]
    return dict(results or {})
