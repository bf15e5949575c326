"""What honest nodes refuse: another set of holders, nearly the same people again, small cells, wrong data."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.support.clinics import FOURTH, LEAD, LINEAR, PARTIES, TABLE, THIRD, clinics, frame, run_against, started
from tests.support.folders import Draft
from xbcompute.cli.app import app
from xbcompute.client.study import Study
from xbcompute.core.errors import InputError, IntegrityError, RefusedError
from xbcompute.core.parties import PartyId
from xbcompute.policy.request import Request
from xbcompute.simulate import Simulation
from xbcompute.simulate.keys import node_body
from xbcompute.specs.study import parse_study
from xbcompute.testing.faults import memory_nodes, node_of

SIX = {"sz-1": "CN", "sz-2": "CN", "sz-3": "CN", "sg-1": "SG", "sg-2": "SG", "sg-3": "SG"}


def without(root: Path, *, where: list[dict[str, Any]]) -> Study:
    """The folder's own study over other rows, under its own id so that its approvals hold."""
    from xbcompute.specs.load import load_folder

    body = load_folder(root).study.plain()
    body["study"]["data"]["where"] = where
    return Study(parse_study(body, "study"))


# ---- other participants ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [False, True], ids=["stops contributing", "leaves the federation"])
def test_a_study_again_with_one_hospital_fewer_is_refused_at_its_nodes(tmp_path: Path, leaves: bool) -> None:
    draft = clinics(TABLE, rows=frame(360), parties=SIX)
    state = tmp_path / "state"
    with Simulation(draft.write(tmp_path / "six"), in_process=True, state=state) as federation:
        federation.run()
    if leaves:
        draft.federation["party"] = [party for party in draft.federation["party"] if party["id"] != "sg-3"]
        draft.sites.pop("sg-3")
    else:
        draft.federation["party"][-1]["roles"] = ["recipient"]
        draft.sites["sg-3"].pop("dataset")
    draft.header(recipients=["sz-1"])
    for site in draft.sites.values():
        for dataset in site.get("dataset", []):
            dataset["consent"]["recipients"] = [p for p in SIX if p not in (site["site"]["party"],)]
    with Simulation(draft.write(tmp_path / "five"), in_process=True, state=state) as federation:
        assert federation.explain().verdict != "DENY"
        ending = run_against(federation, "sz-1", None)
    assert ending.codes() == {"masked_sum.restart"} and ending.exits() == {3}
    assert isinstance(ending.error, RefusedError) and "sg-3" in ending.error.text
    assert all("masked-sum.keys" not in ending.left(party) for party in ending.sessions)


def test_the_same_holders_may_run_again_from_the_same_stores(tmp_path: Path) -> None:
    draft = clinics(TABLE)
    bodies = []
    for _ in range(2):
        with Simulation(draft.write(tmp_path / "four"), in_process=True, state=tmp_path / "state") as federation:
            bodies.append(federation.run_json())
    assert bodies[0]["results"] == bodies[1]["results"]
    assert all(ledger["verified"] for ledger in bodies[1]["ledger"].values())
    assert all(bodies[1]["ledger"][party]["size"] > bodies[0]["ledger"][party]["size"] for party in PARTIES)


def test_a_lead_whose_federation_has_a_party_fewer_gets_no_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_for_the_lead(folder: Any, party: PartyId, *arguments: Any, **named: Any) -> dict[str, Any]:
        body = node_body(folder, party, *arguments, **named)
        if party == LEAD:
            entries = json.loads(json.dumps(body["federation"]))
            for entry in entries["party"]:
                if entry["id"] == FOURTH:
                    entry["roles"] = ["recipient"]
            body = {**body, "federation": entries}
        return body

    monkeypatch.setattr("xbcompute.simulate.federation.node_body", other_for_the_lead)
    with Simulation(clinics(TABLE).write(tmp_path), in_process=True) as federation:
        ending = run_against(federation, LEAD, None, runs=False)
    # The lead's own node may stop at facts from a party that holds nothing in its eyes; nobody gets further.
    assert ending.exits() <= {2, 6} and not ending.exits() & {0, 3, 4, 5}
    assert ending.codes() & {"session.plan", "schema.holders"}
    assert all("masked-sum.keys" not in ending.left(party) for party in ending.sessions)


# ---- nearly the same people ------------------------------------------------------------------------------------------


