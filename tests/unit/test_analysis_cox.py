"""Cox models over holders: sites of every kind, what is opened within which bounds, and fits that are impossible."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import category, federation, generator, number, run
from tests.support.survival import cox_spec
from xbcompute.analyses import cox
from xbcompute.analyses.cox import Cox
from xbcompute.analyses.cox_state import CoxState
from xbcompute.analyses.cox_tests import LogTime, heterogeneity, proportional_hazards, site_score
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits, Schema
from xbcompute.engines.base import Done, Iterative
from xbcompute.engines.contribution import checked

COLUMNS = {
    "time": number("time", 0, 100),
    "event": number("event", 0, 1),
    "x": number("x", -5, 5),
    "y": number("y", 0, 1000),
    "arm": category("arm", "a", "b", "c"),
    "ward": category("ward", "north", "south"),
}


def _frame(rows: int = 240, seed: int = 1) -> pd.DataFrame:
    rng = generator(seed)
    x, y = rng.normal(size=rows).clip(-5, 5), rng.uniform(0, 1000, rows)
    arm = rng.choice(["a", "b", "c"], rows)
    rate = np.exp(0.5 * x - 0.001 * y + 0.4 * (arm == "c"))
    time = np.ceil(rng.exponential(20 / rate)).clip(1, 100)
    event = (rng.random(rows) < 0.8).astype(float)
    ward = rng.choice(["north", "south"], rows)
    return pd.DataFrame({"time": time, "event": event, "x": x, "y": y, "arm": arm, "ward": ward})


FRAME = _frame()


def _fit(frame: pd.DataFrame, *covariates: str, owner: Any = None, **keys: Any) -> dict[str, Any]:
    holders = federation(frame, COLUMNS, owner=owner)
    return dict(run(Cox(cox_spec(covariates or ("x", "y", "arm"), **keys), holders.schema), holders).result)


def _error(frame: pd.DataFrame, *covariates: str, **keys: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        _fit(frame, *covariates, **keys)
    assert caught.value.todo
    return caught.value


def test_it_is_an_iterative_analysis_and_its_result_is_json() -> None:
    holders = federation(FRAME, COLUMNS)
    assert isinstance(Cox(cox_spec(("x",)), holders.schema), Iterative)
    result = _fit(FRAME)
    assert json.loads(dumps(result)) == result
    assert result["names"] == ["x", "y", "arm[T.b]", "arm[T.c]"]
    assert (result["kind"], result["baseline"], result["ties"]) == ("cox", "site", "efron")
    assert result["converged"] and result["suppressed"] == [] and result["notes"] == []
    assert list(result["ph_test"]) == result["names"]
    assert result["heterogeneity"]["df"] == 3 * len(result["names"])
    assert result["n"] == len(FRAME) and result["events"] == int(FRAME["event"].sum())


def test_every_contribution_is_within_its_public_bounds_and_bounds_follow_the_state() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x", "y", "arm")), holders.schema)
    start = analysis.start(holders.schema)
    for beta in (start.beta, np.array([20.0, -20.0, 20.0, 20.0])):
        for stage in ("null", "newton", "final"):
            state = replace(start, stage=stage, beta=beta, timed=1, mean_log_time=-2.0)
            layout = analysis.layout(state)
            for rows in holders.rows:
                checked(layout, analysis.local(rows, state))
    wide = analysis.layout(replace(start, beta=np.full(4, 20.0)))
    assert wide["loglik"].bound > analysis.layout(start)["loglik"].bound
    assert wide["gradient"] == analysis.layout(start)["gradient"]


def test_what_is_opened_is_what_it_says_it_reveals() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x", "arm")), holders.schema)
    ran = run(analysis, holders)
    says = analysis.reveals()
    named = {part for opened in (*says.once, *says.each_round) for part in opened.name.split(", ")}
    arrays = {name.split("/")[0] for layout, _ in ran.opened for name in layout}
    assert arrays == named
    assert len(ran.opened) <= says.rounds_max
    middle = {name for layout, _ in ran.opened[1:-1] for name in layout}
    assert middle == {opened.name for opened in says.each_round}
    assert all(opened.zh and opened.en for opened in (*says.once, *says.each_round))


def test_sites_with_one_event_no_event_and_no_rows_count_for_what_they_know() -> None:
    owner = np.zeros(len(FRAME), dtype=int)
    owner[:2] = 1
    owner[2:12] = 2
    frame = FRAME.copy()
    frame.loc[0, "event"] = 1.0
    frame.loc[1, "event"] = 0.0
    frame.loc[2:11, "event"] = 0.0
    ours = _fit(frame, owner=owner)
    alone = _fit(frame[owner < 2].reset_index(drop=True), owner=owner[owner < 2])
    for name in ours["names"]:
        assert ours["coef"][name] == pytest.approx(alone["coef"][name], rel=1e-9)
    assert ours["n"] == alone["n"] + 10
    # The one event tells something only if the other row of its site is still at risk.
    both_at_risk = bool(frame["time"].iloc[0] <= frame["time"].iloc[1])
    assert (ours["heterogeneity"] is None) != both_at_risk


def test_a_column_that_is_constant_at_one_site_is_fine() -> None:
    owner = np.arange(len(FRAME)) % 4
    frame = FRAME.copy()
    frame.loc[owner == 1, "x"] = 2.0
    frame.loc[owner == 2, "arm"] = "b"
    result = _fit(frame, owner=owner)
    assert result["converged"]
    assert result["heterogeneity"]["df"] == 4 + 3 + 2 + 4 - 4


def test_one_holder_alone_has_no_heterogeneity_and_says_so() -> None:
    result = _fit(FRAME, owner=np.zeros(len(FRAME), dtype=int))
    assert result["heterogeneity"] is None
    assert any("heterogeneity" in note for note in result["notes"])


def test_events_at_time_zero_leave_out_the_ph_test_and_nothing_else() -> None:
    frame = FRAME.copy()
    frame.loc[3, ["time", "event"]] = [0.0, 1.0]
    result = _fit(frame)
    assert result["ph_test"] is None
    assert any("proportional hazards" in note for note in result["notes"])
    later = frame.copy()
    later.loc[3, "time"] = 0.5
    assert result["coef"] == pytest.approx(_fit(later)["coef"], rel=1e-12)


def test_all_events_at_one_time_leave_out_the_ph_test() -> None:
    frame = FRAME.copy()
    frame.loc[frame["event"] == 1, "time"] = 7.0
    result = _fit(frame, "x")
    assert result["ph_test"] is None and result["converged"]


def test_dropped_rows_are_counted() -> None:
    frame = FRAME.copy()
    frame.loc[[1, 5, 8], "x"] = np.nan
    result = _fit(frame)
    assert (result["n"], result["n_dropped"]) == (len(frame) - 3, 3)


def test_strata_are_baselines_of_their_own() -> None:
    ours = _fit(FRAME, "x", strata=("ward",))
    owner = (np.arange(len(FRAME)) % 4) * 2 + (FRAME["ward"] == "south").to_numpy()
    parties = tuple(f"sg-{index}" for index in range(8))
    holders = federation(FRAME, COLUMNS, owner=owner, parties=parties)
    apart = run(Cox(cox_spec(("x",)), holders.schema), holders).result
    assert ours["coef"]["x"] == pytest.approx(apart["coef"]["x"], rel=1e-10)
    assert ours["loglik"] == pytest.approx(apart["loglik"], rel=1e-12)


def test_wide_bounds_do_not_move_the_estimates_until_they_are_too_wide() -> None:
    near = _fit(FRAME, "x", "arm")
    holders = federation(FRAME, COLUMNS | {"x": number("x", -30, 30)})
    far = run(Cox(cox_spec(("x", "arm")), holders.schema), holders, way="fixed").result
    assert far["coef"]["x"] == pytest.approx(near["coef"]["x"], rel=1e-9)
    # On [−1, 1] the coefficient is a hundred times the one in the column's own unit, past what is evaluated.
    holders = federation(FRAME, COLUMNS | {"x": number("x", -100, 100)})
    with pytest.raises(InputError, match="column x") as caught:
        run(Cox(cox_spec(("x", "arm")), holders.schema), holders)
    assert "bounds" in caught.value.todo


# What cannot be fitted


def test_collinear_columns_are_named() -> None:
    frame = FRAME.copy()
    frame["y"] = (frame["x"] + 5) * 100
    error = _error(frame, "x", "y")
    assert error.code == "model.collinear"
    assert "x" in error.text and "y" in error.text


def test_a_constant_column_is_named() -> None:
    error = _error(FRAME.assign(y=3.0), "x", "y")
    assert error.code == "model.constant"
    assert "column y" in error.text


def test_a_level_without_rows_is_named() -> None:
    error = _error(FRAME.assign(arm=FRAME["arm"].replace("c", "a")))
    assert error.code == "model.empty_level"
    assert "arm[c]" in error.text


def test_a_level_without_events_is_named() -> None:
    frame = FRAME.copy()
    frame.loc[frame["arm"] == "b", "event"] = 0.0
    error = _error(frame)
    assert error.code == "model.separable"
    assert "arm[b]" in error.text


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_a_number_that_orders_the_times_has_no_estimate_and_is_named(direction: float) -> None:
    frame = FRAME.copy()
    frame["time"] = frame["time"].rank(method="first").clip(1, 100)
    frame = frame[frame["time"] < 100].reset_index(drop=True)
    frame["x"] = direction * (frame["time"] - 50) / 10
    error = _error(frame, "x", "y")
    assert error.code == "cox.monotone"
    assert "column x" in error.text


def test_a_level_of_those_who_die_last_has_no_estimate_and_is_named() -> None:
    frame = FRAME.copy()
    last = frame["arm"] == "c"
    frame["time"] = frame["time"].clip(1, 45) + 50 * last
    frame["event"] = 1.0
    error = _error(frame, "x", "arm")
    assert error.code == "cox.monotone"
    assert "arm[T.c]" in error.text


def test_no_events_is_an_error() -> None:
    error = _error(FRAME.assign(event=0.0))
    assert error.code == "cox.no_events"
    assert "event" in error.text


def test_no_convergence_in_the_allowed_steps_names_the_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cox, "ITERATIONS_MAX", 2)
    error = _error(FRAME, "x")
    assert error.code == "cox.iterations"
    assert "column x" in error.text


def test_a_step_that_lowers_the_likelihood_is_halved() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x",)), holders.schema)
    start = analysis.start(holders.schema)
    far = replace(
        start, stage="newton", iteration=3, beta=np.array([8.0]), beta_last=np.array([0.0]), loglik_last=-900.0,
        precision_null=np.ones(1), n=240, events=190,
    )  # fmt: skip
    total = {"loglik": np.array(-950.0), "gradient": np.array([-3.0]), "information": np.array([5.0])}
    state = analysis.combine(total, far)
    assert isinstance(state, CoxState)
    assert state.beta.tolist() == [4.0] and state.beta_last.tolist() == [0.0]
    assert (state.loglik_last, state.iteration, state.stage) == (-900.0, 4, "newton")


def test_a_step_past_the_bound_is_halved_until_it_is_inside() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x",)), holders.schema)
    start = analysis.start(holders.schema)
    at = replace(start, stage="newton", loglik_last=-900.0, precision_null=np.ones(1), n=240, events=190)
    total = {"loglik": np.array(-890.0), "gradient": np.array([60.0]), "information": np.array([2.0])}
    state = analysis.combine(total, at)
    assert isinstance(state, CoxState)
    assert state.beta.tolist() == [15.0]
    with pytest.raises(InputError, match="column x"):
        analysis.combine(total, replace(at, beta=np.array([19.9]), beta_last=np.array([19.0])))


def test_a_site_far_from_the_joint_fit_overflows_into_a_note() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x",)), holders.schema)
    ran = run(analysis, holders)
    last = ran.opened[-1][1]
    assert int(last["far_site"]) == 0
    state = replace(
        analysis.start(holders.schema), stage="final", loglik_last=-1e9, precision_null=np.ones(1), n=240, events=190,
    )  # fmt: skip
    done = analysis.combine(dict(last) | {"far_site": np.array(1), "gradient": np.zeros(1)}, state)
    assert isinstance(done, Done)
    assert done.result["heterogeneity"] is None
    assert any("further" in note for note in done.result["notes"])


@pytest.mark.parametrize(
    ("keys", "code", "word"),
    [
        ({"strata": ("x",)}, "cox.strata", "x"),
        ({"strata": ("nowhere",)}, "design.column", "nowhere"),
        ({"covariates": ("x", "time")}, "design.outcome", "time"),
        ({"covariates": ("x", "x:event")}, "design.outcome", "event"),
        ({"covariates": ("nowhere",)}, "design.column", "nowhere"),
        ({"event": "ward3"}, "survival.event_value", "ward3"),
        ({"reference": {"arm": "z"}}, "design.reference", "arm"),
    ],
)
def test_wrong_keys_are_named_before_anything_is_opened(keys: dict[str, Any], code: str, word: str) -> None:
    schema = COLUMNS | {"ward3": category("ward3", "north", "south", "east")}
    with pytest.raises(InputError, match=word) as caught:
        Cox(cox_spec(**{"covariates": ("x", "arm")} | keys), Schema(schema, (), Limits()))
    assert caught.value.code == code


def test_several_rows_a_subject_are_refused() -> None:
    with pytest.raises(InputError, match="one row a subject"):
        Cox(cox_spec(("x",)), Schema(COLUMNS, (), Limits(), subjects="many"))


def test_a_shared_baseline_says_the_rule_it_breaks() -> None:
    holders = federation(FRAME, COLUMNS, limits=Limits(cell_min=10, cell_scope="pooled", model_rules=False))
    with pytest.raises(RefusedError, match="every interval") as caught:
        run(Cox(cox_spec(("x",), baseline="shared", unit=1.0), holders.schema), holders)
    assert caught.value.code == "cox.shared"
    assert "site" in caught.value.todo


def test_a_shared_baseline_opens_fewer_numbers_of_an_interval_than_people_in_it() -> None:
    frame = FRAME.assign(event=1.0)
    holders = federation(frame, COLUMNS, limits=Limits(cell_min=10, cell_scope="pooled"))
    with pytest.raises(RefusedError) as caught:
        run(Cox(cox_spec(("x", "y", "arm"), baseline="shared", unit=25.0), holders.schema), holders)
    assert caught.value.code == "cox.shared_scalars"


@pytest.mark.parametrize("unit", [None, 1e-4])
def test_a_shared_baseline_needs_a_unit_that_fits(unit: float | None) -> None:
    with pytest.raises(InputError, match="unit") as caught:
        Cox(cox_spec(("x",), baseline="shared", unit=unit), Schema(COLUMNS, (), Limits()))
    assert caught.value.code == "cox.unit"


def test_a_shared_baseline_reveals_what_it_says() -> None:
    holders = federation(FRAME, COLUMNS)
    analysis = Cox(cox_spec(("x", "arm"), baseline="shared", unit=10.0), holders.schema)
    ran = run(analysis, holders)
    says = analysis.reveals()
    named = {part for opened in (*says.once, *says.each_round) for part in opened.name.split(", ")}
    assert {name.split("/")[0] for layout, _ in ran.opened for name in layout} == named
    assert {name for layout, _ in ran.opened[2:-1] for name in layout} == {"sums"}
    assert len(ran.opened) <= says.rounds_max


# The sums of the tests


def test_log_times_are_public_in_range() -> None:
    declared = LogTime.of_bounds(10.0, 1000.0)
    assert declared.floor == 10.0
    assert declared.width == pytest.approx(np.log(100))
    open_below = LogTime.of_bounds(None, 1000.0)
    assert open_below.usable(np.array([0.0, 1e-7, 1e-5, 1000.0])).tolist() == [False, False, True, True]
    assert -open_below.width <= open_below(np.array([1e-6]))[0] <= 0.0
    assert LogTime.of_bounds(1.0, 1.5).width == 1.0


def test_a_sites_score_is_taken_where_the_site_has_information() -> None:
    g, information = np.array([1.0, 2.0, 0.0]), np.diag([2.0, 4.0, 0.0])
    score, rank = site_score(g, information, 10)
    assert (score, rank) == (0.5 + 1.0, 2)
    score, rank = site_score(np.array([3.0, 3.0]), np.array([[1.0, 1.0], [1.0, 1.0]]), 10)
    assert rank == 1
    assert score == pytest.approx(9.0)
    assert site_score(np.zeros(2), np.zeros((2, 2)), 0) == (0.0, 0)


def test_heterogeneity_needs_more_information_than_one_fit_uses() -> None:
    assert heterogeneity(3.0, 4, 4) is None
    found = heterogeneity(3.0, 6, 4)
    assert found is not None and (found["df"], found["i2"]) == (2, pytest.approx(1 / 3))
    even = heterogeneity(1.0, 6, 4)
    assert even is not None and even["i2"] == 0.0


def test_no_spread_of_times_no_test() -> None:
    assert proportional_hazards(["x"], np.ones(1), np.eye(1), 1e-16, 5) is None
    assert proportional_hazards(["x"], np.ones(1), np.eye(1), 1.0, 5) is not None
