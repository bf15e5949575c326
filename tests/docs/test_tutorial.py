"""The tutorial's files, taken from its text, do what it says at each step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from tests.docs.pages import TUTORIALS, command, files, script, write_files
from xbcompute.simulate import Simulation

STEPS = ("make_sites.py", "real.py", "grades.py", "consent.py")


def decide(folder: Path) -> tuple[int, dict[str, Any]]:
    done = command("policy decide readmission --json", folder)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(TUTORIALS[0], tmp_path)
    return tmp_path


def test_both_languages_have_the_same_files() -> None:
    english, chinese = (files(page) for page in TUTORIALS)
    assert set(english) == {"readmission/study.toml", "readmission/federation.toml", *STEPS}
    assert english == chinese


def test_the_joint_answer_is_the_pooled_one(folder: Path) -> None:
    with Simulation(folder / "readmission", in_process=True) as federation:
        run = federation.run()
    rows = pd.concat(pd.read_csv(path) for path in sorted(folder.glob("readmission/sites/*/*.csv")))
    pooled = smf.logit("I(readmitted == 'yes').astype(float) ~ checklist + age", rows).fit(disp=0, tol=1e-14)
    for name, coef in pooled.params.items():
        assert run["adjusted"].coef[name] == pytest.approx(coef, abs=1e-8 * max(abs(coef), pooled.bse[name]))
    table = pd.crosstab(rows.checklist, rows.readmitted).to_numpy()
    assert np.array_equal(run["crude"].counts, table)


def test_the_verdicts_are_those_of_the_text(folder: Path) -> None:
    code, decision = decide(folder)
    assert (code, decision["verdict"], decision["protocol"]) == (0, "PERMIT", "masked-sum")
    assert "B17" in decision["rules"]
    script(folder, "real.py")
    code, answer = decide(folder)
    assert (code, answer["error"]["code"]) == (2, "grade.absent")
    script(folder, "grades.py")
    code, decision = decide(folder)
    assert (code, decision["verdict"]) == (3, "DENY")
    assert {"NO-CARD", "CONSENT"} <= set(decision["rules"])
    script(folder, "consent.py")
    code, decision = decide(folder)
    assert (code, decision["verdict"], decision["protocol"]) == (4, "HOLD", "masked-sum")
    assert "SC_FILING or CERT" in decision["required_evidence"]
    assert "EC-IRB" in decision["required_roles"]
