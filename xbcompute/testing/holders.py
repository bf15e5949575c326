"""Runs an analysis of your own over holders made of arrays, with a real engine and in one process, to try it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import ArrayLike, NDArray

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.errors import InputError, PeerError
from xbcompute.core.parties import Jurisdiction, PartyId
from xbcompute.core.ports import Summation
from xbcompute.core.schema import Batch, Column, HolderFacts, Limits, Schema
from xbcompute.engines.base import Done, Iterative
from xbcompute.engines.clear import Clear
from xbcompute.engines.loopback import LoopbackChannel, MemoryJournal, loopback
from xbcompute.engines.masked_sum import MaskedSum
from xbcompute.engines.masked_sum.scripted import KeySigner
from xbcompute.wire.states import decode_state, encode_state

BATCH = 1024
"""Rows handed out at a time, so that an analysis that needs all of them at once is noticed."""

Protocol = Literal["clear-aggregate", "masked-sum"]


class ArrayRows:
    """:class:`~xbcompute.core.schema.Rows` over columns of equal length; numbers as float64, categories as int32 codes.

    Raises:
        InputError: a column is missing, or the columns differ in length.
    """

    def __init__(self, values: Mapping[str, ArrayLike], columns: Mapping[str, Column]) -> None:
        for name in columns:
            if name not in values:
                raise InputError("holders.column", f"a holder has no column '{name}'.", todo="Give every holder all.")
        self._values: dict[str, NDArray[Any]] = {
            name: np.asarray(values[name], dtype=np.int32 if column.type == "category" else np.float64)
            for name, column in columns.items()
        }
        if len({array.shape for array in self._values.values()}) != 1:
            raise InputError("holders.length", "the columns of a holder differ in length.")

    @property
    def n(self) -> int:
        """Rows."""
        return len(next(iter(self._values.values())))

    @property
    def n_dropped(self) -> int:
        """None are."""
        return 0

    def batches(self, columns: Sequence[str], *, descending: str | None = None) -> Iterator[Batch]:
        """The columns in batches of :data:`BATCH` rows."""
        order = np.arange(self.n)
        if descending is not None:
            order = np.argsort(-self._values[descending], kind="stable")
        for start in range(0, self.n, BATCH):
            chosen = order[start : start + BATCH]
            yield {name: self._values[name][chosen] for name in columns}


@dataclass(frozen=True)
class Trial:
    """What came of it: ``result`` is what :class:`~xbcompute.engines.base.Done` held, ``opened`` each round's total."""

    result: Mapping[str, Any]
    opened: tuple[Contribution, ...]


def run_over_holders(
    make: Callable[[Schema], Iterative[Any]],
    columns: Sequence[Column],
    holders: Mapping[str, Mapping[str, ArrayLike]],
    *,
    protocol: Protocol = "masked-sum",
    limits: Limits | None = None,
    rounds_max: int = 200,
) -> Trial:
    """Run an analysis over ``holders`` (id to its columns' values), one thread each, and compare their results.

    ``make`` builds the analysis from the public schema, whose ``rows_max`` is the largest holder's number of rows. Keys
    are throwaway and derived from the ids; there is no policy, no gate and no output check here. Without ``limits`` the
    minimum cell is that of :class:`~xbcompute.core.schema.Limits`.

    Raises:
        InputError: fewer than three holders for a masked sum, or columns that do not fit. XbError: what the analysis or
            the engine raised.
    """
    if protocol == "masked-sum" and len(holders) < 3:
        raise InputError(
            "holders.few", "a masked sum needs three holders: of two, each subtracts its own and has the other's."
        )
    known = {column.name: column for column in columns}
    rows = {PartyId(party): ArrayRows(holders[party], known) for party in sorted(holders)}
    most = max(part.n for part in rows.values())
    facts = tuple(HolderFacts(party, Jurisdiction("CN"), most) for party in rows)
    schema = Schema(known, facts, limits or Limits())
    channels = loopback(rows, timeout=30.0)
    trials: dict[PartyId, Trial | BaseException] = {}

    def work(party: PartyId) -> None:
        try:
            summation = _engine(protocol, channels[party], schema)
            trials[party] = _run(make(schema), schema, rows[party], summation, rounds_max)
        except BaseException as error:
            trials[party] = error
        finally:
            channels[party].close()

    threads = [threading.Thread(target=work, args=(party,), daemon=True) for party in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors = [trial for trial in trials.values() if isinstance(trial, BaseException)]
    if errors:  # one that only says that another is gone comes last
        raise min(errors, key=lambda error: isinstance(error, PeerError))
    first, *others = (trial for trial in trials.values() if isinstance(trial, Trial))
    if any(other.result != first.result for other in others):
        raise InputError("holders.differ", "the holders came to different results: 'combine' is not deterministic.")
    return first


def _engine(protocol: Protocol, channel: LoopbackChannel, schema: Schema) -> Summation:
    parties = tuple(sorted(holder.party for holder in schema.holders))
    digest = sha256(b"xbcompute/testing").digest()
    admission = Admission(
        session=digest[:16],
        federation="testing",
        study=digest,
        plan=digest,
        card=protocol,
        me=channel.me,
        participants=parties,
        epoch=1,
        limits=schema.limits,
    )
    if protocol == "clear-aggregate":
        return Clear(channel, admission)
    keys = {party: Ed25519PrivateKey.from_private_bytes(sha256(party.encode()).digest()) for party in parties}
    pinned = {party: key.public_key().public_bytes_raw() for party, key in keys.items()}
    return MaskedSum(channel, admission, KeySigner(keys[channel.me]), MemoryJournal(), pinned)


def _run(analysis: Iterative[Any], schema: Schema, rows: ArrayRows, summation: Summation, rounds_max: int) -> Trial:
    state = analysis.start(schema)
    opened: list[Contribution] = []
    for count in range(1, rounds_max + 1):
        sent = encode_state(state)
        state = decode_state(analysis.state_type, sent)  # as it reaches the other holders
        layout: Layout = analysis.layout(state)
        mine = analysis.local(rows, state)
        total = summation.total(layout, mine, round=count, state=sha256(sent).digest())
        opened.append(total)
        outcome = analysis.combine(total, state)
        if isinstance(outcome, Done):
            return Trial(outcome.result, tuple(opened))
        state = outcome
    raise InputError("holders.rounds", f"the analysis has not ended after {rounds_max} rounds.")
