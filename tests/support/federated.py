"""Runs an analysis over holders made from one pandas frame, in one process, and keeps what was opened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import numpy as np
import pandas as pd
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.parties import Jurisdiction, PartyId
from xbcompute.core.ports import Summation
from xbcompute.core.schema import SUBJECT, Batch, Column, HolderFacts, Limits, Schema
from xbcompute.engines import fixed_point
from xbcompute.engines.base import Done, Iterative
from xbcompute.engines.clear import Clear, sum_contributions
from xbcompute.engines.loopback import LoopbackChannel, MemoryJournal, loopback
from xbcompute.engines.masked_sum import MaskedSum
from xbcompute.engines.masked_sum.scripted import KeySigner
from xbcompute.wire.states import decode_state, encode_state

PARTIES = ("cn-1", "cn-2", "sg-1", "sg-2")
OPEN = Limits(cell_min=1, cell_scope="pooled", model_rules=False)
"""Limits that leave nothing out: for comparing numbers."""


class ArrayRows:
    """:class:`~xbcompute.core.schema.Rows` over numpy columns, handed out in batches of ``batch`` rows."""

    def __init__(self, columns: Mapping[str, NDArray[Any]], n_dropped: int = 0, batch: int = 97) -> None:
        self._columns = dict(columns)
        self._dropped = n_dropped
        self._batch = batch

    @property
    def n(self) -> int:
        return len(next(iter(self._columns.values())))

    @property
    def n_dropped(self) -> int:
        return self._dropped

    def batches(self, columns: Sequence[str], *, descending: str | None = None) -> Iterator[Batch]:
        order = np.arange(self.n)
        if descending is not None:
            order = np.argsort(-self._columns[descending], kind="stable")
        for start in range(0, self.n, self._batch):
            chosen = order[start : start + self._batch]
            yield {name: self._columns[name][chosen] for name in columns}


@dataclass(frozen=True)
class Run:
    """A result, and for each round the layout and the opened total."""

    result: Mapping[str, Any]
    opened: list[tuple[Layout, Contribution]] = field(default_factory=list)

    def scalars(self, role: str) -> int:
        """Opened numbers of one role over all rounds."""
        return sum(spec.size for layout, _ in self.opened for spec in layout.values() if spec.role == role)


@dataclass(frozen=True)
class Federation:
    """A schema and the rows of each holder, in the order of the schema's holders."""

    schema: Schema
    rows: tuple[ArrayRows, ...]


def federation(
    frame: pd.DataFrame,
    columns: Mapping[str, Column],
    *,
    owner: Sequence[int] | NDArray[Any] | None = None,
    limits: Limits = OPEN,
    subject: str | None = None,
    parties: Sequence[str] = PARTIES,
    rows_max: int | None = None,
    rows_min: int | None = None,
) -> Federation:
    """Holders made from ``frame``; ``owner`` gives each row's holder (default: in turn).

    Rows with a missing value in any of ``columns`` are dropped and counted, as a node's complete-case rule does.
    ``subject`` names the column of subject ids and makes the schema one of many rows a subject.
    """
    owners = np.arange(len(frame)) % len(parties) if owner is None else np.asarray(owner)
    kept = frame[list(columns)].notna().all(axis=1).to_numpy()
    rows = []
    for index in range(len(parties)):
        mine = frame[(owners == index) & kept]
        arrays: dict[str, NDArray[Any]] = {name: codes(mine[name], column) for name, column in columns.items()}
        if subject is not None:
            arrays[SUBJECT] = pd.factorize(mine[subject])[0].astype(np.int64)
        rows.append(ArrayRows(arrays, int(((owners == index) & ~kept).sum())))
    largest = max(max(part.n + part.n_dropped, 1) for part in rows)
    holders = tuple(
        HolderFacts(PartyId(party), Jurisdiction(party[:2].upper()), rows_max or largest, rows_min) for party in parties
    )
    schema = Schema(dict(columns), holders, limits, "one" if subject is None else "many")
    return Federation(schema, tuple(rows))


def codes(values: pd.Series[Any], column: Column) -> NDArray[Any]:
    """A frame's column as a batch holds it."""
    if column.type != "category":
        return values.to_numpy(dtype=np.float64)
    index = {level: code for code, level in enumerate(column.levels)}
    return np.array([index[str(value)] for value in values], dtype=np.int32)


