"""Known public datasets as study folders: lung over institutions, a large trial, visits to a doctor."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from lifelines import KaplanMeierFitter
from lifelines.datasets import load_lung

from tests.support.closeness import same_coefficients, same_statistic
from tests.support.folders import PUBLIC, Draft, category, number, results, whole
from tests.support.frames import randhie
from tests.support.survival import DATASETS
from tests.support.trial import cox_by_site, logrank, merged

INSTITUTIONS = [[1, 2], [3, 4, 5, 6, 7], [10, 11, 12, 13], [15, 16, 21, 22, 26, 32, 33]]


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    frame: pd.DataFrame = load_lung()
    frame["inst"] = frame["inst"].fillna(1)
    return frame.assign(
        site=frame["inst"].map({number: site for site, group in enumerate(INSTITUTIONS) for number in group}),
        sex=frame["sex"].map({1: "male", 2: "female"}),
        status=frame["status"] + 1,
    )


@pytest.fixture(scope="module")
def lung_run(lung: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    columns = {
        "survived": number(0, 1100, **{"from": "time"}),
        "status": number(1, 2),
        "age": number(30, 90),
        "sex": category("male", "female"),
        "weight": number(-50, 100, **{"from": "wt.loss"}),
    }
    survival = {"time": "survived", "event": "status", "event_value": 2}
    draft = Draft(
        lung,
        columns,
        {"id": "km", "kind": "kaplan_meier", **survival, "by": "sex", "unit": 60},
        {"id": "cox", "kind": "cox", **survival, "covariates": ["age", "sex"]},
        {"id": "sexes", "kind": "describe", "columns": ["age", "weight"], "by": "sex"},
        owner=lung["site"].to_numpy(),
    )
    return whole(draft, tmp_path_factory.mktemp("lung") / "s")


def test_lung_is_admitted_under_masks(lung_run: dict[str, Any]) -> None:
    assert lung_run["decision"]["protocol"] == "masked-sum"
    assert lung_run["decision"]["limits"]["cell_min"] == 10


def test_rows_without_a_weight_are_in_no_analysis(lung_run: dict[str, Any], lung: pd.DataFrame) -> None:
    for result in lung_run["results"].values():
        assert result["n"] == int(lung["wt.loss"].notna().sum())
        assert result["n_dropped"] == int(lung["wt.loss"].isna().sum()) == 14


def test_lung_curves(lung_run: dict[str, Any], lung: pd.DataFrame) -> None:
    result = lung_run["results"]["km"]
    lung = lung[lung["wt.loss"].notna()]
    times = merged(lung["time"], result["time"])
    died = (lung["status"] == 2).to_numpy()
    for sex in ("male", "female"):
        mine = (lung["sex"] == sex).to_numpy()
        fit = KaplanMeierFitter().fit(times[mine], died[mine])
        truth = fit.survival_function_at_times(result["time"]).to_numpy()
        assert np.abs(np.array(result["survival"][sex]) - truth).max() <= 1e-12
        assert min(result["events"][sex]) >= 10
        assert all(left == 0 or left >= 10 for left in result["censored"][sex])
    same_statistic(result["logrank"]["statistic"], logrank(times, lung["sex"], died)[0])


def test_lung_hazards(lung_run: dict[str, Any], lung: pd.DataFrame) -> None:
    lung = lung[lung["wt.loss"].notna()]
    x = {"age": lung["age"], "sex[T.female]": (lung["sex"] == "female") * 1.0}
    coef, se, _ = cox_by_site(x, lung["time"], lung["status"] == 2, lung["site"])
    same_coefficients(lung_run["results"]["cox"], coef, se)


def test_a_large_trial_on_public_data_with_the_protocol_asked_for(tmp_path: Path) -> None:
    frame = pd.read_csv(DATASETS / "ACTG175.csv")
    site = np.searchsorted([300, 1200, 1900], np.arange(len(frame)), side="right")
    frame = frame.assign(failed=frame["cens"].map({0: "no", 1: "yes"}))
    columns = {
        "days": number(0, 1500),
        "failed": category("no", "yes"),
        "age": number(10, 90),
        "cd40": number(0, 1500),
        "karnof": number(50, 100),
        "arms": category("0", "1", "2", "3"),
    }
    draft = Draft(
        frame,
        columns,
        {
            "id": "cox",
            "kind": "cox",
            "time": "days",
            "event": "failed",
            "covariates": ["arms", "age", "sqrt_cd4", "karnof"],
            "reference": {"arms": "1"},
        },
        owner=site,
        grade=PUBLIC,
        derive=[{"name": "sqrt_cd4", "of": "cd40", "fn": "sqrt"}],
    ).header(protocol={"prefer": ["masked-sum"]}, recipients=["sg-centre-2"], lead="sg-centre-1")
    ran = whole(draft, tmp_path / "s")
    assert ran["decision"]["verdict"] == "PERMIT" and ran["decision"]["protocol"] == "masked-sum"
    x = {f"arms[T.{arm}]": (frame["arms"] == arm) * 1.0 for arm in (0, 2, 3)}
    x |= {"age": frame["age"] * 1.0, "sqrt_cd4": np.sqrt(frame["cd40"]), "karnof": frame["karnof"] * 1.0}
    coef, se, fit = cox_by_site(x, frame["days"], frame["cens"], site)
    same_coefficients(ran["results"]["cox"], coef, se)
    same_statistic(ran["results"]["cox"]["loglik"], fit.log_likelihood_)


def test_visits_to_a_doctor(tmp_path: Path) -> None:
    frame = randhie()
    columns = {
        "mdvis": number(0, 100),
        "lncoins": number(0, 5),
        "idp": number(0, 1),
        "lpi": number(0, 8),
        "disea": number(0, 60),
        "plan": category("free", "some", "most"),
    }
    frame = frame.assign(plan=pd.cut(frame["lncoins"], [-1, 0, 4, 9], labels=["free", "some", "most"]).astype(str))
    terms = ["idp", "lpi", "disea", "plan", "lpi:idp"]
    draft = Draft(
        frame,
        columns,
        {"id": "poisson", "kind": "poisson", "outcome": "mdvis", "covariates": terms, "reference": {"plan": "some"}},
        {"id": "ols", "kind": "linear", "outcome": "log_visits", "covariates": terms},
        {"id": "any", "kind": "logistic", "outcome": "any_visit", "covariates": ["lpi", "disea"]},
        parties={"north": "CN", "south": "CN", "east": "SG", "west": "SG"},
        grade=PUBLIC,
        kind="parquet",
        derive=[
            {"name": "log_visits", "of": "mdvis", "fn": "log1p"},
            {"name": "any_visit", "of": "mdvis", "fn": "cut", "edges": [-math.inf, 0, math.inf], "labels": ["0", "1+"]},
        ],
    ).header(protocol={"prefer": ["masked-sum"]})
    joint = results(draft, tmp_path / "s")
    frame = frame.assign(y=np.log1p(frame["mdvis"]), seen=(frame["mdvis"] > 0) * 1.0)

    formula = "idp + lpi + disea + C(plan, levels=['some', 'free', 'most']) + lpi:idp"
    poisson = smf.glm(f"mdvis ~ {formula}", frame, family=sm.families.Poisson()).fit(tol=1e-14, maxiter=100)
    names = [name.replace("C(plan, levels=['some', 'free', 'most'])", "plan") for name in poisson.params.index]
    same_coefficients(
        joint["poisson"], dict(zip(names, poisson.params, strict=True)), dict(zip(names, poisson.bse, strict=True))
    )
    formula = "idp + lpi + disea + C(plan, levels=['free', 'some', 'most']) + lpi:idp"
    ols = smf.ols(f"y ~ {formula}", frame).fit()
    names = [name.replace("C(plan, levels=['free', 'some', 'most'])", "plan") for name in ols.params.index]
    same_coefficients(joint["ols"], dict(zip(names, ols.params, strict=True)), dict(zip(names, ols.bse, strict=True)))
    logit = smf.logit("seen ~ lpi + disea", frame).fit(disp=False, tol=1e-14)
    same_coefficients(joint["any"], dict(logit.params), dict(logit.bse))
