"""Numbers as integers modulo 2^64, at a scale that the public bound fixes, so that no sum can wrap.

An array of bound ``b`` summed over ``n`` parties is held as ``rint(x · 2^f)``, halves to even, where

- integer arrays have ``f = 0`` and need ``n · floor(b) < 2^63``;
- other arrays have the largest ``f ≤ 1000`` with ``n · b · 2^f < 2^62``. A bound so large that ``f`` would be
  negative is refused. Rounding adds at most 1/2 a party, so the sum stays below ``2^62 + n/2 < 2^63``.

Negative numbers are two's complement. ``x · 2^f`` is exact in float64 and rounding changes it only below 2^52, so the
encoding loses nothing that the float64 held above the last place ``2^-f``; a value never carries more than the 53
significant bits of float64, though a sum of several may: it is exact in the integers and rounded once, when decoded.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.engines.contribution import blocks, check_layout, checked

SCALE_BITS: Final = 62
FRACTION_BITS_MAX: Final = 1000
"""So that 2^f and 2^-f are ordinary float64 numbers."""


def fraction_bits(spec: ArraySpec, n: int) -> int:
    """``f`` for an array of ``spec`` summed over ``n`` parties; 0 for integer arrays.

    Raises:
        InputError: the bound leaves no room (``fixed_point.bound``).
    """
    if spec.integer:
        return 0
    numerator, denominator = float(spec.bound).as_integer_ratio()
    if numerator == 0:
        return FRACTION_BITS_MAX
    # Largest f with n·numerator·2^f < 2^62·denominator, in exact integers: all parties must find the same f.
    product, limit = n * numerator, denominator << SCALE_BITS
    bits = limit.bit_length() - product.bit_length()
    if bits >= 0 and product << bits >= limit:
        bits -= 1
    if bits < 0:
        raise InputError(
            "fixed_point.bound",
            f"a bound of {spec.bound:g} summed over {n} parties does not fit in 64 bits.",
            todo="Declare a smaller bound, or change the unit.",
        )
    return min(bits, FRACTION_BITS_MAX)


def max_abs_error(spec: ArraySpec, n: int) -> float:
    """Greatest difference between a decoded total and the exact sum of the float64 values that went in.

    ``n · 2^-(f+1)`` from rounding each value to the scale, and ``n · bound · 2^-53`` from rounding the total to
    float64 once. 0 for integer arrays, whose totals are int64.
    """
    if spec.integer:
        return 0.0
    return n * math.ldexp(1.0, -(fraction_bits(spec, n) + 1)) + n * spec.bound * 2.0**-53


def check(layout: Layout, n: int) -> int:
    """Number of elements of the vector that a contribution of ``layout`` becomes.

    Raises:
        InputError: a bound that does not fit, naming the array.
    """
    check_layout(layout, n)
    for name, spec in layout.items():
        try:
            fraction_bits(spec, n)
        except InputError as error:
            raise InputError(error.code, f"array {name}: {error.text}", todo=error.todo) from None
    return sum(spec.size for spec in layout.values())


def encode(layout: Layout, mine: Contribution, n: int) -> NDArray[np.uint64]:
    """``mine`` as one vector, arrays in the order of ``layout``, each in row-major order. Streams: one new vector.

    Raises:
        InputError: as :func:`check` and :func:`~xbcompute.engines.contribution.checked`.
    """
    vector = np.empty(check(layout, n), dtype=np.int64)
    start = 0
    for name, array in checked(layout, mine).items():
        spec = layout[name]
        part, flat = vector[start : start + spec.size], array.reshape(-1)
        start += spec.size
        if spec.integer:
            part[:] = flat
            continue
        scale = math.ldexp(1.0, fraction_bits(spec, n))
        for block in blocks(spec.size):
            scaled = flat[block] * scale
            np.rint(scaled, out=scaled)
            part[block] = scaled
    return vector.view(np.uint64)


def decode(layout: Layout, total: NDArray[np.uint64], n: int) -> dict[str, NDArray[Any]]:
    """The arrays of a total of ``n`` contributions: int64 for integer arrays, otherwise float64.

    ``total`` is handed over: the arrays lie in its memory (a second large vector would cost more than the arithmetic).

    Raises:
        IntegrityError: an element lies outside what ``n`` contributions within bounds can add up to, so some
            participant broke the protocol (``fixed_point.total``).
    """
    signed = total.view(np.int64)
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    for name, spec in layout.items():
        part = signed[start : start + spec.size]
        start += spec.size
        bits = fraction_bits(spec, n)
        _check_range(name, spec, part, n, bits)
        if spec.integer:
            arrays[name] = part.reshape(spec.shape)
            continue
        values, scale = part.view(np.float64), math.ldexp(1.0, -bits)
        for block in blocks(spec.size):
            values[block] = part[block] * scale
        arrays[name] = values.reshape(spec.shape)
    return arrays


def _check_range(name: str, spec: ArraySpec, part: NDArray[np.int64], n: int, bits: int) -> None:
    if not part.size:
        return
    numerator, denominator = float(spec.bound).as_integer_ratio()
    # Each |x| ≤ bound, so each encoded value is at most floor(bound·2^f + 1/2) (floor(bound) for whole numbers).
    if spec.integer:
        largest = n * (numerator // denominator)
    else:
        largest = n * ((2 * (numerator << bits) + denominator) // (2 * denominator))
    if part.min().item() < -largest or part.max().item() > largest:
        raise IntegrityError(
            "fixed_point.total",
            f"array {name}: the total is larger than {n} contributions within bounds can make it.",
            todo="A participant sent wrong values or another input; nothing of this round may be used.",
        )
