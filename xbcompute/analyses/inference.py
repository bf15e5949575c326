"""From a fitted model to the numbers a reader expects: intervals, tests, the coefficient table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.linalg import lapack

from xbcompute.core.errors import InputError

PIVOT_MIN = 1e-8
"""Least share of a column's variation that no other column explains; below it the columns are collinear."""

CONDITION_STATED = 1e6
"""Scaled condition number up to which results keep the stated tolerances."""


def pack(matrix: NDArray[Any]) -> NDArray[Any]:
    """The upper triangle of a symmetric (p, p) matrix, row by row, p·(p+1)/2 numbers."""
    packed: NDArray[Any] = matrix[np.triu_indices(len(matrix))]
    return packed


def unpack(packed: NDArray[Any], p: int) -> NDArray[Any]:
    """The symmetric (p, p) matrix of :func:`pack`."""
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = packed
    return matrix + np.triu(matrix, 1).T


class Information:
    """A symmetric positive definite matrix, scaled to unit diagonal and factored; ``names`` are its columns'.

    Raises:
        InputError: ``model.constant`` a column does not vary, ``model.collinear`` columns depend on each other;
            both name the columns.
    """

    def __init__(self, names: Sequence[str], matrix: NDArray[Any]) -> None:
        diagonal = np.diag(matrix)
        for name, value in zip(names, diagonal, strict=True):
            if not value > 0:
                raise InputError(
                    "model.constant",
                    f"column {name}: it does not vary in these rows.",
                    todo="Leave it out of the covariates.",
                )
        self._scale = 1 / np.sqrt(diagonal)
        correlation = matrix * np.outer(self._scale, self._scale)
        factor, pivots, rank, _ = lapack.dpstrf(correlation, tol=PIVOT_MIN)
        if rank < len(names):
            raise _collinear(names, factor, pivots - 1, rank)
        eigenvalues = np.linalg.eigvalsh(correlation)
        self.condition = float(eigenvalues[-1] / eigenvalues[0])
        self._inverse = np.linalg.inv(correlation)
        self._inverse = (self._inverse + self._inverse.T) / 2
        self._correlation = correlation

    @property
    def inverse(self) -> NDArray[Any]:
        """The inverse matrix, (p, p)."""
        return self._inverse * np.outer(self._scale, self._scale)

    def solve(self, vector: NDArray[Any]) -> NDArray[Any]:
        """The solution of ``matrix @ x = vector``, refined once."""
        scaled = vector * self._scale
        solution = self._inverse @ scaled
        solution += self._inverse @ (scaled - self._correlation @ solution)
        result: NDArray[Any] = solution * self._scale
        return result

    def notes(self) -> list[str]:
        """What a reader must know about precision."""
        if self.condition <= CONDITION_STATED:
            return []
        return [f"The covariates are nearly collinear (condition number {self.condition:.1e}): fewer digits are exact."]


def _collinear(names: Sequence[str], factor: NDArray[Any], pivots: NDArray[Any], rank: int) -> InputError:
    # The first rejected column as a combination of the accepted ones: those with weight are what it depends on.
    upper = np.triu(factor)
    weights = np.linalg.solve(upper[:rank, :rank], upper[:rank, rank])
    others = [names[pivots[index]] for index in range(rank) if abs(weights[index]) > 1e-4]
    return InputError(
        "model.collinear",
        f"column {names[pivots[rank]]}: it is a linear combination of {', '.join(sorted(others))}.",
        todo="Leave one of them out of the covariates.",
    )


def coefficient_table(
    names: Sequence[str],
    coef: NDArray[Any],
    cov: NDArray[Any],
    ci_level: float,
    *,
    df: float | None = None,
    exponentiate: bool = False,
) -> dict[str, Any]:
    """``coef``, ``se``, ``z`` (``t`` with ``df``), ``p``, ``ci_lower``, ``ci_upper`` keyed by name, ``cov``, ``names``.

    Normal intervals, or Student's with ``df`` degrees of freedom. ``exponentiate`` adds ``exp_coef`` with limits;
    a power too large for a float is null.
    """
    se = np.sqrt(np.diag(cov))
    statistic = coef / se
    quantile = special.ndtri(0.5 + ci_level / 2) if df is None else special.stdtrit(df, 0.5 + ci_level / 2)
    width = float(quantile) * se
    tail = special.ndtr(-np.abs(statistic)) if df is None else special.stdtr(df, -np.abs(statistic))
    table = {
        "names": list(names),
        "coef": keyed(names, coef),
        "se": keyed(names, se),
        "z" if df is None else "t": keyed(names, statistic),
        "p": keyed(names, 2 * tail),
        "ci_lower": keyed(names, coef - width),
        "ci_upper": keyed(names, coef + width),
        "ci_level": ci_level,
        "cov": cov.tolist(),
    }
    if exponentiate:
        for key, values in (("exp_coef", coef), ("exp_ci_lower", coef - width), ("exp_ci_upper", coef + width)):
            table[key] = {name: _power(value) for name, value in zip(names, values.tolist(), strict=True)}
    return table


def robust_table(
    kind: Literal["hc0", "hc1"],
    names: Sequence[str],
    coef: NDArray[Any],
    sandwich: NDArray[Any],
    *,
    n: int,
    ci_level: float,
) -> dict[str, Any]:
    """``type``, ``se``, ``z``, ``p``, ``ci_lower``, ``ci_upper``, ``cov`` from the sandwich covariance.

    ``hc1`` multiplies it by n / (n − q). Intervals are normal, as statsmodels has them for these covariances.
    """
    factor = n / (n - len(names)) if kind == "hc1" else 1.0
    table = coefficient_table(names, coef, sandwich * factor, ci_level)
    return {"type": kind} | {key: table[key] for key in ("se", "z", "p", "ci_lower", "ci_upper", "cov")}


def likelihood_ratio(loglik: float, loglik_null: float, df: int) -> dict[str, Any]:
    """``statistic``, ``df``, ``p`` of the test against the model without covariates."""
    return chi_square(max(2 * (loglik - loglik_null), 0.0), df)


def chi_square(statistic: float, df: int) -> dict[str, Any]:
    """``statistic``, ``df`` and ``p`` of a chi-square test."""
    return {"statistic": float(statistic), "df": int(df), "p": float(special.chdtrc(df, statistic))}


def keyed(names: Sequence[str], values: NDArray[Any]) -> dict[str, float]:
    """Values as floats under their names."""
    return dict(zip(names, np.asarray(values, dtype=np.float64).tolist(), strict=True))


def _power(value: float) -> float | None:
    try:
        return math.exp(value)
    except OverflowError:
        return None
