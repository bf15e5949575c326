"""The sum in the clear: every participant sees every contribution. For open grades, and an oracle.

Protocol: ``protocols/clear-aggregate/spec.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Channel
from xbcompute.engines.contribution import check_admission, check_layout, checked, expected_arrays, layout_digest
from xbcompute.engines.exchange import exchange

CARD: Final = "clear-aggregate"
KIND: Final = "clear.values"
_VALUES: Final = "values."


def sum_contributions(layout: Layout, contributions: Sequence[Contribution]) -> dict[str, NDArray[Any]]:
    """The total in one process: float64 sums in the given order, int64 sums exact.

    Raises:
        InputError: as :func:`~xbcompute.engines.contribution.checked` for each contribution.
    """
    check_layout(layout, len(contributions))
    total = {
        name: np.zeros(spec.shape, dtype=np.int64 if spec.integer else np.float64) for name, spec in layout.items()
    }
    for contribution in contributions:
        for name, array in checked(layout, contribution).items():
            total[name] += array
    return total


def message(layout: Layout, mine: Contribution, *, epoch: int, round: int, state: bytes) -> dict[str, Any]:
    """The one message of a round, from a contribution that :func:`checked` has passed."""
    head: dict[str, Any] = {"epoch": epoch, "round": round, "state": state, "layout": layout_digest(layout)}
    return head | {_VALUES + name: array for name, array in mine.items()}


def expected(layout: Layout) -> Mapping[str, Expect]:
    """Fields of :func:`message`."""
    head = {
        "epoch": Expect("int"),
        "round": Expect("int"),
        "state": Expect("bytes", size=32),
        "layout": Expect("bytes", size=32),
    }
    return head | expected_arrays(layout, prefix=_VALUES)


def receive(layout: Layout, sender: PartyId, fields: Fields, *, epoch: int, round: int, state: bytes) -> Contribution:
    """The contribution in a peer's message, whose fields already have the expected types and shapes.

    Raises:
        IntegrityError: naming the sender, for another round, state or layout, or values that break the layout.
    """
    for name, want in (("epoch", epoch), ("round", round), ("state", state), ("layout", layout_digest(layout))):
        if fields[name] != want:
            raise IntegrityError("clear.context", f"{sender} sent values for another {name} than this party's.")
    values: dict[str, Any] = {name: fields[_VALUES + name] for name in layout}
    try:
        return checked(layout, values)
    except InputError as error:
        raise IntegrityError("clear.values", f"{sender} sent values that break the layout.") from error


class Clear:
    """A :class:`~xbcompute.core.ports.Summation` that hides nothing among the participants; works from one party up."""

    def __init__(self, channel: Channel, admission: Admission) -> None:
        check_admission(admission, cards=frozenset({CARD}), least=1)
        self._channel = channel
        self._admission = admission
        self._last_round = 0

    def total(self, layout: Layout, mine: Contribution, *, round: int, state: bytes) -> Contribution:
        """The sum over all participants, equal bit for bit at each of them. See :class:`Summation`."""
        admission = self._admission
        if round <= self._last_round:
            raise IntegrityError("clear.round", f"round {round} is not after the last round of this epoch.")
        check_layout(layout, len(admission.participants))
        own = checked(layout, mine)
        self._last_round = round
        outgoing = message(layout, own, epoch=admission.epoch, round=round, state=state)
        peers = [party for party in admission.participants if party != admission.me]
        contributions: dict[PartyId, Contribution] = {admission.me: own}
        for sender, fields in exchange(self._channel, peers, KIND, outgoing, expected(layout)):
            contributions[sender] = receive(layout, sender, fields, epoch=admission.epoch, round=round, state=state)
        return sum_contributions(layout, [contributions[party] for party in admission.participants])
