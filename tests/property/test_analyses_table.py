"""Tables of any counts over any split: exact, and nothing below the minimum cell is shown or can be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.support.federated import category, federation, generator, run
from xbcompute.analyses import build
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits
from xbcompute.specs.analysis import Table

shapes = st.tuples(st.integers(2, 4), st.integers(2, 4))


@settings(deadline=None, max_examples=40)
@given(st.data(), shapes, st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_any_table(data: Any, shape: tuple[int, int], cell_min: int, seed: int) -> None:
    counts = np.array(
        data.draw(st.lists(st.integers(0, 40), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    )
    table = counts.reshape(shape)
    columns = {"r": category("r", *"abcd"[: shape[0]]), "c": category("c", *"wxyz"[: shape[1]])}
    rows = [("abcd"[i], "wxyz"[j]) for i in range(shape[0]) for j in range(shape[1]) for _ in range(table[i, j])]
    frame = pd.DataFrame(rows, columns=["r", "c"])
    owner = generator(seed).integers(0, 4, len(frame))
    fed = federation(frame, columns, owner=owner, limits=Limits(cell_min=cell_min, cell_scope="pooled"))
    try:
        result = run(build(Table(id="t", kind="table", rows="r", columns="c"), fed.schema), fed, way="fixed").result
    except InputError as error:
        assert error.code == "table.empty_level"
        assert not (table.any(axis=0).all() and table.any(axis=1).all())
        return
    except RefusedError as error:
        assert error.code == "disclosure.table"
        assert ((table > 0) & (table < cell_min)).any()
        return
    assert result["n"] == table.sum()
    for (i, j), value in np.ndenumerate(table):
        shown = result["counts"][i][j]
        assert shown in (None, value)
        assert shown is None or shown == 0 or shown >= cell_min
    hidden = any(cell is None for line in result["counts"] for cell in line)
    assert hidden == ((table > 0) & (table < cell_min)).any()
    assert ("chi2" in result) == (not hidden)
    if not hidden:
        theirs = stats.chi2_contingency(table, correction=False)
        np.testing.assert_allclose(result["chi2"]["statistic"], theirs.statistic, rtol=1e-9, atol=1e-9)
