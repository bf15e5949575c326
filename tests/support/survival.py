"""Slow references for analyses of survival, and data to compare on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lifelines
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tests.support.federated import category, number
from xbcompute.core.schema import Column
from xbcompute.specs.analysis import Cox, KaplanMeier

DATASETS = Path(lifelines.__file__).parent / "datasets"


def cox_spec(covariates: tuple[str, ...], time: str = "time", event: str = "event", **keys: Any) -> Cox:
    """A ``[[analysis]]`` table of kind cox."""
    return Cox(id="cox", kind="cox", time=time, event=event, covariates=covariates, **keys)


def km_spec(**keys: Any) -> KaplanMeier:
    """A ``[[analysis]]`` table of kind kaplan_meier."""
    return KaplanMeier(**{"id": "km", "kind": "kaplan_meier", "time": "time", "event": "event"} | keys)


def gbsg2() -> tuple[pd.DataFrame, dict[str, Column]]:
    """The German Breast Cancer Study with a column ``log_nodes``; bounds as the example declares them."""
    frame = pd.read_csv(DATASETS / "gbsg2.csv").assign(log_nodes=lambda d: np.log1p(d["pnodes"]))
    columns = [
        number("time", 0, 3000),
        number("cens", 0, 1),
        category("horTh", "no", "yes"),
        number("age", 18, 100),
        number("tsize", 0, 200),
        category("tgrade", "I", "II", "III"),
        number("log_nodes", 0, 5),
    ]
    return frame, {column.name: column for column in columns}


def lung() -> tuple[pd.DataFrame, dict[str, Column], NDArray[np.int64]]:
    """NCCTG lung cancer; institutions grouped into four sites; some values are missing."""
    frame = pd.read_csv(DATASETS / "lung.csv").dropna(subset=["inst"]).reset_index(drop=True)
    frame = frame.assign(sex=frame["sex"].map({1: "male", 2: "female"}), event=frame["status"])
    columns = [
        number("time", 1, 1100),
        number("event", 0, 1),
        category("sex", "male", "female"),
        number("age", 18, 100),
        number("ph.ecog", 0, 5),
        number("wt.loss", -50, 100),
    ]
    site = pd.qcut(frame["inst"], 4, labels=False).to_numpy(dtype=np.int64)
    return frame, {column.name: column for column in columns}, site


def actg175() -> tuple[pd.DataFrame, dict[str, Column]]:
    """AIDS Clinical Trials Group study 175."""
    frame = pd.read_csv(DATASETS / "ACTG175.csv")
    frame = frame.assign(
        arms=frame["arms"].map({0: "zdv", 1: "zdv+ddi", 2: "zdv+zal", 3: "ddi"}),
        symptom=frame["symptom"].map({0: "no", 1: "yes"}),
        history=frame["strat"].map({1: "naive", 2: "short", 3: "long"}),
        cens=frame["cens"].map({0: "censored", 1: "failed"}),
    )
    columns = [
        number("days", 1, 1500),
        category("cens", "censored", "failed"),
        category("arms", "zdv", "zdv+ddi", "zdv+zal", "ddi"),
        category("symptom", "no", "yes"),
        category("history", "naive", "short", "long"),
        number("age", 10, 90),
        number("cd40", 0, 1500),
        number("karnof", 0, 100),
    ]
    return frame, {column.name: column for column in columns}


def partial_likelihood_by_definition(
    time: NDArray[Any],
    event: NDArray[Any],
    z: NDArray[Any],
    stratum: NDArray[Any],
    beta: NDArray[Any],
    ties: str,
) -> tuple[float, NDArray[Any], NDArray[Any], list[tuple[float, NDArray[Any]]]]:
    """Log-likelihood, gradient, information, and (time, its part of the gradient): every sum over every risk set."""
    size = beta.size
    loglik, gradient, information = 0.0, np.zeros(size), np.zeros((size, size))
    parts = []
    weight = np.exp(z @ beta)
    event = event.astype(bool)
    for code in np.unique(stratum):
        for moment in np.unique(time[(stratum == code) & event]):
            at_risk = (stratum == code) & (time >= moment)
            died = (stratum == code) & (time == moment) & event
            part = z[died].sum(axis=0)
            loglik += float((z[died] @ beta).sum())
            for step in range(int(died.sum())):
                share = step / died.sum() if ties == "efron" else 0.0
                w = weight * (at_risk - share * died)
                mean = w @ z / w.sum()
                loglik -= float(np.log(w.sum()))
                part = part - mean
                information += (z.T * w) @ z / w.sum() - np.outer(mean, mean)
            gradient += part
            parts.append((float(moment), part))
    return loglik, gradient, information, parts
