"""The masked sum against exact arithmetic and against the slow implementation, message by message."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import slow_masked_sum as slow
from xbcompute.core.arrays import ArraySpec
from xbcompute.engines import fixed_point
from xbcompute.engines.masked_sum.scripted import MaskedSumScript
from xbcompute.engines.replay import layout_of, play

BOUNDS = st.one_of(
    st.floats(min_value=1e-300, max_value=2.0**57, allow_subnormal=False), st.sampled_from([0.0, 5e-324, 1.0, 2.0**57])
)


@st.composite
def arrays(draw: st.DrawFn, n: int) -> tuple[list[Any], list[list[Any]]]:
    """A row of a layout, and the flat values of each of n parties."""
    shape = draw(st.lists(st.integers(0, 3), max_size=2))
    size = int(np.prod(shape, dtype=int))
    if draw(st.booleans()):
        bound = float(draw(st.integers(0, 2**58)))
        value: st.SearchStrategy[Any] = st.integers(-int(bound), int(bound))
        integer = True
    else:
        bound = draw(BOUNDS)
        value = st.floats(-bound, bound)
        integer = False
    parties = [draw(st.lists(value, min_size=size, max_size=size)) for _ in range(n)]
    return [draw(st.sampled_from(["x", "y", "总"])), shape, bound, integer, "sum"], parties


@st.composite
def sessions(draw: st.DrawFn) -> dict[str, Any]:
    parties = draw(st.lists(st.text("abc-", min_size=1, max_size=5), min_size=3, max_size=5, unique=True).map(sorted))
    hexadecimal = st.binary(min_size=32, max_size=32).map(bytes.hex)
    rounds, number = [], 0
    for _ in range(draw(st.integers(1, 2))):
        number += draw(st.integers(1, 9))
        made = {row[0]: (row, values) for row, values in draw(st.lists(arrays(len(parties)), min_size=1, max_size=3))}
        values = {p: {name: made[name][1][i] for name in made} for i, p in enumerate(parties)}
        layout = [row for row, _ in made.values()]
        rounds.append({"round": number, "state": draw(hexadecimal), "layout": layout, "values": values, "at": {}})
    session = {
        "federation": draw(st.text(max_size=5)),
        "session": draw(hexadecimal)[:32],
        "study": draw(hexadecimal),
        "plan": draw(hexadecimal),
        "epoch": draw(st.integers(0, 2**40)),
        "card": draw(st.sampled_from(["masked-sum", "federated"])),
        "participants": parties,
    }
    name = draw(st.text(max_size=5))
    return {"name": name, "session": session, "parties": parties, "at": {}, "rounds": rounds, "changes": []}


@settings(max_examples=40, deadline=None)
@given(sessions())
def test_every_message_and_total_is_that_of_the_slow_implementation(vector: dict[str, Any]) -> None:
    messages, totals = slow.play(vector)
    session = play(vector, MaskedSumScript())
    assert set(session.ends.values()) == {"total"}
    assert session.messages == messages
    assert all(found == totals for found in session.totals.values())
    n = len(vector["parties"])
    for script, total in zip(vector["rounds"], totals, strict=True):
        for name, spec in layout_of(script["layout"]).items():
            columns = zip(*(script["values"][party][name] for party in vector["parties"]), strict=True)
            for found, column in zip(total[name], columns, strict=True):
                exact = sum(Fraction(value) for value in column)
                assert abs(Fraction(found) - exact) <= Fraction(fixed_point.max_abs_error(spec, n))


@settings(max_examples=200, deadline=None)
@given(BOUNDS, st.integers(1, 1000))
def test_the_scale_is_the_largest_that_cannot_wrap(bound: float, n: int) -> None:
    spec = ArraySpec((1,), bound)
    if n * Fraction(bound) >= 2**62:
        return
    f = fixed_point.fraction_bits(spec, n)
    assert 0 <= f <= 1000
    assert n * Fraction(bound) * 2**f < 2**62
    assert f == 1000 or n * Fraction(bound) * 2 ** (f + 1) >= 2**62
    assert n * (Fraction(bound) * 2**f + Fraction(1, 2)) < 2**63


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 50))
def test_encoding_rounds_each_value_once_halves_to_even(data: st.DataObject, n: int) -> None:
    bound = data.draw(BOUNDS.filter(lambda b: n * Fraction(b) < 2**62))
    values = data.draw(st.lists(st.floats(-bound, bound), min_size=1, max_size=8))
    layout = {"x": ArraySpec((len(values),), bound)}
    f = fixed_point.fraction_bits(layout["x"], n)
    words = fixed_point.encode(layout, {"x": np.array(values)}, n)
    assert words.view(np.int64).tolist() == [round(Fraction(value) * 2**f) for value in values]
    back = fixed_point.decode(layout, words, n)["x"]
    assert all(abs(a - b) <= fixed_point.max_abs_error(layout["x"], n) for a, b in zip(back, values, strict=True))