def generator(seed: int) -> np.random.Generator:  # noqa: TID251
    """Repeatable random numbers for tests."""
    return np.random.default_rng(seed)  # noqa: TID251


def number(name: str, lower: float, upper: float) -> Column:
    """A number with bounds."""
    return Column(name, "number", float(lower), float(upper))


def category(name: str, *levels: str) -> Column:
    """A category with levels."""
    return Column(name, "category", levels=levels)


Way = Literal["exact", "fixed", "clear", "masked"]


def run(analysis: Iterative[Any], fed: Federation, *, way: Way = "exact", rounds_max: int = 200) -> Run:
    """The analysis run to its end.

    ``exact`` adds the contributions in one process, ``fixed`` as a masked sum would but without masks; ``clear`` and
    ``masked`` run one thread a holder over loopback channels with the engine of that name, and every holder must end
    with the same result. States go through their wire form.
    """
    if way in ("exact", "fixed"):
        return _run_here(analysis, fed, way, rounds_max)
    parties = [holder.party for holder in fed.schema.holders]
    channels = loopback(parties, timeout=60.0)
    runs: dict[PartyId, Run | BaseException] = {}

    def work(party: PartyId, rows: ArrayRows) -> None:
        try:
            runs[party] = _run_one(analysis, fed.schema, rows, engine(way, channels[party], fed.schema), rounds_max)
        except BaseException as error:
            runs[party] = error
        finally:
            channels[party].close()

    threads = [threading.Thread(target=work, args=(party, rows)) for party, rows in zip(parties, fed.rows, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in runs.values():
        if isinstance(outcome, BaseException):
            raise outcome
    ended = [outcome for outcome in runs.values() if isinstance(outcome, Run)]
    assert all(outcome.result == ended[0].result for outcome in ended)
    return ended[0]


def engine(way: Way, channel: LoopbackChannel, schema: Schema) -> Summation:
    """The engine called ``way`` for one holder."""
    parties = tuple(sorted(holder.party for holder in schema.holders))
    card = "clear-aggregate" if way == "clear" else "masked-sum"
    admission = Admission(
        b"\1" * 16, "test", b"\2" * 32, b"\3" * 32, card, channel.me, parties, epoch=1, limits=schema.limits
    )
    if way == "clear":
        return Clear(channel, admission)
    keys = {party: Ed25519PrivateKey.from_private_bytes(sha256(party.encode()).digest()) for party in parties}
    pinned = {party: key.public_key().public_bytes_raw() for party, key in keys.items()}
    return MaskedSum(channel, admission, KeySigner(keys[channel.me]), MemoryJournal(), pinned)


def _run_here(analysis: Iterative[Any], fed: Federation, way: Way, rounds_max: int) -> Run:
    def total(layout: Layout, state: Any) -> Contribution:
        parts = [analysis.local(rows, state) for rows in fed.rows]
        if way == "exact":
            return sum_contributions(layout, parts)
        vectors = [fixed_point.encode(layout, part, len(parts)) for part in parts]
        return fixed_point.decode(layout, np.sum(vectors, axis=0, dtype=np.uint64), len(parts))

    return _rounds(analysis, fed.schema, total, rounds_max)


def _run_one(analysis: Iterative[Any], schema: Schema, rows: ArrayRows, summation: Summation, rounds_max: int) -> Run:
    count = 0

    def total(layout: Layout, state: Any) -> Contribution:
        nonlocal count
        count += 1
        return summation.total(layout, analysis.local(rows, state), round=count, state=b"\4" * 32)

    return _rounds(analysis, schema, total, rounds_max)


def _rounds(
    analysis: Iterative[Any], schema: Schema, total: Callable[[Layout, Any], Contribution], rounds_max: int
) -> Run:
    state = analysis.start(schema)
    opened: list[tuple[Layout, Contribution]] = []
    for _ in range(rounds_max):
        state = decode_state(analysis.state_type, encode_state(state))  # as it reaches the other holders
        layout = analysis.layout(state)
        sums = total(layout, state)
        opened.append((layout, sums))
        state = analysis.combine(sums, state)
        if isinstance(state, Done):
            return Run(state.result, opened)
    raise AssertionError("the analysis did not end")
