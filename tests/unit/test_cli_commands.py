"""The commands as processes of their own: one JSON object on standard output, documented exit codes, stable names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import xbcompute as xb
from tests.support.folders import FLEET, FOUR, PUBLIC, Draft, category, command, number

COLUMNS = {"age": number(18, 100), "sick": category("no", "yes"), "arm": category("a", "b")}
ANALYSES: list[dict[str, Any]] = [
    {"id": "people", "kind": "describe", "columns": ["age"], "by": "arm"},
    {"id": "sick", "kind": "table", "rows": "sick", "columns": "arm"},
]
DECISION = {
    "verdict",
    "tier",
    "protocol",
    "cn_path",
    "count_before",
    "count_after",
    "export_posture",
    "limits",
    "required_evidence",
    "required_roles",
    "rules",
    "citations",
    "reasons",
    "by_party",
}
LIMITS = {"cell_min", "epsilon_release", "epsilon_year", "retention"}


def draft(**keys: Any) -> Draft:
    places = np.arange(480)
    rows = pd.DataFrame({"age": 20 + places % 61, "sick": "no", "arm": "a"})
    rows.loc[places % 3 == 0, "sick"] = "yes"
    rows.loc[places % 8 > 3, "arm"] = "b"
    return Draft(rows, COLUMNS, *ANALYSES, **keys)


def held() -> Draft:
    return draft().without_evidence("SC_FILING")


def refused() -> Draft:
    return draft().every(cn_grade="core")


def wrong() -> Draft:
    return draft().header(lead="nobody")


@pytest.mark.parametrize(
    ("make", "code", "verdict"),
    [(draft, 0, "PERMIT_WITH_CONDITIONS"), (held, 4, "HOLD"), (refused, 3, "DENY")],
)
def test_policy_decide(make: Any, code: int, verdict: str, tmp_path: Path) -> None:
    found, decision, errors = command("policy", "decide", make().write(tmp_path / "f"), "--json")
    assert (found, errors) == (code, "")
    assert set(decision) >= DECISION and set(decision["limits"]) >= LIMITS
    assert decision["verdict"] == verdict
    assert set(decision["by_party"]) == set(FOUR)
    assert set(decision["reasons"][0]) == {"rule", "zh", "en", "mark"}


def test_policy_explain_in_both_languages(tmp_path: Path) -> None:
    found, body, _ = command("policy", "explain", held().write(tmp_path / "f"), "--json")
    assert found == 4
    assert body["decision"]["verdict"] == "HOLD"
    assert "SC_FILING" in body["en"] and "B08" in body["en"]
    assert "SC_FILING" in body["zh"]
    assert "lawful" not in body["en"].lower().replace("unlawful", "")


def test_bad_input_ends_with_2(tmp_path: Path) -> None:
    folder = wrong().write(tmp_path / "f")
    for words in (("policy", "decide"), ("simulate",)):
        found, body, errors = command(*words, folder, "--json")
        assert (found, errors) == (2, "")
        assert body["error"]["exit"] == 2 and "'nobody'" in body["error"]["text"]


@pytest.mark.parametrize(("make", "code"), [(held, 4), (refused, 3)])
def test_simulate_starts_nothing_that_policy_stops(make: Any, code: int, tmp_path: Path) -> None:
    found, body, _ = command("simulate", make().write(tmp_path / "f"), "--json")
    assert found == code == body["error"]["exit"]
    assert body["study"] == "unseen" and body["digest"].startswith("sha256:")
    assert set(body["decision"]) >= DECISION
    assert not body.get("results")


def test_without_json_errors_go_to_standard_error(tmp_path: Path) -> None:
    folder = wrong().write(tmp_path / "f")
    done = subprocess.run(
        [sys.executable, "-m", "xbcompute", "study", "check", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stdout == "" and "'nobody'" in done.stderr


def check_run(body: dict[str, Any], parties: set[str]) -> None:
    assert set(body) >= {"study", "digest", "decision", "results", "privacy", "crossings", "ledger", "timing"}
    assert set(body["decision"]) >= DECISION
    assert body["privacy"] == {"mechanism": None, "statement": "no differential privacy"}
    assert set(body["ledger"]) == parties
    assert all(entry["verified"] is True and entry["size"] > 0 and entry["root"] for entry in body["ledger"].values())
    assert {"setup_s", "run_s", "rounds"} <= set(body["timing"]) and body["timing"]["rounds"] > 0
    for crossing in body["crossings"]:
        assert set(crossing) >= {"from", "to", "kind", "grade", "frames", "bytes", "sha256"}
        assert {crossing["from"], crossing["to"]} <= parties and crossing["from"] != crossing["to"]
    for result in body["results"].values():
        assert set(result) >= {"kind", "n", "n_dropped", "suppressed", "cell_scope", "notes"}


@pytest.mark.processes
def test_simulate_over_processes(tmp_path: Path) -> None:
    made = draft(parties={"mei": "CN", "lan": "CN", "tan": "SG", "lim": "SG"}).header(lead="tan", recipients=["lim"])
    found, body, _ = command("simulate", made.write(tmp_path / "f"), "--json")
    assert found == 0
    check_run(body, {"mei", "lan", "tan", "lim"})
    rows = pd.concat(made.frames.values())
    people = body["results"]["people"]
    for arm, group in rows.groupby("arm"):
        assert people[arm]["age"]["mean"] == pytest.approx(group["age"].mean(), rel=1e-8)
    assert body["results"]["sick"]["counts"] == pd.crosstab(rows["sick"], rows["arm"]).to_numpy().tolist()
    assert {crossing["kind"] for crossing in body["crossings"]} >= {"masked"}
    assert {crossing["grade"] for crossing in body["crossings"] if crossing["kind"] == "masked"} == {"G5"}


def test_simulate_in_process_over_public_data(tmp_path: Path) -> None:
    folder = draft(parties={"one": "SG"}, grade=PUBLIC).write(tmp_path / "f")
    found, body, _ = command("simulate", folder, "--in-process", "--json")
    assert found == 0
    check_run(body, {"one"})
    assert body["decision"]["protocol"] == "clear-aggregate" and body["decision"]["verdict"] == "PERMIT"


def test_a_ledger_is_verified_offline_and_a_flipped_byte_is_found(tmp_path: Path) -> None:
    made = draft(parties={"a": "CN", "b": "SG", "c": "SG"}, grade=FLEET, industry="aviation")
    with xb.simulate(made.write(tmp_path / "f"), in_process=True) as federation:
        federation.run()
        path = federation.export_ledger(next(iter(federation.public_keys())), tmp_path / "a.ledger")
        keys = [f"--key={party}={key}" for party, key in federation.public_keys().items()]
    found, body, _ = command("ledger", "verify", path, *keys, "--json")
    assert found == 0 and body["size"] > 0 and body["root"]
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.write_bytes(bytes_)
    found, body, _ = command("ledger", "verify", path, *keys, "--json")
    assert found == 6 and body["error"]["exit"] == 6
