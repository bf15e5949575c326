"""Fixed point on Z/2^64: scales, halves, bounds that do not fit, totals that cannot be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xbcompute.core.arrays import ArraySpec, Layout
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.engines import fixed_point


@pytest.mark.parametrize(
    ("bound", "n", "bits"),
    [
        (1.0, 1, 61),
        (1.0, 2, 60),
        (1.0, 3, 60),
        (1.0, 4, 59),
        (0.999, 4, 60),
        (2.0**57, 3, 3),
        (2.0**60, 3, 0),
        (0.0, 3, 1000),
        (5e-324, 3, 1000),
    ],
)
def test_fraction_bits(bound: float, n: int, bits: int) -> None:
    assert fixed_point.fraction_bits(ArraySpec((1,), bound), n) == bits
    assert fixed_point.fraction_bits(ArraySpec((1,), bound, integer=True), n) == 0


@pytest.mark.parametrize("bound", [2.0**61, math.nextafter(2.0**62 / 3, math.inf), 1e300])
def test_a_bound_that_does_not_fit_is_an_error_that_names_array_and_bound(bound: float) -> None:
    layout = {"fine": ArraySpec((1,), 1.0), "wide": ArraySpec((1,), bound)}
    with pytest.raises(
        InputError, match=f"array wide: a bound of {bound:g} summed over 3".replace("+", "[+]")
    ) as caught:
        fixed_point.encode(layout, {"fine": np.ones(1), "wide": np.ones(1)}, 3)
    assert caught.value.code == "fixed_point.bound"


def test_whole_numbers_whose_sum_does_not_fit() -> None:
    spec = ArraySpec((1,), 2.0**61, integer=True)
    fixed_point.check({"n": spec}, 3)
    with pytest.raises(InputError, match="array n"):
        fixed_point.check({"n": spec}, 4)


def test_halves_go_to_even_and_the_rest_to_the_nearest() -> None:
    layout: Layout = {"x": ArraySpec((7,), 2.0**60)}  # scale 1 for three parties
    words = fixed_point.encode(layout, {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.501, -(2.0**60)])}, 3)
    assert words.view(np.int64).tolist() == [0, 2, 2, 0, -2, 1, -(2**60)]
    assert fixed_point.max_abs_error(layout["x"], 3) == 1.5 + 3 * 2.0**60 * 2.0**-53


def test_sums_at_the_bound_do_not_wrap_and_come_back_exactly() -> None:
    layout: Layout = {
        "x": ArraySpec((2,), 2.0**62 / 3 / (1 + 2**-20)),
        "n": ArraySpec((2,), 2.0**61, integer=True),
        "s": ArraySpec((), 0.1),
    }
    x = layout["x"].bound
    mine = {"x": np.array([x, -x]), "n": np.array([2**61, -(2**61)]), "s": np.array(0.1)}
    total = 3 * fixed_point.encode(layout, mine, 3)
    opened = fixed_point.decode(layout, total, 3)
    assert opened["n"].tolist() == [3 * 2**61, -3 * 2**61]
    assert np.abs(opened["x"] - [3 * x, -3 * x]).max() <= fixed_point.max_abs_error(layout["x"], 3)
    assert opened["s"].shape == ()
    assert abs(float(opened["s"]) - 0.3) < 1e-15


def test_arrays_lie_one_after_another_in_row_major_order() -> None:
    layout: Layout = {"b": ArraySpec((2, 2), 9, integer=True), "a": ArraySpec((1,), 9, integer=True)}
    columns_first = np.asfortranarray(np.array([[1, 2], [3, 4]]))
    assert fixed_point.encode(layout, {"a": np.array([5]), "b": columns_first}, 3).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("integer", "excess"), [(True, 31), (False, None)])
def test_a_total_that_no_honest_contributions_make(integer: bool, excess: int | None) -> None:
    layout: Layout = {"x": ArraySpec((1,), 10.0, integer=integer)}
    largest = 30 if integer else 3 * round(10.0 * 2 ** fixed_point.fraction_bits(layout["x"], 3))
    for sign in (1, -1):
        fixed_point.decode(layout, np.array([sign * largest]).view(np.uint64), 3)
        with pytest.raises(IntegrityError, match="array x") as caught:
            fixed_point.decode(layout, np.array([sign * (excess or largest + 1)]).view(np.uint64), 3)
        assert caught.value.code == "fixed_point.total"


def test_integer_sums_have_no_error_and_others_name_theirs() -> None:
    assert fixed_point.max_abs_error(ArraySpec((), 1e9, integer=True), 5) == 0.0
    assert fixed_point.max_abs_error(ArraySpec((), 1.0), 4) == 4 * 2.0**-60 + 4 * 2.0**-53
