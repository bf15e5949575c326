"""``xbcompute demo biomed`` as a user runs it: real processes, the pooled truth beside the joint answer, a figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xbcompute.cli.demo import demo_folder, difference_text
from xbcompute.specs.load import load_folder

pytestmark = pytest.mark.processes


def demo(tmp_path: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xbcompute", "demo", "biomed", "--out", str(tmp_path / "figure.png"), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("demo")
    done = demo(folder, "--json")
    assert done.returncode == 0, done.stderr
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_the_decision_is_the_expected_one(body: dict[str, Any]) -> None:
    assert body["decision"]["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert body["decision"]["protocol"] == "masked-sum"


def test_nothing_is_suppressed_and_nobody_is_dropped(body: dict[str, Any]) -> None:
    assert set(body["results"]) == {"baseline", "grade", "km", "cox"}
    for result in body["results"].values():
        assert result["suppressed"] == []
        assert result["cell_scope"] == "pooled"
        assert (result["n"], result["n_dropped"]) == (686, 0)


def test_the_joint_answer_is_the_pooled_one(body: dict[str, Any]) -> None:
    km, cox, truth = body["results"]["km"], body["results"]["cox"], body["truth"]
    for group, survival in truth["km"]["survival"].items():
        assert km["survival"][group] == pytest.approx(survival, abs=1e-12)
    assert km["logrank"]["statistic"] == pytest.approx(truth["km"]["logrank"]["statistic"], rel=1e-8)
    for name, coef in truth["cox"]["coef"].items():
        scale = max(abs(coef), truth["cox"]["se"][name])
        assert abs(cox["coef"][name] - coef) <= 1e-8 * scale
        assert cox["se"][name] == pytest.approx(truth["cox"]["se"][name], rel=1e-6)


def test_every_pair_crossed_and_every_ledger_verified(body: dict[str, Any]) -> None:
    parties = set(body["ledger"])
    assert len(parties) == 4
    pairs = {(row["from"], row["to"]) for row in body["crossings"] if row["kind"] == "masked"}
    assert pairs == {(one, other) for one in parties for other in parties if one != other}
    assert all(ledger["verified"] is True for ledger in body["ledger"].values())


def test_the_text_has_every_section_and_no_colour_codes(tmp_path: Path) -> None:
    done = demo(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for part in (
        "What policy says",
        "PERMIT_WITH_CONDITIONS",
        "log-rank",
        "Cox model",
        "figure.png",
        "verified",
        "masked",
    ):
        assert part in done.stdout


def test_the_demo_folder_is_a_study_folder() -> None:
    assert load_folder(demo_folder("biomed")).study.id == "gbsg2-hormone"


@pytest.mark.parametrize(("value", "text"), [(0.0, "0"), (-3.4e-12, "-3e-12"), (0.5, "5e-01")])
def test_differences(value: float, text: str) -> None:
    assert difference_text(value) == text
