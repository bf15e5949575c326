"""Values planted in the data turn up nowhere else: not in logs, errors, ledgers, stores, crossings, events or JSON."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.clinics import LINEAR, PARTIES, SECOND, TABLE, THIRD, clinics, frame
from tests.support.folders import Draft, number
from xbcompute.cli.app import app
from xbcompute.core.errors import XbError
from xbcompute.core.parties import PartyId
from xbcompute.simulate import Simulation
from xbcompute.testing import Canaries
from xbcompute.testing.faults import Dishonest, memory_nodes

ROWS = 240
WIDE = 10_000_000.0


@dataclass
class Planted:
    """A study whose every person has a canary as id, one as a measured value, and one in a column nobody asked for."""

    draft: Draft
    canaries: Canaries
    seen: dict[str, bytes | str] = field(default_factory=dict)

    def sightings(self) -> list[str]:
        found = []
        for name, data in self.seen.items():
            found += self.canaries.sightings(name, data)
            if isinstance(data, bytes):
                found += [
                    f"{name}: {value} as a number"
                    for value in self.canaries.numbers
                    if struct.pack("<d", value) in data or struct.pack("<q", value) in data
                ]
        return found


@pytest.fixture
def planted() -> Planted:
    canaries = Canaries(3 * ROWS)
    rows = frame(ROWS)
    rows["pid"] = canaries.texts[:ROWS]
    rows["marker"] = [float(value) for value in canaries.numbers[ROWS : 2 * ROWS]]
    rows["note"] = canaries.texts[2 * ROWS :]
    model = {**LINEAR, "covariates": ["marker"]}
    draft = clinics(TABLE, model, rows=rows, subjects="pid")
    for site in draft.sites.values():
        site["dataset"][0]["columns"]["marker"] = number(0, WIDE)
    return Planted(draft, canaries)


@pytest.fixture
def watching(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., None]]:
    """Runs the planted study with everything recorded that leaves a node, a worker or the caller's hands."""
    caplog.set_level(logging.DEBUG)

    def watch(planted: Planted, root: Path, *, fails: bool) -> None:
        folder, state = planted.draft.write(root / "folder"), root / "state"
        happened: list[Mapping[str, Any]] = []
        with ExitStack() as stack:
            federation = stack.enter_context(Simulation(folder, in_process=True, state=state))
            taps = {party: stack.enter_context(Dishonest(federation, party)) for party in PARTIES}
            try:
                body = federation.run_json(progress=happened.append)
                assert not fails
                planted.seen["json"] = json.dumps(body, ensure_ascii=False)
            except XbError as error:
                assert fails, error
                planted.seen["error"] = f"{error!r} {error} {error.public()}"
            planted.seen["events"] = json.dumps(happened, ensure_ascii=False)
            for party, tap in taps.items():
                planted.seen[f"crossing from {party}"] = b"\n".join(sent.message.data for sent in tap.sent)
                caller = federation.nodes.callers[PartyId(party)]
                planted.seen[f"status of {party}"] = caller.status()
                planted.seen[f"ledger of {party}"] = b"".join(caller.ledger())
                nodes = memory_nodes(federation)
                for session, running in nodes.running[PartyId(party)].sessions.items():
                    nodes.do(running.events.ended())
                    planted.seen[f"results of {party} {session.hex()}"] = caller.results(session.hex())
        for file in sorted(state.rglob("*")):
            if file.is_file():
                planted.seen[f"state {file.relative_to(state)}"] = file.read_bytes()
        done = CliRunner().invoke(app, ["simulate", str(folder), "--json", "--in-process"])
        assert (done.exit_code != 0) is fails
        planted.seen["command"] = done.output + done.stderr + repr(done.exception)
        planted.seen["log"] = caplog.text + repr([record.__dict__ for record in caplog.records])
        out, errors = capfd.readouterr()
        planted.seen["standard output"], planted.seen["standard error"] = out, errors

    yield watch


def test_the_canaries_are_found_where_they_were_planted(planted: Planted, tmp_path: Path) -> None:
    folder = planted.draft.write(tmp_path)
    assert len(planted.canaries.in_files([folder])) >= 3 * ROWS
    planted.seen["packed"] = struct.pack("<d", planted.canaries.numbers[5])
    assert planted.sightings()


def test_a_study_that_succeeds(planted: Planted, tmp_path: Path, watching: Callable[..., None]) -> None:
    watching(planted, tmp_path, fails=False)
    assert len(planted.seen["crossing from " + THIRD]) > 1000
    assert any(name.endswith("node.sqlite") for name in planted.seen)
    assert planted.sightings() == []


def test_a_study_in_the_clear_between_its_own_hospitals(
    planted: Planted, tmp_path: Path, watching: Callable[..., None]
) -> None:
    """Sums in the clear show sums; a single person's number is not among them."""
    planted.draft.every(pi="none", health_level=1, sg_class="none", consent=None)
    for site in planted.draft.sites.values():
        site["dataset"][0].pop("consent")
    planted.draft.study["study"]["protocol"] = {"prefer": ["clear-aggregate"]}
    watching(planted, tmp_path, fails=False)
    assert planted.sightings() == []


def cell(column: str, value: Any, *, row: int = 7) -> Callable[[Planted], None]:
    def change(planted: Planted) -> None:
        rows = planted.draft.frames[THIRD]
        planted.draft.frames[THIRD] = rows.astype({column: object})
        planted.draft.frames[THIRD].loc[row, column] = value(planted) if callable(value) else value

    return change


def small(planted: Planted) -> None:
    planted.draft.study["analysis"] = [{"id": "m", "kind": "logistic", "outcome": "sick", "covariates": ["marker"]}]
    for party in PARTIES:
        planted.draft.frames[party]["sick"] = "no"
    planted.draft.frames[SECOND].loc[[1, 2, 3], "sick"] = "yes"


def consent_refused(planted: Planted) -> None:
    planted.draft.dataset(THIRD)["consent"]["purposes"] = ["something_else"]


FAILURES: dict[str, Callable[[Planted], None]] = {
    "out of bounds": cell("y", lambda planted: float(planted.canaries.numbers[0])),
    "out of bounds by a canary with decimals": cell("y", lambda planted: planted.canaries.numbers[0] + 0.5),
    "unknown level": cell("sick", lambda planted: planted.canaries.texts[1]),
    "text for a number": cell("y", lambda planted: planted.canaries.texts[2]),
    "number with a letter": cell("y", lambda planted: f"{planted.canaries.numbers[3]}x"),
    "a long text for a number": cell("y", lambda planted: f"{planted.canaries.texts[3]}" * 60),
    "a subject twice": cell("pid", lambda planted: planted.draft.frames[THIRD].loc[3, "pid"]),
    "a subject left out": cell("pid", None),
    "few events": small,
    "refused by policy": consent_refused,
}


@pytest.mark.parametrize("failure", sorted(FAILURES))
def test_a_study_that_fails(planted: Planted, failure: str, tmp_path: Path, watching: Callable[..., None]) -> None:
    FAILURES[failure](planted)
    watching(planted, tmp_path, fails=True)
    assert "error" in planted.seen
    assert planted.sightings() == []
