"""Descriptions of any frame over any split: the pooled numbers, or withheld where a group is small."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.federated import category, federation, generator, number, run
from xbcompute.analyses import build
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits
from xbcompute.specs.analysis import Describe


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(20, 300),
    st.integers(-6, 6),
    st.sampled_from([0.0, 1.0, -1000.0]),
    st.sampled_from([(0.4, 0.3, 0.3), (0.6, 0.37, 0.03), (1.0, 0.0, 0.0)]),
    st.integers(0, 15),
    st.sampled_from(["exact", "fixed"]),
)
def test_any_frame(
    seed: int, n: int, power: int, shift: float, shares: tuple[float, float, float], missing: int, way: str
) -> None:
    random = generator(seed)
    scale = 10.0**power
    frame = pd.DataFrame(
        {"x": scale * (random.uniform(-1, 1, n) + shift), "g": random.choice(["a", "b", "c"], n, p=shares)}
    )
    frame.loc[random.choice(n, missing, replace=False), "x"] = np.nan
    low, high = sorted((scale * (shift - 1.5), scale * (shift + 1.5)))
    columns = {"x": number("x", low, high), "g": category("g", "a", "b", "c")}
    fed = federation(frame, columns, owner=random.integers(0, 4, n), limits=Limits(cell_min=10, cell_scope="pooled"))
    spec = Describe(id="d", kind="describe", columns=("x",), by="g", quantiles=(0.1, 0.5))
    complete = frame.dropna()
    try:
        result = run(build(spec, fed.schema), fed, way=way).result  # type: ignore[arg-type]
    except InputError as error:
        assert error.code == "table.empty_level"
        assert complete["g"].nunique() < 3
        return
    except RefusedError as error:
        # Few rows at a holder: one may dominate the sum of a non-negative column, or no group can be withheld with.
        assert error.code in ("disclosure.dominance", "disclosure.table")
        return
    assert result["n"] == len(complete)
    for group, part in complete.groupby("g"):
        ours = result[str(group)]["x"]
        if ours["n"] is None:
            assert ours["mean"] is ours["sd"] is ours["quantiles"]["0.5"] is None
            continue
        assert ours["n"] == len(part) >= 10
        spread = part["x"].std()
        assert abs(ours["mean"] - part["x"].mean()) <= 1e-8 * max(abs(part["x"].mean()), spread)
        assert abs(ours["sd"] - spread) <= 1e-8 * spread
        assert low <= ours["quantiles"]["0.1"] <= ours["quantiles"]["0.5"] <= high
