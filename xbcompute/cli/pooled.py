"""What lifelines gives on all rows in one table: the truth that the demonstration stands beside.

A simulation can do this because it has every hospital's file; the hospitals themselves never could.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xbcompute.core.errors import InputError
from xbcompute.specs.load import StudyFolder

if TYPE_CHECKING:
    import pandas as pd

PRECISION = {"precision": 1e-14, "r_precision": 1e-14}
"""lifelines stops at the looser of the two: with r_precision as it comes, 1e-7 short of the maximum on these data."""


@dataclass(frozen=True)
class Pooled:
    """``survival`` by group at the merged times, ``logrank`` and its p, ``coef`` and ``se`` by coefficient.

    ``curves`` are times and survival at exact days, for comparison in a figure.
    """

    survival: Mapping[str, tuple[float, ...]]
    logrank: float
    logrank_p: float
    coef: Mapping[str, float]
    se: Mapping[str, float]
    curves: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]

    def body(self) -> dict[str, Any]:
        """For ``--json``; the exact curves are left out."""
        return {
            "km": {
                "survival": {group: list(values) for group, values in self.survival.items()},
                "logrank": {"statistic": self.logrank, "p": self.logrank_p},
            },
            "cox": {"coef": dict(self.coef), "se": dict(self.se)},
        }


def pooled_gbsg2(folder: StudyFolder, ends: list[float]) -> Pooled:
    """Kaplan–Meier at the ends of the merged intervals, log-rank, and a Cox fit stratified by hospital.

    Raises:
        InputError: ``extra.examples``, lifelines is not installed.
    """
    try:
        from lifelines import CoxPHFitter, KaplanMeierFitter
        from lifelines.statistics import logrank_test
    except ImportError:
        raise InputError(
            "extra.examples",
            "the pooled truth needs lifelines, which is not installed.",
            todo='Install it with: pip install "xbcompute[examples]".',
        ) from None
    rows = _rows(folder)
    grid = np.asarray(ends, dtype=np.float64)
    merged = grid[np.searchsorted(grid, rows["time"].to_numpy(dtype=np.float64))]
    survival, curves = {}, {}
    for group in ("no", "yes"):
        here = (rows["horTh"] == group).to_numpy()
        fit = KaplanMeierFitter().fit(merged[here], rows["cens"][here])
        survival[group] = tuple(float(value) for value in fit.survival_function_at_times(grid))
        exact = KaplanMeierFitter().fit(rows["time"][here], rows["cens"][here]).survival_function_
        curves[group] = (tuple(map(float, exact.index)), tuple(map(float, exact.iloc[:, 0])))
    treated = (rows["horTh"] == "yes").to_numpy()
    test = logrank_test(merged[treated], merged[~treated], rows["cens"][treated], rows["cens"][~treated])
    cox = CoxPHFitter().fit(_design(rows), "time", "cens", strata=["party"], fit_options=PRECISION)
    return Pooled(
        survival=survival,
        logrank=float(test.test_statistic),
        logrank_p=float(test.p_value),
        coef={str(name): float(value) for name, value in cox.params_.items()},
        se={str(name): float(value) for name, value in cox.standard_errors_.items()},
        curves=curves,
    )


def _rows(folder: StudyFolder) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for holder in folder.federation.holders():
        part = pd.read_csv(folder.site_dirs[holder.id] / folder.dataset(holder.id).source, keep_default_na=False)
        parts.append(part.assign(party=str(holder.id)))
    return pd.concat(parts, ignore_index=True)


def _design(rows: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    treated = (rows["horTh"] == "yes").astype(float)
    return pd.DataFrame(
        {
            "horTh[T.yes]": treated,
            "age": rows["age"],
            "tsize": rows["tsize"],
            "tgrade[T.II]": (rows["tgrade"] == "II").astype(float),
            "tgrade[T.III]": (rows["tgrade"] == "III").astype(float),
            "log_nodes": np.log1p(rows["pnodes"]),
            "age:horTh[T.yes]": rows["age"] * treated,
            "time": rows["time"],
            "cens": rows["cens"],
            "party": rows["party"],
        }
    )
