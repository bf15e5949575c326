"""The distributions of generalised linear models with their canonical links."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln

FloatArray = NDArray[Any]


class Family(Protocol):
    """A distribution of the outcome given the linear predictor, which is its canonical parameter."""

    def start(self, mean: float) -> float:
        """The predictor of the model without covariates and offset."""

    def mean(self, eta: FloatArray) -> FloatArray:
        """Expected outcome."""

    def weight(self, eta: FloatArray) -> FloatArray:
        """Variance of the outcome, which is its information on the predictor."""

    def loglik(self, y: FloatArray, eta: FloatArray) -> float:
        """Sum of the rows' log-likelihood."""

    def bounds(self, eta: tuple[float, float]) -> tuple[float, float, float]:
        """Greatest absolute residual, weight and log-likelihood of one row whose predictor lies in ``eta``."""

    def predictor_max(self, mean: float) -> float:
        """Largest public bound of the predictor at which a round still keeps its precision."""


@dataclass(frozen=True)
class Bernoulli:
    """0 or 1, logit link."""

    exponent: ClassVar[str] = "odds ratio"

    def start(self, mean: float) -> float:
        """The logit of the mean."""
        return math.log(mean / (1 - mean))

    def mean(self, eta: FloatArray) -> FloatArray:
        """Probability of 1."""
        probability: FloatArray = expit(eta)
        return probability

    def weight(self, eta: FloatArray) -> FloatArray:
        """p·(1 − p), without cancellation for large predictors."""
        weight: FloatArray = expit(eta) * expit(-eta)
        return weight

    def loglik(self, y: FloatArray, eta: FloatArray) -> float:
        """Σ y·η − log(1 + exp η)."""
        return float((y * eta - np.logaddexp(0, eta)).sum())

    def bounds(self, eta: tuple[float, float]) -> tuple[float, float, float]:
        """1, 1/4, and log(1 + exp |η|)."""
        return 1.0, 0.25, float(np.logaddexp(0, max(abs(eta[0]), abs(eta[1]))))

    def predictor_max(self, mean: float) -> float:
        """None: nothing here grows faster than the predictor."""
        return math.inf


@dataclass(frozen=True)
class Counts:
    """0, 1, 2, … up to ``upper``; logarithmic link."""

    upper: float

    def start(self, mean: float) -> float:
        """The logarithm of the mean."""
        return math.log(mean)

    def mean(self, eta: FloatArray) -> FloatArray:
        """exp η."""
        mean: FloatArray = np.exp(eta)
        return mean

    def weight(self, eta: FloatArray) -> FloatArray:
        """exp η."""
        return self.mean(eta)

    def loglik(self, y: FloatArray, eta: FloatArray) -> float:
        """Σ y·η − exp η − log y!."""
        return float((y * eta - np.exp(eta) - gammaln(y + 1)).sum())

    def bounds(self, eta: tuple[float, float]) -> tuple[float, float, float]:
        """From the greatest count and exp of the greatest predictor."""
        most = math.exp(eta[1])
        loglik = self.upper * max(abs(eta[0]), abs(eta[1])) + most + float(gammaln(self.upper + 1))
        return max(self.upper, most), most, loglik

    def predictor_max(self, mean: float) -> float:
        """15 above the mean's logarithm: fixed-point sums then keep eight digits of score and information."""
        return math.log(mean) + 15
