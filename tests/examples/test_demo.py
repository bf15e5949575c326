"""``xbcompute demo biomed`` as a user runs it: real processes, the pooled truth beside the joint answer, a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from rich.cells import cell_len

from xbcompute.cli.demo import demo_folder, difference_text, run_demo
from xbcompute.client.results import Decision, Run
from xbcompute.client.session import Progress
from xbcompute.core.errors import IntegrityError
from xbcompute.specs.load import load_folder

SAMPLE = Path(__file__).parents[1] / "unit" / "data" / "gbsg2_run.json"


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "xbcompute", "demo", "biomed", "--out", str(folder / "figure.png"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    read: dict[str, Any] = json.loads(done.stdout)
    return read


@pytest.mark.processes
def test_the_decision_is_the_expected_one(body: dict[str, Any]) -> None:
    assert body["decision"]["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert body["decision"]["protocol"] == "masked-sum"


@pytest.mark.processes
def test_nothing_is_suppressed_and_nobody_is_dropped(body: dict[str, Any]) -> None:
    assert set(body["results"]) == {"baseline", "grade", "km", "cox"}
    for result in body["results"].values():
        assert result["suppressed"] == []
        assert result["cell_scope"] == "pooled"
        assert (result["n"], result["n_dropped"]) == (686, 0)


@pytest.mark.processes
def test_the_joint_answer_is_the_pooled_one(body: dict[str, Any]) -> None:
    km, cox, truth = body["results"]["km"], body["results"]["cox"], body["truth"]
    for group, survival in truth["km"]["survival"].items():
        assert km["survival"][group] == pytest.approx(survival, abs=1e-12)
    assert km["logrank"]["statistic"] == pytest.approx(truth["km"]["logrank"]["statistic"], rel=1e-8)
    for name, coef in truth["cox"]["coef"].items():
        scale = max(abs(coef), truth["cox"]["se"][name])
        assert abs(cox["coef"][name] - coef) <= 1e-8 * scale
        assert cox["se"][name] == pytest.approx(truth["cox"]["se"][name], rel=1e-6)


@pytest.mark.processes
def test_every_pair_crossed_and_every_ledger_verified(body: dict[str, Any]) -> None:
    parties = set(body["ledger"])
    assert len(parties) == 4
    pairs = {(row["from"], row["to"]) for row in body["crossings"] if row["kind"] == "masked"}
    assert pairs == {(one, other) for one in parties for other in parties if one != other}
    assert all(ledger["verified"] is True for ledger in body["ledger"].values())


class FinishedFederation:
    """Stands for a simulation whose run is already there."""

    def __init__(self, _folder: Path) -> None:
        self.done = Run.load(SAMPLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def explain(self) -> Decision:
        return self.done.decision

    def run(self, *, progress: Progress) -> Run:
        for state in ("running", "closed"):
            progress({"state": state})
        return self.done


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xbcompute.cli.demo.Simulation", FinishedFederation)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("finished")
def test_the_text_has_every_section_within_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_demo("biomed", out=tmp_path / "figure.png", as_json=False)
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    for part in ("What policy says", "PERMIT_WITH_CONDITIONS", "closed", "log-rank", "Cox model", "verified", "masked"):
        assert part in text
    assert (tmp_path / "figure.png").is_file()


@pytest.mark.usefixtures("finished")
def test_missing_extras_cost_a_line_each_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lifelines", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    run_demo("biomed", out=tmp_path / "figure.png", as_json=False)
    text = " ".join(capsys.readouterr().out.split())
    assert "Without comparison: the pooled truth needs lifelines, which is not installed." in text
    assert "Without figure: a figure needs matplotlib, which is not installed." in text
    assert "The ledgers" in text
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.usefixtures("finished")
def test_a_ledger_that_does_not_verify_ends_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "verified", False)
    with pytest.raises(IntegrityError, match="did not verify"):
        run_demo("biomed", out=tmp_path / "figure.png", as_json=True)


def test_the_demo_folder_is_a_study_folder() -> None:
    assert load_folder(demo_folder("biomed")).study.id == "gbsg2-hormone"


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-3.4e-12, "-3e-12"), (0.5, "5e-01")])
def test_differences(value: float, text: str) -> None:
    assert difference_text(value) == text
