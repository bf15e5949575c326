"""Tables over four holders against pandas and scipy on the pooled rows."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from tests.support.closeness import same_statistic
from tests.support.federated import Way, federation, run
from tests.support.frames import ACTG175, GBSG2, actg175, chosen, gbsg2
from xbcompute.analyses import build
from xbcompute.core.schema import Column, Limits
from xbcompute.specs.analysis import Table

CASES: dict[str, tuple[pd.DataFrame, dict[str, Column]]] = {
    "gbsg2": (gbsg2(), chosen(GBSG2, "tgrade", "horTh")),
    "actg175": (actg175(), chosen(ACTG175, "gender", "arms")),
}


@pytest.mark.parametrize("way", ["exact", "clear", "masked"])
@pytest.mark.parametrize("case", CASES)
def test_table_equals_the_pooled_table(case: str, way: Way) -> None:
    frame, columns = CASES[case]
    rows, across = columns
    fed = federation(frame, columns, limits=Limits(cell_min=10, cell_scope="pooled"))
    result = run(build(Table(id="t", kind="table", rows=rows, columns=across), fed.schema), fed, way=way).result
    pooled = pd.crosstab(frame[rows], frame[across])
    assert result["counts"] == pooled.to_numpy().tolist()
    theirs = stats.chi2_contingency(pooled, correction=False)
    same_statistic(result["chi2"]["statistic"], theirs.statistic)
    assert result["chi2"]["df"] == theirs.dof
    assert result["chi2"]["p"] == pytest.approx(theirs.pvalue, rel=1e-8)
