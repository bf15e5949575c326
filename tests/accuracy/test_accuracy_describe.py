"""Descriptions over four holders against pandas on the pooled rows."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.support.closeness import same_statistic
from tests.support.federated import Way, federation, run
from tests.support.frames import ACTG175, GBSG2, actg175, chosen, gbsg2
from xbcompute.analyses import build
from xbcompute.core.schema import Column, Limits
from xbcompute.specs.analysis import Describe

RULES = Limits(cell_min=10, cell_scope="pooled")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
CASES: dict[str, tuple[pd.DataFrame, dict[str, Column], str]] = {
    "gbsg2": (gbsg2(), chosen(GBSG2, "horTh", "age", "tsize", "pnodes", "progrec", "tgrade", "menostat"), "horTh"),
    "actg175": (actg175(), chosen(ACTG175, "arms", "age", "wtkg", "cd40", "cd496", "gender"), "arms"),
}


@pytest.mark.parametrize("way", ["exact", "fixed", "masked"])
@pytest.mark.parametrize("case", CASES)
def test_describe_equals_the_pooled_description(case: str, way: Way) -> None:
    frame, columns, by = CASES[case]
    complete = frame[list(columns)].dropna()
    names = tuple(name for name in columns if name != by)
    fed = federation(frame, columns, limits=RULES)
    spec = Describe(id="d", kind="describe", columns=names, by=by, quantiles=QUANTILES)
    result = run(build(spec, fed.schema), fed, way=way).result
    assert (result["n"], result["n_dropped"]) == (len(complete), len(frame) - len(complete))
    assert result["suppressed"] == []
    for group, part in complete.groupby(by):
        for name in names:
            ours = result[str(group)][name]
            assert ours["n"] == len(part)
            if columns[name].type == "category":
                assert ours["levels"] == {level: int((part[name] == level).sum()) for level in columns[name].levels}
                continue
            same_statistic(ours["mean"], part[name].mean())
            same_statistic(ours["sd"], part[name].std())
            lower, upper = columns[name].lower, columns[name].upper
            assert lower is not None
            assert upper is not None
            for q in QUANTILES:
                # Interpolated from bins: within the merged bin, which is wide only where rows are sparse.
                assert abs(ours["quantiles"][str(q)] - part[name].quantile(q)) <= (upper - lower) * 0.05
