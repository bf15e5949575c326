"""What a study would cost under a card: exchanges, bytes and seconds over a channel, measured or assumed by the card.

The figures order cards and tell a reader what to expect; they are estimates from public shapes and no promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xbcompute.specs.base import Spec
from xbcompute.specs.card import Card
from xbcompute.specs.study import Study

STEPS = {
    "describe": 2,
    "table": 1,
    "histogram": 1,
    "compare": 2,
    "linear": 2,
    "logistic": 7,
    "poisson": 8,
    "kaplan_meier": 2,
    "cox": 7,
    "weibull": 10,
    "rate": 1,
    "pca": 2,
    "correlation": 1,
    "association": 2,
    "train": 20,
    "overlap": 1,
}
"""Steps, each one sum or one batch of products, that an analysis of this kind usually takes."""
ELEMENT_BYTES = 8


@dataclass(frozen=True)
class Channel:
    """A link between two parties as measured: round trip in milliseconds, goodput in Mbit/s."""

    rtt_ms: float
    goodput_mbit: float


class Estimate(Spec):
    """Exchanges one after another, bytes over all links, milliseconds; ``measured``: over measured channel figures."""

    rounds: int
    bytes: int
    milliseconds: int
    rtt_ms: float
    goodput_mbit: float
    measured: bool


def estimate(card: Card, study: Study, holders: int, channel: Channel | None = None) -> Estimate:
    """What ``study`` over ``holders`` parties would cost under ``card``.

    Without a measured channel the profile that the card states is taken.
    """
    profile = card.cost.profile
    link = channel or Channel(profile.rtt_ms, profile.goodput_mbit)
    steps, plain = 0, 0
    for analysis in study.analysis:
        taken = STEPS.get(analysis.kind, 1)
        width = max(1, len(analysis.columns_used()))
        elements = (2 * width + 1) ** 2 if analysis.model_kind else 64 * width
        steps += taken
        plain += taken * elements * ELEMENT_BYTES
    rounds = steps * card.cost.rounds
    one_link = math.ceil(plain * card.cost.bytes)
    links = max(1, holders * (holders - 1))
    seconds = (
        rounds * link.rtt_ms / 1e3
        + one_link * max(1, holders - 1) * 8 / (link.goodput_mbit * 1e6)
        + steps * profile.step_s * card.cost.compute
    )
    return Estimate(
        rounds=rounds,
        bytes=one_link * links,
        milliseconds=math.ceil(seconds * 1e3),
        rtt_ms=link.rtt_ms,
        goodput_mbit=link.goodput_mbit,
        measured=channel is not None,
    )
