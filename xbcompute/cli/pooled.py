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

GROUPS = ("no", "yes")
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


class PooledGbsg2:
    """All rows of the study folder in one table, with the fits that need no result of the joint run.

    Raises:
        InputError: ``extra.examples``, lifelines is not installed.
    """

    def __init__(self, folder: StudyFolder) -> None:
        try:
            from lifelines import CoxPHFitter, KaplanMeierFitter
        except ImportError:
            raise InputError(
                "extra.examples",
                "the pooled truth needs lifelines, which is not installed.",
                todo='Install it with: pip install "xbcompute[examples]".',
            ) from None
        self._rows = _rows(folder)
        self._curves = {}
        for group in GROUPS:
            here = self._rows[self._rows["horTh"] == group]
            exact = KaplanMeierFitter().fit(here["time"], here["cens"]).survival_function_
            self._curves[group] = (tuple(map(float, exact.index)), tuple(map(float, exact.iloc[:, 0])))
        design = _design(self._rows)
        self._cox = CoxPHFitter().fit(design, "time", "cens", strata=["party"], fit_options=PRECISION)

    def at(self, ends: list[float]) -> Pooled:
        """The whole truth, with survival and log-rank test on intervals that end at ``ends``."""
        from lifelines import KaplanMeierFitter
        from lifelines.statistics import logrank_test

        grid = np.asarray(ends, dtype=np.float64)
        merged = grid[np.searchsorted(grid, self._rows["time"].to_numpy(dtype=np.float64))]
        happened = self._rows["cens"].to_numpy()
        member = {group: (self._rows["horTh"] == group).to_numpy() for group in GROUPS}
        survival = {}
        for group, here in member.items():
            fit = KaplanMeierFitter().fit(merged[here], happened[here])
            survival[group] = tuple(float(value) for value in fit.survival_function_at_times(grid))
        one, other = member.values()
        test = logrank_test(merged[one], merged[other], happened[one], happened[other])
        return Pooled(
            survival=survival,
            logrank=float(test.test_statistic),
            logrank_p=float(test.p_value),
            coef={str(name): float(value) for name, value in self._cox.params_.items()},
            se={str(name): float(value) for name, value in self._cox.standard_errors_.items()},
            curves=self._curves,
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
