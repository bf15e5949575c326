"""States of analyses: bytes and back by their annotations, and when two of them agree."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.wire.codec import encode_fields
from xbcompute.wire.states import decode_state, encode_state, states_close


@dataclasses.dataclass(frozen=True)
class State:
    step: int
    loglik: float
    phase: str
    converged: bool
    digest: bytes
    beta: NDArray[np.float64]
    counts: NDArray[np.int64]
    keep: NDArray[np.bool_]
    names: tuple[str, ...]
    edges: tuple[float, ...] = ()
    degrees: tuple[int, ...] = ()
    previous: float | None = None
    old: Optional[NDArray[Any]] = None  # noqa: UP045 (the old spelling is an annotation too)


def state(**changes: Any) -> State:
    values: dict[str, Any] = {
        "step": 3,
        "loglik": -12.5,
        "phase": "newton",
        "converged": False,
        "digest": b"\0\1",
        "beta": np.array([0.5, -2.0]),
        "counts": np.array([[1, 2], [3, 4]]),
        "keep": np.array([True, False]),
        "names": ("年龄", "tgrade[T.III]"),
    }
    return State(**(values | changes))


def equal(a: State, b: State) -> bool:
    for field in dataclasses.fields(State):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if type(x) is not type(y):
            return False
        if isinstance(x, np.ndarray):
            if x.dtype != y.dtype or x.shape != y.shape or x.tobytes() != y.tobytes():
                return False
        elif x != y:
            return False
    return True


numbers = st.floats(-1e9, 1e9)


@settings(deadline=None, max_examples=100)
@given(
    step=st.integers(-(1 << 63), (1 << 63) - 1),
    loglik=numbers,
    converged=st.booleans(),
    beta=st.lists(numbers, max_size=5).map(np.array),
    keep=st.lists(st.booleans(), max_size=5).map(lambda bits: np.array(bits, dtype=np.bool_)),
    names=st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=4).map(tuple),
    edges=st.lists(numbers, max_size=4).map(tuple),
    degrees=st.lists(st.integers(-9, 9), max_size=4).map(tuple),
    previous=st.none() | numbers,
    old=st.none() | st.just(np.arange(3, dtype=np.uint8)),
)
def test_a_state_comes_back_as_it_was(**changes: Any) -> None:
    one = state(**changes)
    data = encode_state(one)
    back = decode_state(State, data)
    assert equal(one, back)
    assert encode_state(back) == data
    assert states_close(one, back)


def test_numpy_scalars_and_whole_numbers_in_float_places_are_taken() -> None:
    back = decode_state(State, encode_state(state(step=np.int64(4), loglik=-3, previous=np.float32(0.5))))
    assert (back.step, back.loglik, back.previous) == (4, -3.0, 0.5)
    assert type(back.loglik) is float


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 1.0},
        {"step": True},
        {"step": None},
        {"loglik": "1"},
        {"phase": b"newton"},
        {"converged": 1},
        {"digest": "text"},
        {"beta": [1.0]},
        {"beta": np.array([1, 2])},
        {"beta": np.array([1.0], dtype=np.float32)},
        {"keep": np.array([1, 0])},
        {"names": ["a"]},
        {"names": (1,)},
        {"edges": ("a",)},
        {"degrees": (1.5,)},
        {"old": np.array(["text"])},
    ],
)
def test_a_member_that_is_not_what_its_annotation_says_is_an_input_error(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        encode_state(state(**changes))
    assert caught.value.code == "encode.state"
    assert next(iter(changes)) in caught.value.text


FIELDS: dict[str, Any] = {
    "step": 3,
    "loglik": -12.5,
    "phase": "newton",
    "converged": 0,
    "digest": b"",
    "beta": np.array([0.5]),
    "counts": np.array([1]),
    "keep": np.array([1], dtype=np.uint8),
    "names": b'["a"]',
    "edges": np.array([1.0]),
    "degrees": np.array([1]),
}


def test_the_fields_below_are_a_state() -> None:
    assert decode_state(State, encode_fields(FIELDS)).names == ("a",)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"more": 1}, "state.members"),
        ({"step": None}, "state.members"),
        ({"step": 1.0}, "state.type"),
        ({"loglik": 1}, "state.type"),
        ({"converged": 2}, "state.type"),
        ({"converged": 1.0}, "state.type"),
        ({"beta": 0.5}, "state.type"),
        ({"beta": np.array([1])}, "state.type"),
        ({"keep": np.array([2], dtype=np.uint8)}, "state.type"),
        ({"keep": np.array([1])}, "state.type"),
        ({"names": "a"}, "state.type"),
        ({"names": b'["a" ]'}, "state.type"),
        ({"names": b"[1]"}, "state.type"),
        ({"names": b'{"a":1}'}, "state.type"),
        ({"names": b"\xff"}, "state.type"),
        ({"edges": np.array([[1.0]])}, "state.type"),
        ({"edges": np.array([1])}, "state.type"),
        ({"degrees": np.array([1.0])}, "state.type"),
        ({"previous": "x"}, "state.type"),
    ],
)
def test_received_bytes_that_are_no_state_are_refused(changes: dict[str, Any], code: str) -> None:
    fields = {name: value for name, value in (FIELDS | changes).items() if value is not None}
    with pytest.raises(IntegrityError) as caught:
        decode_state(State, encode_fields(fields))
    assert caught.value.code == code


def test_only_frozen_dataclasses_of_known_types_are_states() -> None:
    @dataclasses.dataclass
    class Open:
        a: int

    @dataclasses.dataclass(frozen=True)
    class Mixed:
        a: int | str

    @dataclasses.dataclass(frozen=True)
    class Mapped:
        a: dict[str, int]

    for value, code in (
        (Open(1), "state.class"),
        (3, "state.class"),
        (Mixed(1), "encode.state"),
        (Mapped({}), "encode.state"),
    ):
        with pytest.raises(InputError) as caught:
            encode_state(value)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("changes", "close"),
    [
        ({"loglik": -12.5 * (1 + 5e-10)}, True),
        ({"loglik": -12.5 * (1 + 5e-9)}, False),
        ({"loglik": 12.5}, False),
        ({"previous": 0.0}, False),
        ({"step": 4}, False),
        ({"phase": "done"}, False),
        ({"converged": True}, False),
        ({"digest": b"\0\2"}, False),
        ({"names": ("年龄",)}, False),
        ({"edges": (1.0,)}, False),
        ({"beta": np.array([0.5 * (1 + 5e-10), -2.0])}, True),
        ({"beta": np.array([0.5 * (1 + 5e-9), -2.0])}, False),
        ({"beta": np.array([0.5])}, False),
        ({"beta": np.array([[0.5, -2.0]])}, False),
        ({"beta": np.array([0.5, np.nan])}, False),
        ({"counts": np.array([[1, 2], [3, 5]])}, False),
        ({"counts": np.array([[1, 2], [3, 4]], dtype=np.int32)}, False),
        ({"keep": np.array([True, True])}, False),
    ],
)
def test_when_states_agree(changes: dict[str, Any], close: bool) -> None:
    assert states_close(state(), state(**changes)) is close
    assert states_close(state(**changes), state()) is close


def test_crumbs_beside_a_large_element_agree_and_nan_agrees_with_nothing() -> None:
    large = np.array([1e6, 1e-9])
    assert states_close(state(beta=large), state(beta=large + np.array([0.0, 5e-7])))
    assert not states_close(state(beta=large), state(beta=large + np.array([0.0, 5e-6])))
    assert not states_close(state(loglik=np.nan), state(loglik=np.nan))
    empty = np.zeros(0)
    assert states_close(state(beta=empty), state(beta=empty))
    assert states_close(state(edges=(1.0, 2.0)), state(edges=(1.0, 2.0 + 1e-10)))
    assert not states_close(state(), object())
