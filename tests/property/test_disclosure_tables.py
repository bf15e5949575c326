"""Suppression, merging and differencing keep their promises on random counts, by brute force where that is possible."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from xbcompute.core.errors import RefusedError
from xbcompute.disclosure.cells import Protection, extended, protect, unsafe_entries
from xbcompute.disclosure.differencing import difference_up_to
from xbcompute.disclosure.survival import merge_intervals, merged_counts

FEW = settings(max_examples=40, deadline=None)
FEWER = settings(max_examples=15, deadline=None)
"""For linear programs."""
counts_2d = arrays(np.int64, st.tuples(st.integers(2, 4), st.integers(2, 4)), elements=st.integers(0, 40))
tiny_2d = arrays(np.int64, st.tuples(st.just(2), st.integers(2, 3)), elements=st.integers(0, 6))


def hidden_of(found: Protection) -> NDArray[np.bool_]:
    top = np.concatenate([found.cells, found.rows[:, None]], axis=1)
    bottom = np.concatenate([found.columns, [False]])
    return np.concatenate([top, bottom[None, :]])


@FEWER
@given(counts=counts_2d, cell_min=st.sampled_from([2, 5, 10]))
def test_no_small_entry_is_shown_and_none_can_be_worked_out(counts: NDArray[np.int64], cell_min: int) -> None:
    try:
        found = protect(counts, cell_min)
    except RefusedError:
        assume(False)
        raise
    whole, hidden = extended(counts), hidden_of(found)
    assert not ((whole > 0) & (whole < cell_min) & ~hidden).any()
    assert unsafe_entries(whole, hidden, cell_min) == []
    if not ((whole > 0) & (whole < cell_min)).any():
        assert not hidden.any()
    assert (protect(counts, cell_min).cells == found.cells).all()


@FEWER
@given(counts=tiny_2d)
def test_every_table_that_fits_what_is_shown_is_counted(counts: NDArray[np.int64]) -> None:
    """All whole-number tables are enumerated: a withheld small cell takes values on both sides, cell_min wide."""
    cell_min = 3
    try:
        found = protect(counts, cell_min)
    except RefusedError:
        assume(False)
        raise
    whole, hidden = extended(counts), hidden_of(found)
    most = int(counts.sum())
    free = [tuple(place) for place in np.argwhere(found.cells)]
    assume(len(free) <= 4 and most <= 14)
    seen: dict[tuple[int, ...], set[int]] = {place: set() for place in free}
    for values in product(range(most + 1), repeat=len(free)):
        other = counts.copy()
        for place, value in zip(free, values, strict=True):
            other[place] = value
        if (extended(other)[~hidden] == whole[~hidden]).all():
            for place, value in zip(free, values, strict=True):
                seen[place].add(value)
    for place, values_seen in seen.items():
        assert max(values_seen) - min(values_seen) >= cell_min
        if 0 < counts[place] < cell_min:
            assert min(values_seen) < counts[place] < max(values_seen)


curves = st.integers(1, 3).flatmap(
    lambda g: st.integers(1, 12).flatmap(
        lambda t: st.tuples(*[arrays(np.int64, (t, g), elements=st.integers(0, 15)) for _ in range(2)])
    )
)


@FEW
@given(curves=curves, cell_min=st.integers(2, 10))
def test_merged_intervals_show_no_few(curves: tuple[NDArray[np.int64], NDArray[np.int64]], cell_min: int) -> None:
    events, censored = curves
    try:
        ends = merge_intervals(events, censored, cell_min)
    except RefusedError:
        died, left = events.sum(axis=0), censored.sum(axis=0)
        assert (died < cell_min).any() or ((left > 0) & (left < cell_min)).any()
        return
    assert ends[-1] == len(events) - 1
    assert (np.diff(ends) > 0).all()
    died, left = merged_counts(events, ends), merged_counts(censored, ends)
    assert died.sum() == events.sum()
    assert left.sum() == censored.sum()
    assert (died >= cell_min).all()
    assert ((left == 0) | (left >= cell_min)).all()


people = st.sets(st.integers(0, 300), max_size=200)


def digests(members: set[int]) -> NDArray[np.bytes_]:
    # Low bytes first: many digests end in NUL bytes, which numpy drops from single items.
    return np.sort(np.array([m.to_bytes(2, "big") + bytes(14) for m in members], dtype="S16"))


@FEW
@given(a=people, changes=st.sets(st.integers(0, 300), max_size=12), limit=st.integers(0, 11))
def test_the_difference_is_the_symmetric_one(a: set[int], changes: set[int], limit: int) -> None:
    b = a ^ changes
    assert difference_up_to(digests(a), digests(b), limit) == min(len(changes), limit)
    assert difference_up_to(digests(a).tobytes(), digests(b).tobytes(), limit) == min(len(changes), limit)
