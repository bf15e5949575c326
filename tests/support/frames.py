"""Public example data as frames, with the columns a holder would declare."""

from __future__ import annotations

from functools import cache
from importlib import resources

import pandas as pd
import statsmodels.api as sm
from lifelines.datasets import load_gbsg2

from tests.support.federated import category, number
from xbcompute.core.schema import Column


@cache
def gbsg2() -> pd.DataFrame:
    """German Breast Cancer Study, 686 patients."""
    frame: pd.DataFrame = load_gbsg2()
    return frame.astype({"cens": "float64"})


GBSG2: dict[str, Column] = {
    "horTh": category("horTh", "no", "yes"),
    "age": number("age", 18, 100),
    "menostat": category("menostat", "Pre", "Post"),
    "tsize": number("tsize", 0, 200),
    "tgrade": category("tgrade", "I", "II", "III"),
    "pnodes": number("pnodes", 0, 60),
    "progrec": number("progrec", 0, 3000),
    "estrec": number("estrec", 0, 2000),
    "time": number("time", 0, 3000),
    "cens": number("cens", 0, 1),
}


@cache
def actg175() -> pd.DataFrame:
    """AIDS Clinical Trials Group Study 175, 2139 patients; ``cd496`` is missing for 797 of them."""
    frame = pd.read_csv(str(resources.files("lifelines") / "datasets" / "ACTG175.csv"), index_col=0)
    return frame.assign(arms="arm" + frame["arms"].astype(str), gender=frame["gender"].map({0: "female", 1: "male"}))


ACTG175: dict[str, Column] = {
    "age": number("age", 10, 90),
    "wtkg": number("wtkg", 20, 200),
    "karnof": number("karnof", 0, 100),
    "preanti": number("preanti", 0, 5000),
    "gender": category("gender", "female", "male"),
    "drugs": number("drugs", 0, 1),
    "cd40": number("cd40", 0, 2000),
    "cd420": number("cd420", 0, 2000),
    "cd496": number("cd496", 0, 2000),
    "cd80": number("cd80", 0, 10_000),
    "arms": category("arms", "arm0", "arm1", "arm2", "arm3"),
    "cens": number("cens", 0, 1),
}


@cache
def randhie() -> pd.DataFrame:
    """RAND health insurance experiment, 20,190 rows: visits to a doctor."""
    frame: pd.DataFrame = sm.datasets.randhie.load_pandas().data
    return frame.assign(seen=(frame["mdvis"] > 0).astype(float), years=1 + frame.index.to_numpy() % 4)


RANDHIE: dict[str, Column] = {
    "mdvis": number("mdvis", 0, 100),
    "seen": number("seen", 0, 1),
    "years": number("years", 1, 4),
    "lncoins": number("lncoins", 0, 5),
    "idp": number("idp", 0, 1),
    "lpi": number("lpi", 0, 8),
    "fmde": number("fmde", 0, 9),
    "physlm": number("physlm", 0, 1),
    "disea": number("disea", 0, 60),
    "hlthg": number("hlthg", 0, 1),
    "hlthf": number("hlthf", 0, 1),
    "hlthp": number("hlthp", 0, 1),
}


def chosen(columns: dict[str, Column], *names: str) -> dict[str, Column]:
    """The columns called ``names``."""
    return {name: columns[name] for name in names}