def test_a_study_over_three_people_fewer_is_denied_and_names_the_earlier_one(tmp_path: Path) -> None:
    rows = frame()
    rows["age"] = rows["age"].clip(lower=21)
    rows.loc[[2, 6, 10], "age"] = 20  # three people, all at the third clinic
    with ExitStack() as stack:
        federation = started(clinics(TABLE, rows=rows), tmp_path, stack)
        federation.run()
        second = without(tmp_path, where=[{"column": "age", "op": ">=", "value": 21}])
        decision = federation.explain(second)
        assert decision.verdict == "DENY"
        assert "C4.9" in decision["rules"]
        with pytest.raises(RefusedError) as caught:
            federation.run(second)
        assert caught.value.exit_code == 3
        session = list(node_of(federation, THIRD).sessions.values())[-1]
        assert session.decision is not None
        told = json.dumps(session.decision["reasons"], ensure_ascii=False)
        assert "unseen" in told  # the earlier study, at the node whose people they are
        assert federation.run_json()["results"]  # the same people again are no harm


def test_two_studies_at_once_are_not_both_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both were decided before either was opened: what counts is what the store holds when a total opens."""
    rows = frame()
    rows["age"] = rows["age"].clip(lower=21)
    rows.loc[[2, 6, 10], "age"] = 20
    with ExitStack() as stack:
        federation = started(clinics(TABLE, rows=rows), tmp_path, stack)
        second = without(tmp_path, where=[{"column": "age", "op": ">=", "value": 21}])
        federation.explain(second)
        nodes = memory_nodes(federation).running
        federation.run()
        asked: dict[str, int] = {}
        for party, node in nodes.items():
            real = node.findings.request

            async def early(
                study: Any, counted: Any, party: str = str(party), real: Callable[..., Any] = real
            ) -> Request:
                request: Request = await real(study, counted)
                asked[party] = asked.get(party, 0) + 1
                return dataclasses.replace(request, differences={}) if asked[party] == 1 else request

            monkeypatch.setattr(node.findings, "request", early)
        ending = run_against(federation, LEAD, None, second)
        assert ending.codes() == {"policy.changed"} and ending.exits() == {3}
        assert "C4.9" in ending.error.text
        assert "masked-sum.seed" not in ending.left(THIRD)
        released = node_of(federation, THIRD).store.journal.released_sets(dataset="rows")
        assert ending.sessions[THIRD].id.hex() not in {one.session for one in released}


# ---- small cells -----------------------------------------------------------------------------------------------------


def nine_in_a_cell() -> Draft:
    rows = frame()
    rows["sick"] = np.where(rows["group"] == "a", np.where(np.arange(len(rows)) % 2 == 0, "no", "yes"), "no")
    rows.loc[rows.index[rows["group"] == "b"][:9], "sick"] = "yes"
    assert ((rows["group"] == "b") & (rows["sick"] == "yes")).sum() == 9
    return clinics(TABLE, rows=rows)


def test_a_cell_of_nine_is_withheld_with_what_would_give_it_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        federation = started(nine_in_a_cell(), tmp_path, stack)
        body = federation.run_json()
    table = body["results"]["t"]
    assert body["decision"]["limits"]["cell_min"] == 10
    hidden = sum(cell is None for row in table["counts"] for cell in row)
    assert table["counts"][1][1] is None and hidden >= 2
    assert "chi2" not in table or table["chi2"] is None
    assert len(table["suppressed"]) >= hidden
    assert 9 not in [cell for row in table["counts"] for cell in row]
    margins = [*table["row_totals"], *table["column_totals"], table["n"]]
    assert 9 not in margins


def test_a_model_on_a_cell_of_nine_is_refused(tmp_path: Path) -> None:
    draft = nine_in_a_cell()
    draft.study["analysis"] = [{"id": "m", "kind": "logistic", "outcome": "sick", "covariates": ["group"]}]
    with ExitStack() as stack:
        federation = started(draft, tmp_path, stack)
        ending = run_against(federation, LEAD, None)
    assert ending.exits() == {3}
    assert all("9" not in session.error.text for session in ending.sessions.values() if session.error)


# ---- who takes part --------------------------------------------------------------------------------------------------


def simulated(root: Path) -> tuple[int, dict[str, Any]]:
    """``xbcompute simulate --json --in-process``."""
    done = CliRunner().invoke(app, ["simulate", str(root), "--json", "--in-process"])
    body: dict[str, Any] = json.loads(done.stdout)
    return done.exit_code, body


def test_two_contributors_and_two_ids_of_one_group_are_refused(tmp_path: Path) -> None:
    two = clinics(TABLE, parties={"sz-hospital-1": "CN", "sg-centre-1": "SG"})
    two.study["study"]["protocol"] = {"prefer": ["masked-sum"]}
    code, body = simulated(two.write(tmp_path / "two"))
    # Of a sum over two each subtracts its own: policy never takes it, whatever is preferred.
    assert body["decision"]["protocol"] != "masked-sum"
    assert code == 2 and body["error"]["code"].startswith("engine."), body["error"]
    assert not body.get("results") and not body.get("crossings")
    one_group = clinics(TABLE)
    for party in one_group.federation["party"]:
        if party["id"] in (THIRD, FOURTH):
            party["control_group"] = "one-owner"
    code, body = simulated(one_group.write(tmp_path / "group"))
    assert code == 3 and body["decision"]["verdict"] == "DENY"
    assert "results" not in body or not body["results"]


# ---- wrong files and data --------------------------------------------------------------------------------------------


def change_cell(draft: Draft, party: str, column: str, value: Any) -> None:
    draft.frames[party] = draft.frames[party].astype({column: object})
    draft.frames[party].loc[3, column] = value


WRONG: dict[str, tuple[Callable[[Draft], object], str]] = {
    "a column that nobody has": (lambda d: d.study["analysis"].append({**LINEAR, "id": "n", "outcome": "zz"}), "zz"),
    "a column missing at one": (lambda d: d.dataset(THIRD)["columns"].pop("y"), THIRD),
    "no such column in the file": (
        lambda d: d.frames.update({THIRD: d.frames[THIRD].drop(columns=["y"])}),
        "y",
    ),
    "no bounds": (lambda d: d.dataset(THIRD)["columns"]["y"].pop("bounds"), "y"),
    "levels that differ": (lambda d: d.dataset(THIRD)["columns"]["sick"].update(levels=["no", "oui"]), THIRD),
    "levels in another order": (lambda d: d.dataset(THIRD)["columns"]["sick"].update(levels=["yes", "no"]), THIRD),
    "a level that is not declared": (lambda d: change_cell(d, THIRD, "sick", "perhaps"), "sick"),
    "a value out of bounds": (lambda d: change_cell(d, THIRD, "y", 4.0001), "y"),
    "a text for a number": (lambda d: change_cell(d, THIRD, "y", "four"), "y"),
    "a subject twice": (lambda d: change_cell(d, THIRD, "pid", d.frames[THIRD].loc[4, "pid"]), THIRD),
    "an unknown key": (lambda d: d.study["study"].update(purpos="x"), "purpos"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_wrong_files_and_data_are_named_before_anything_leaves(tmp_path: Path, case: str) -> None:
    change, named = WRONG[case]
    draft = clinics()
    change(draft)
    code, body = simulated(draft.write(tmp_path))
    assert code == 2, body
    assert named in body["error"]["text"] + body["error"]["todo"], body["error"]
    assert not body.get("results") and not body.get("crossings")
    assert all(value not in body["error"]["text"] for value in ("4.0001", "four", "perhaps"))


@pytest.mark.parametrize("case", ["a value out of bounds", "levels that differ", "a text for a number"])
def test_nodes_find_the_same_by_themselves(tmp_path: Path, case: str) -> None:
    change, named = WRONG[case]
    draft = clinics()
    change(draft)
    with Simulation(draft.write(tmp_path), in_process=True) as federation:
        ending = run_against(federation, LEAD, None, runs=False)
    assert isinstance(ending.error, InputError) and ending.exits() == {2}
    assert named in ending.error.text
    assert all("masked-sum.vector" not in ending.left(party) for party in ending.sessions)


@pytest.mark.parametrize("text", [None, "", "[study", "[study]\nid = 1\n"], ids=["none", "empty", "cut", "wrong"])
def test_a_missing_or_malformed_study(tmp_path: Path, text: str | None) -> None:
    root = clinics().write(tmp_path)
    if text is None:
        (root / "study.toml").unlink()
    else:
        (root / "study.toml").write_text(text, encoding="utf-8")
    code, body = simulated(root)
    assert code == 2
    assert "study.toml" in body["error"]["text"]


def test_numbers_that_are_none_do_not_pass_in_the_clear(tmp_path: Path) -> None:
    from tests.adversarial.test_session_attacks import only
    from tests.support.folders import PUBLIC

    draft = clinics(LINEAR, grade=PUBLIC)
    draft.study["study"]["protocol"] = {"prefer": ["clear-aggregate"]}

    def bad(message: Any) -> Any:
        fields = dict(message.fields)
        name = next(k for k, v in fields.items() if isinstance(v, np.ndarray) and v.dtype == np.float64)
        array = fields[name].copy()
        array.flat[0] = np.nan
        return message.changed(**{name: array})

    with ExitStack() as stack:
        federation = started(draft, tmp_path, stack)
        assert federation.explain()["protocol"] == "clear-aggregate"
        ending = run_against(federation, LEAD, only("clear.values", bad))
    assert isinstance(ending.error, IntegrityError) and ending.exits() == {6}


def test_an_application_can_be_approved_at_a_slow_party_as_soon_as_the_lead_has_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulation(clinics(TABLE).write(tmp_path), in_process=True) as federation:
        node = node_of(federation, THIRD)
        keep = node.keep_application

        async def slowly(application: Any) -> None:
            await asyncio.sleep(0.3)
            await keep(application)

        monkeypatch.setattr(node, "keep_application", slowly)
        assert federation.explain().runs
