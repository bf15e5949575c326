"""Joint fits over running nodes, timed from Submit, and the fits users know on the pooled rows."""

from __future__ import annotations

import json
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.rows import COVARIATES, LEAD, Pooled, study_text
from xbcompute.client.session import followed
from xbcompute.client.study import Study
from xbcompute.core.parties import PartyId
from xbcompute.simulate import Simulation
from xbcompute.specs.study import parse_study


@dataclass(frozen=True)
class Fit:
    """Coefficients in the order of the covariates; seconds from Submit to the first round and to the release."""

    coef: NDArray[np.float64]
    first_round: float
    seconds: float
    prepare: float
    rounds: int


def joint_fit(nodes: Simulation, analysis: str, card: str) -> Fit:
    """One study from Submit to release, its rows read and its approvals signed beforehand.

    Raises:
        AssertionError: policy chose another card than the one to be timed.
    """
    study = Study(parse_study(tomllib.loads(study_text(analysis, card)), "study.toml"))
    begun = time.perf_counter()
    decision = nodes.explain(study)
    prepare = time.perf_counter() - begun
    if decision["protocol"] != card:
        raise AssertionError(f"policy chose {decision['protocol']}, not {card}: {decision}")
    marks: dict[str, float] = {}
    rounds = 0

    def note(event: Mapping[str, Any]) -> None:
        nonlocal rounds
        marks.setdefault(event["state"], time.perf_counter())
        rounds = max(rounds, event.get("round", 0))

    begun = time.perf_counter()
    caller = nodes.nodes.callers[PartyId(LEAD)]
    session = followed(caller, study, note)
    coef = json.loads(caller.results(session))["results"]["fit"]["coef"]
    return Fit(
        coef=np.array([coef[name] for name in COVARIATES]),
        first_round=marks["running"] - begun,
        seconds=marks["released"] - begun,
        prepare=prepare,
        rounds=rounds,
    )


def lifelines_cox(rows: Pooled) -> tuple[NDArray[np.float64], float]:
    """lifelines' fit of the same model: Efron ties, a baseline for each party; coefficients and seconds."""
    import pandas as pd
    from lifelines import CoxPHFitter

    frame = pd.DataFrame(rows.covariates, columns=list(COVARIATES))
    frame["day"], frame["event"], frame["party"] = rows.day, rows.event, rows.party
    fitter = CoxPHFitter()
    begun = time.perf_counter()
    fitter.fit(frame, "day", "event", strata=["party"])
    seconds = time.perf_counter() - begun
    return fitter.params_[list(COVARIATES)].to_numpy(), seconds


def statsmodels_logit(rows: Pooled) -> tuple[NDArray[np.float64], float]:
    """statsmodels' fit of the same model; coefficients and seconds."""
    from statsmodels.api import Logit, add_constant

    begun = time.perf_counter()
    fit = Logit(rows.outcome, add_constant(rows.covariates)).fit(disp=0)
    return np.asarray(fit.params)[1:], time.perf_counter() - begun
