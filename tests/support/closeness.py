"""The tolerances that horizontal results promise against a tightly converged pooled fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def same_coefficients(result: Mapping[str, Any], coef: Mapping[str, float], se: Mapping[str, float]) -> None:
    """Coefficients within 1e-8 of max(|value|, SE), standard errors within 1e-6, their ratio within 1e-8."""
    assert sorted(result["names"]) == sorted(coef.keys())
    statistic = result.get("t") or result["z"]
    for name, value in coef.items():
        assert abs(result["coef"][name] - value) <= 1e-8 * max(abs(value), se[name]), name
        assert abs(result["se"][name] / se[name] - 1) <= 1e-6, name
        same_statistic(statistic[name], value / se[name], name)


def same_statistic(ours: float, theirs: float, name: str = "") -> None:
    """Within 1e-8 of max(|value|, 1)."""
    assert abs(ours - theirs) <= 1e-8 * max(abs(theirs), 1), name


def same_covariance(result: Mapping[str, Any], cov: Any, names: list[str]) -> None:
    """The covariance matrix within 1e-6, relative to the standard errors it holds."""
    order = [names.index(name) for name in result["names"]]
    theirs = np.asarray(cov)[np.ix_(order, order)]
    scale = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert (np.abs(np.asarray(result["cov"]) - theirs) <= 1e-6 * scale).all()
