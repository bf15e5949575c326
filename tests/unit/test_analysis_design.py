"""Design matrices: names, coding and order of patsy, public bounds, the way back from the [−1, 1] scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import patsy
import pytest

from tests.support.federated import category, codes, generator, number
from xbcompute.analyses.design import build_design
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column

COLUMNS = {
    "age": number("age", 18, 100),
    "size": number("size", -3, 120),
    "flat": number("flat", 2, 2),
    "free": Column("free", "number"),
    "note": Column("note", "text"),
    "horTh": category("horTh", "no", "yes"),
    "tgrade": category("tgrade", "I", "II", "III"),
    "single": category("single", "only"),
}
RNG = generator(5)
FRAME = pd.DataFrame(
    {
        "age": RNG.uniform(18, 100, 60),
        "size": RNG.uniform(-3, 120, 60),
        "horTh": RNG.choice(["no", "yes"], 60),
        "tgrade": RNG.choice(["I", "II", "III"], 60),
    }
)
BATCH = {name: codes(FRAME[name], COLUMNS[name]) for name in ("age", "size", "horTh", "tgrade")}


@pytest.mark.parametrize(
    "terms",
    [
        ["age", "horTh", "tgrade", "size"],
        ["horTh", "age", "age:horTh"],
        ["horTh", "age", "horTh:age"],
        ["horTh", "age:horTh"],
        ["age", "age:horTh"],
        ["horTh:age", "tgrade:age"],
        ["horTh:age", "age"],
        ["tgrade:age:horTh", "age:horTh", "age:tgrade"],
        ["age", "size", "age:size"],
        ["age:size"],
        ["horTh", "tgrade", "horTh:tgrade"],
        ["horTh", "horTh:tgrade"],
        ["tgrade", "horTh:tgrade"],
        ["age", "tgrade", "horTh", "age:tgrade", "age:horTh", "tgrade:horTh", "age:tgrade:horTh"],
        ["age", "size", "age:size:tgrade", "age:size"],
    ],
)
def test_names_and_values_are_patsys(terms: list[str]) -> None:
    ours = build_design(terms, COLUMNS)
    theirs = patsy.dmatrix(" + ".join(terms), FRAME, return_type="dataframe")
    assert sorted(("Intercept", *ours.names)) == sorted(theirs.columns)
    matrix = ours.matrix(BATCH)
    for index, name in enumerate(ours.names):
        np.testing.assert_allclose(matrix[:, index], theirs[name], rtol=1e-15)


def test_the_documented_names() -> None:
    design = build_design(["horTh", "age", "tgrade", "age:horTh"], COLUMNS, {"tgrade": "II"})
    assert design.names == ("horTh[T.yes]", "age", "tgrade[T.I]", "tgrade[T.III]", "age:horTh[T.yes]")
    assert design.categories == (("horTh",), ("tgrade",))


def test_scaled_columns_stay_within_one_and_reach_it_at_their_bounds() -> None:
    design = build_design(["age", "size", "age:size", "size:horTh", "horTh"], COLUMNS)
    assert np.abs(design.scaled(BATCH)).max() <= 1
    corners = {
        "age": np.array([18.0, 100.0, 100.0, 18.0]),
        "size": np.array([-3.0, 120.0, -3.0, 120.0]),
        "horTh": np.array([0, 1, 1, 1], dtype=np.int32),
    }
    z = design.scaled(corners)
    np.testing.assert_allclose(z.min(axis=0), -1)
    np.testing.assert_allclose(z.max(axis=0), 1)


def test_a_fit_comes_back_to_the_columns_own_units() -> None:
    design = build_design(["age", "size", "horTh", "age:horTh"], COLUMNS)
    y = RNG.normal(size=60)
    z = np.column_stack([np.ones(60), design.scaled(BATCH)])
    x = np.column_stack([np.ones(60), design.matrix(BATCH)])
    coef, cov = design.restore(np.linalg.lstsq(z, y)[0], np.linalg.inv(z.T @ z))
    np.testing.assert_allclose(coef, np.linalg.lstsq(x, y)[0], rtol=1e-9)
    np.testing.assert_allclose(cov, np.linalg.inv(x.T @ x), rtol=1e-8)
    slopes, cov_slopes = design.restore(np.ones(4), np.eye(4))
    np.testing.assert_allclose(slopes, 1 / design.half)
    np.testing.assert_allclose(cov_slopes, np.diag(1 / design.half**2))


@pytest.mark.parametrize(
    ("terms", "reference", "code", "named"),
    [
        (["weight"], {}, "design.column", "weight"),
        (["note"], {}, "design.column", "note"),
        (["flat"], {}, "design.bounds", "flat"),
        (["free"], {}, "design.bounds", "free"),
        (["single"], {}, "design.levels", "single"),
        (["age", "age"], {}, "design.duplicate", "age"),
        (["age:age"], {}, "design.duplicate", "age:age"),
        (["age", "size", "age:size", "size:age"], {}, "design.duplicate", "size:age"),
        (["horTh"], {"horTh": "maybe"}, "design.reference", "horTh"),
        (["horTh"], {"tgrade": "I"}, "design.reference", "tgrade"),
        (["age"], {"age": "18"}, "design.reference", "age"),
        (["horTh:tgrade"], {}, "design.margin", "horTh:tgrade"),
    ],
)
def test_bad_terms_are_refused_by_name(terms: list[str], reference: dict[str, str], code: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        build_design(terms, COLUMNS, reference)
    assert caught.value.code == code
    assert named in caught.value.text


@pytest.mark.parametrize("bad", [17.9, 100.1, np.nan])
def test_a_value_outside_its_bounds_is_refused_without_being_shown(bad: float) -> None:
    design = build_design(["age"], COLUMNS)
    with pytest.raises(InputError, match="column age") as caught:
        design.scaled({"age": np.array([50.0, bad])})
    assert caught.value.code == "design.value"
    assert str(bad) not in str(caught.value)


def test_the_leftmost_category_varies_fastest() -> None:
    names = build_design(["horTh", "horTh:tgrade"], COLUMNS).names[1:]
    assert names == (
        "horTh[no]:tgrade[T.II]",
        "horTh[yes]:tgrade[T.II]",
        "horTh[no]:tgrade[T.III]",
        "horTh[yes]:tgrade[T.III]",
    )
