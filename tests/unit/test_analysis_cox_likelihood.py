"""The partial likelihood against its definition, and at its edges."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.federated import generator
from tests.support.survival import partial_likelihood_by_definition
from xbcompute.analyses import cox_likelihood
from xbcompute.analyses.cox_likelihood import PREDICTOR_MAX, SurvivalBatch, Ties, partial_likelihood
from xbcompute.core.errors import InputError

RNG = generator(11)
ROWS = 300
TIME = np.sort(RNG.integers(1, 40, ROWS).astype(float))[::-1].copy()
EVENT = RNG.random(ROWS) < 0.6
Z = RNG.uniform(-1, 1, (ROWS, 3))
STRATUM = RNG.integers(0, 3, ROWS)
BETA = np.array([0.7, -1.2, 0.3])


def _batches(sizes: list[int], *, strata: bool = True) -> Iterator[SurvivalBatch]:
    for rows in np.split(np.arange(ROWS), np.cumsum(sizes)):
        yield SurvivalBatch(TIME[rows], EVENT[rows], Z[rows], STRATUM[rows] if strata else None)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_it_is_the_definition_with_any_cut_into_batches(ties: Ties) -> None:
    loglik, gradient, information, parts = partial_likelihood_by_definition(TIME, EVENT, Z, STRATUM, BETA, ties)
    weighted = sum(np.sqrt(moment) * part for moment, part in parts)
    for sizes in ([], [1] * 40, [7, 100, 3], [ROWS - 1], [0, 150, 0]):
        sums = partial_likelihood(_batches(sizes), BETA, ties=ties, transform=np.sqrt)
        assert sums.loglik == pytest.approx(loglik, rel=1e-13)
        np.testing.assert_allclose(sums.gradient, gradient, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(sums.information, information, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(sums.weighted, weighted, rtol=1e-11, atol=1e-10)


def test_blocks_smaller_than_a_time_do_not_part_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = partial_likelihood(_batches([]), BETA, ties="efron")
    monkeypatch.setattr(cox_likelihood, "_BLOCK", 3)
    small = partial_likelihood(_batches([]), BETA, ties="efron")
    assert small.loglik == pytest.approx(whole.loglik, rel=1e-13)
    np.testing.assert_allclose(small.information, whole.information, rtol=1e-12)


def test_no_rows_no_events_and_one_row_add_nothing() -> None:
    empty = partial_likelihood([], BETA, ties="efron")
    unseen = partial_likelihood([SurvivalBatch(TIME, np.zeros(ROWS, dtype=bool), Z)], BETA, ties="efron")
    single = partial_likelihood([SurvivalBatch(TIME[:1], np.ones(1, dtype=bool), Z[:1])], BETA, ties="efron")
    for sums in (empty, unseen, single):
        assert sums.loglik == pytest.approx(0.0, abs=1e-15)
        assert not sums.gradient.any() and not sums.information.any()


def test_far_predictors_stay_finite_and_right() -> None:
    beta = np.array([PREDICTOR_MAX / 2, -PREDICTOR_MAX / 4, PREDICTOR_MAX / 4])
    sums = partial_likelihood(_batches([90], strata=False), beta, ties="efron")
    eta = Z @ beta
    expected = 0.0
    for moment in np.unique(TIME[EVENT]):
        died = (moment == TIME) & EVENT
        top = eta[moment <= TIME].max()
        w = np.exp(eta - top)
        for step in range(int(died.sum())):
            expected -= top + float(np.log((w * ((moment <= TIME) - step / died.sum() * died)).sum()))
        expected += float(eta[died].sum())
    assert sums.loglik == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(sums.information).all() and np.isfinite(sums.gradient).all()


def test_everyone_dying_at_once_keeps_its_digits() -> None:
    rows = 2000
    z: NDArray[np.float64] = generator(3).uniform(-1, 1, (rows, 1))
    sums = partial_likelihood([SurvivalBatch(np.ones(rows), np.ones(rows, dtype=bool), z)], BETA[:1], ties="efron")
    w = np.exp(z[:, 0] * BETA[0])
    left = 1 - np.arange(rows) / rows
    assert sums.loglik == pytest.approx(float((z[:, 0] * BETA[0]).sum() - np.log(left * w.sum()).sum()), rel=1e-13)
    mean = w @ z[:, 0] / w.sum()
    assert sums.information[0, 0] == pytest.approx(rows * (w @ z[:, 0] ** 2 / w.sum() - mean**2), rel=1e-11)


def test_columns_with_little_spread_within_their_bounds_keep_their_digits() -> None:
    narrow = 0.9 + 1e-6 * Z
    sums = partial_likelihood([SurvivalBatch(TIME, EVENT, narrow)], np.zeros(3), ties="breslow")
    plain = partial_likelihood([SurvivalBatch(TIME, EVENT, Z)], np.zeros(3), ties="breslow")
    np.testing.assert_allclose(sums.information * 1e12, plain.information, rtol=1e-8, atol=1e-8)


def test_rows_in_another_order_are_refused() -> None:
    with pytest.raises(InputError, match="largest time first") as caught:
        partial_likelihood([SurvivalBatch(TIME[::-1], EVENT, Z)], BETA, ties="efron")
    assert caught.value.code == "cox.order"
    ascending = [SurvivalBatch(TIME[200:], EVENT[200:], Z[200:]), SurvivalBatch(TIME[:200], EVENT[:200], Z[:200])]
    with pytest.raises(InputError, match="largest time first"):
        partial_likelihood(ascending, BETA, ties="efron")


@pytest.mark.parametrize("wrong", [PREDICTOR_MAX, np.nan])
def test_a_predictor_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(InputError, match="range") as caught:
        partial_likelihood(_batches([]), np.array([wrong, 1.0, 0.0]), ties="efron")
    assert caught.value.code == "cox.predictor"
