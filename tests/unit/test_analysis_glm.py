"""Regressions refuse what they cannot fit or may not open, by name; the registry; what a fit opens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import OPEN, category, federation, generator, number, run
from xbcompute.analyses import BUILT, build
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Column, Limits, Schema
from xbcompute.engines.base import Iterative
from xbcompute.specs.analysis import AnalysisSpec, Correlation, Linear, Logistic, Poisson

RULES = Limits(cell_min=10, cell_scope="pooled")
COLUMNS = {
    "x": number("x", -4, 4),
    "w": number("w", -10, 10),
    "one": number("one", 0, 2),
    "g": category("g", "a", "b", "c"),
    "h": category("h", "no", "yes"),
    "y": number("y", 0, 1),
    "m": number("m", -50, 50),
    "k": number("k", 0, 40),
}


def frame(n: int = 240) -> pd.DataFrame:
    random = generator(11)
    x = random.normal(size=n).clip(-3.5, 3.5)
    data = pd.DataFrame(
        {
            "x": x,
            "w": random.normal(size=n).clip(-3, 3),
            "one": np.ones(n),
            "g": random.choice(["a", "b", "c"], n),
            "h": random.choice(["no", "yes"], n),
        }
    )
    data["y"] = (random.uniform(size=n) < 1 / (1 + np.exp(-0.5 * x))).astype(float)
    data["m"] = x + random.normal(size=n)
    data["k"] = random.poisson(np.exp(0.3 * x)).clip(0, 40).astype(float)
    return data


def spec(kind: str, *covariates: str, **keys: Any) -> AnalysisSpec:
    model: type[Linear | Logistic | Poisson] = {"linear": Linear, "logistic": Logistic, "poisson": Poisson}[kind]  # type: ignore[assignment]
    outcome = {"linear": "m", "logistic": "y", "poisson": "k"}[kind]
    return model.model_validate({"id": "a", "kind": kind, "outcome": outcome, "covariates": covariates} | keys)


def fit(data: pd.DataFrame, asked: AnalysisSpec, limits: Limits = OPEN, columns: dict[str, Column] = COLUMNS) -> Any:
    needed = {name: columns[name] for name in asked.columns_used()}
    fed = federation(data, needed, limits=limits)
    return run(build(asked, fed.schema), fed, way="fixed")


def refusal(
    data: pd.DataFrame, asked: AnalysisSpec, limits: Limits = OPEN, columns: dict[str, Column] = COLUMNS
) -> str:
    with pytest.raises((InputError, RefusedError)) as caught:
        fit(data, asked, limits, columns)
    return f"{caught.value.code}: {caught.value.text}"


def test_every_built_kind_is_an_iterative_and_others_say_what_is_built() -> None:
    schema = federation(frame(), COLUMNS).schema
    for kind in ("linear", "logistic", "poisson"):
        assert isinstance(build(spec(kind, "x"), schema), Iterative)
        assert kind in BUILT
    with pytest.raises(InputError) as caught:
        build(Correlation(id="c", kind="correlation", columns=("x", "w")), schema)
    assert caught.value.code == "analysis.unavailable"


@pytest.mark.parametrize("kind", ["linear", "logistic", "poisson"])
class TestAnyRegression:
    def test_collinear_columns_are_named(self, kind: str) -> None:
        data = frame().assign(w=lambda d: 2 * d["x"] + 1)
        text = refusal(data, spec(kind, "x", "g", "w"))
        assert text.startswith("model.collinear")
        assert "w" in text
        assert "x" in text
        assert "g[" not in text

    def test_a_column_that_is_the_sum_of_indicators_is_collinear(self, kind: str) -> None:
        data = frame().assign(one=lambda d: (d["g"] != "a").astype(float))
        text = refusal(data, spec(kind, "g", "one"))
        assert text.startswith("model.collinear")
        assert "one" in text

    def test_a_constant_column_is_named(self, kind: str) -> None:
        assert refusal(frame(), spec(kind, "x", "one")).startswith("model.constant: column one")

    def test_a_level_without_rows_is_named(self, kind: str) -> None:
        data = frame().assign(g=lambda d: d["g"].replace("b", "a"))
        assert refusal(data, spec(kind, "x", "g")).startswith("model.empty_level: column g")

    def test_a_joint_level_without_rows_is_named(self, kind: str) -> None:
        data = frame()
        data.loc[(data["g"] == "c") & (data["h"] == "yes"), "h"] = "no"
        assert refusal(data, spec(kind, "g", "h", "g:h")).startswith("model.empty_level: column g:h")

    def test_a_value_out_of_bounds_stops_before_anything_is_summed(self, kind: str) -> None:
        data = frame()
        data.loc[3, "x"] = 4.5
        assert refusal(data, spec(kind, "x")).startswith("design.value: column x")

    def test_too_few_rows_for_the_coefficients(self, kind: str) -> None:
        data = frame(3).assign(y=[0.0, 1.0, 1.0], k=[0.0, 1.0, 2.0])
        assert refusal(data, spec(kind, "x", "w")).startswith("model.rows")

    def test_the_outcome_is_no_covariate(self, kind: str) -> None:
        outcome = {"linear": "m", "logistic": "y", "poisson": "k"}[kind]
        assert refusal(frame(), spec(kind, "x", outcome)).startswith("design.outcome")

    def test_dropped_rows_below_the_minimum_cell_are_withheld(self, kind: str) -> None:
        data = frame()
        data.loc[:4, "x"] = np.nan
        assert fit(data, spec(kind, "x"), OPEN).result["n_dropped"] == 5
        withheld = fit(data, spec(kind, "x"), RULES).result
        assert withheld["n_dropped"] is None
        assert "n_dropped" in withheld["suppressed"]
        assert withheld["cell_scope"] == "pooled"

    def test_nothing_opened_is_larger_than_the_model(self, kind: str) -> None:
        done = fit(frame(), spec(kind, "x", "g"))
        q = 4
        for layout, _ in done.opened:
            for name, array in layout.items():
                assert array.size <= q * (q + 1) // 2, name
                assert array.role in ("model", "cells")


def test_an_outcome_of_one_value() -> None:
    assert refusal(frame().assign(y=1.0), spec("logistic", "x")).startswith("model.constant: outcome y")
    assert refusal(frame().assign(m=2.0), spec("linear", "x")).startswith("model.constant: outcome m")
    assert refusal(frame().assign(k=0.0), spec("poisson", "x")).startswith("model.constant: outcome k")


def test_an_outcome_with_other_values() -> None:
    data = frame()
    data.loc[5, "y"] = 0.5
    assert refusal(data, spec("logistic", "x")).startswith("outcome.value: outcome y")
    data.loc[5, "k"] = 1.5
    assert refusal(data, spec("poisson", "x")).startswith("outcome.value: outcome k")


def test_a_linear_outcome_that_the_columns_determine_is_exact() -> None:
    data = frame().assign(m=lambda d: 3 * d["x"])
    text = refusal(data, spec("linear", "x"))
    assert text.startswith("model.exact: outcome m")


def test_a_level_with_one_value_of_the_outcome_is_separable() -> None:
    data = frame()
    data.loc[data["g"] == "c", "y"] = 1.0
    assert refusal(data, spec("logistic", "x", "g")).startswith("model.separable: column g")


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_a_number_that_separates_the_outcome_is_named(gap: float) -> None:
    data = frame().assign(x=lambda d: d["x"] + np.sign(d["x"]) * gap, y=lambda d: (d["x"] > 0).astype(float))
    assert refusal(data, spec("logistic", "w", "x")).startswith("model.separable: column x")


def test_counts_that_are_zero_on_one_side_have_no_estimate() -> None:
    data = frame().assign(k=lambda d: np.where(d["g"] == "c", 0.0, d["k"]))
    text = refusal(data, spec("poisson", "x", "g"))
    assert text.split(":")[0] in ("model.separable", "model.no_convergence")
    assert "g[T.c]" in text


def test_which_value_counts_as_one() -> None:
    data, columns = frame(), dict(COLUMNS)
    base = fit(data, spec("logistic", "x")).result
    assert base["positive"] == 1
    turned = fit(data, spec("logistic", "x", positive=0)).result
    assert turned["coef"]["x"] == pytest.approx(-base["coef"]["x"], rel=1e-9)
    columns["y"] = number("y", 1, 2)
    shifted = fit(data.assign(y=data["y"] + 1), spec("logistic", "x", positive=2), columns=columns).result
    assert shifted["coef"] == base["coef"]
    columns["y"] = category("y", "alive", "dead")
    named = fit(
        data.assign(y=data["y"].map({0.0: "alive", 1.0: "dead"})), spec("logistic", "x"), columns=columns
    ).result
    assert named["positive"] == "dead"
    assert named["coef"] == base["coef"]
    assert refusal(data, spec("logistic", "x", positive="dead")).startswith("outcome.positive")
    columns["y"] = category("y", "alive", "dead", "lost")
    schema = Schema(columns, federation(data, COLUMNS).schema.holders, OPEN)
    with pytest.raises(InputError) as caught:
        build(spec("logistic", "x"), schema)
    assert caught.value.code == "outcome.positive"


@pytest.mark.parametrize(
    ("kind", "keys", "code"),
    [
        ("linear", {"outcome": "g"}, "outcome.column"),
        ("poisson", {"outcome": "m"}, "outcome.column"),
        ("linear", {"exposure": "one"}, "design.offset"),
        ("poisson", {"exposure": "one"}, "design.offset"),
        ("poisson", {"offset": "g"}, "design.offset"),
        ("logistic", {"covariates": ("nowhere",)}, "design.column"),
    ],
)
def test_columns_that_do_not_fit_their_part(kind: str, keys: dict[str, Any], code: str) -> None:
    schema = federation(frame(), COLUMNS).schema
    with pytest.raises(InputError) as caught:
        build(spec(kind, "x", **keys), schema)
    assert caught.value.code == code


def test_a_reference_changes_the_contrasts_and_not_the_fit() -> None:
    first, second = (
        fit(frame(), spec("logistic", "x", "g", reference=reference)).result for reference in ({}, {"g": "b"})
    )
    assert second["names"] == ["Intercept", "x", "g[T.a]", "g[T.c]"]
    assert second["loglik"] == pytest.approx(first["loglik"], rel=1e-12)
    assert second["coef"]["g[T.a]"] == pytest.approx(-first["coef"]["g[T.b]"], rel=1e-9)


def test_several_rows_a_subject_are_said_and_counted() -> None:
    data = frame().assign(pid=lambda d: d.index // 2)
    columns = {name: COLUMNS[name] for name in ("x", "g", "y")}
    owner = (data["pid"] % 4).to_numpy()
    fed = federation(data, columns, subject="pid", owner=owner)
    done = run(build(spec("logistic", "x", "g"), fed.schema), fed)
    assert (done.result["n"], done.result["subjects"]) == (240, 120)
    cells = done.opened[0][1]["cells/y"]
    assert cells.tolist() == data.groupby("y")["pid"].nunique().tolist()
    assert any("independent" in note for note in done.result["notes"])
    one = run(build(spec("logistic", "x", "g"), federation(data, columns).schema), federation(data, columns))
    assert done.result["coef"]["x"] == pytest.approx(one.result["coef"]["x"], rel=1e-10)


def test_a_holder_without_rows_takes_part() -> None:
    data, asked = frame(), spec("logistic", "x", "g")
    columns = {name: COLUMNS[name] for name in asked.columns_used()}
    fed = federation(data, columns, owner=np.arange(len(data)) % 3)
    assert fed.rows[3].n == 0
    done = run(build(asked, fed.schema), fed)
    assert done.result["coef"]["x"] == pytest.approx(fit(data, asked).result["coef"]["x"], rel=1e-10)


def test_ratios_and_intervals_hang_together() -> None:
    result = fit(frame(), spec("logistic", "x", "g", ci_level=0.9)).result
    assert result["ci_level"] == 0.9
    for name in result["names"]:
        assert result["ci_lower"][name] < result["coef"][name] < result["ci_upper"][name]
        assert result["exp_coef"][name] == pytest.approx(np.exp(result["coef"][name]))
        assert result["z"][name] == pytest.approx(result["coef"][name] / result["se"][name])
    assert np.sqrt(np.diag(result["cov"])) == pytest.approx([result["se"][name] for name in result["names"]])
    assert result["converged"] is True


def test_what_a_fit_reveals_is_said_in_both_languages() -> None:
    schema = federation(frame(), COLUMNS).schema
    for kind in ("linear", "logistic", "poisson"):
        leakage = build(spec(kind, "x", robust="hc1"), schema).reveals()
        opened = (*leakage.once, *leakage.each_round)
        assert {"counts", "cells", "sums", "meat"} <= {item.name for item in opened}
        assert all(item.en and item.zh for item in opened)


def test_fewer_rows_than_three_a_coefficient_are_refused_pooled_and_at_each_holder() -> None:
    assert refusal(frame(60), spec("linear", "x", "w", "g", "h"), RULES).startswith("model.rows_holder")
    data, asked = frame(60), spec("linear", "x", "w", "h")
    fed = federation(data, {name: COLUMNS[name] for name in asked.columns_used()}, limits=RULES, parties=("cn-1",))
    assert run(build(asked, fed.schema), fed).result["df_resid"] == 56
    few = federation(data[:13], dict(fed.schema.columns), limits=RULES, parties=("cn-1",))
    with pytest.raises(RefusedError) as caught:
        run(build(asked, few.schema), few)
    assert caught.value.code == "model.size"


def test_a_level_by_outcome_cell_below_the_minimum_is_refused_and_ten_is_not() -> None:
    data = frame(400).assign(h="no")
    for count, allowed in ((9, False), (10, True)):
        rare = data.copy()
        for value in (0.0, 1.0):
            rare.loc[rare.index[rare["y"] == value][: count if value else 40], "h"] = "yes"
        if allowed:
            assert fit(rare, spec("logistic", "x", "h"), RULES).result["converged"]
        else:
            assert refusal(rare, spec("logistic", "x", "h"), RULES).startswith("model.cells: column h")
            assert fit(rare, spec("logistic", "x", "h"), OPEN).result["converged"]
