"""This node's ledger on disk: the pure functions of :mod:`xbcompute.ledger` over stored leaves and nodes."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger import export, merkle
from xbcompute.ledger.checkpoint import Checkpoint, sign_checkpoint
from xbcompute.ledger.cosign import Countersignature
from xbcompute.ledger.keys import Sign
from xbcompute.ledger.reading import time_text
from xbcompute.ledger.record import SALT_SIZE, Entry, Record, make_record, read_record
from xbcompute.node.store.database import Database
from xbcompute.node.store.schema import CHECKPOINTS, COUNTERSIGNATURES, HEAD, LEAVES, NODES

_PAGE = 500


@dataclass(frozen=True)
class Head:
    """Number of records and the 32-byte root over them."""

    size: int
    root: bytes


class LedgerStore:
    """Appends, proves and exports. Every method is one transaction; what it returns is on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def append_record(
        self, kind: str, body: Mapping[str, Any], at: dt.datetime, *, session: str = "", study: str = ""
    ) -> int:
        """Append one record and return its ``seq`` (from 0).

        Kinds and bodies are those of :mod:`xbcompute.ledger.record`; ``session`` is 32 hexadecimal digits or empty,
        ``study`` a ``sha256:`` digest or empty.

        Raises:
            IntegrityError: the body is not of its kind, or the store was not written.
        """
        with self._database.write() as connection:
            frontier = _frontier(connection)
            record = make_record(frontier.size, at, kind, session=session, study=study, body=body)
            entry = Entry(record.encode(), secrets.token_bytes(SALT_SIZE))
            grown, created = frontier.append(entry.leaf())
            connection.execute(insert(LEAVES).values(seq=record.seq, record=entry.record, salt=entry.salt))
            connection.execute(insert(NODES), [{"level": n.level, "number": n.number, "hash": n.hash} for n in created])
            values = {"size": grown.size, "peaks": b"".join(grown.peaks)}
            if frontier.size:
                connection.execute(update(HEAD).values(values))
            else:
                connection.execute(insert(HEAD).values(id=1, **values))
            return record.seq

    def head(self) -> Head:
        """Size and root now."""
        with self._database.read() as connection:
            frontier = _frontier(connection)
            return Head(frontier.size, frontier.root())

    def record(self, seq: int) -> Record:
        """Record number ``seq``.

        Raises:
            InputError: there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(select(LEAVES.c.record).where(LEAVES.c.seq == seq)).one_or_none()
        if row is None:
            raise InputError("ledger.range", f"the ledger has no record {seq}.")
        return read_record(json.loads(row.record))

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        """Stored records with their salts from ``start`` up to ``stop``, read in pages. Salts stay with the party.

        Raises:
            IntegrityError: a record is missing before a later one.
        """
        while stop is None or start < stop:
            end = start + _PAGE if stop is None else min(stop, start + _PAGE)
            query = select(LEAVES).where(LEAVES.c.seq >= start, LEAVES.c.seq < end)
            with self._database.read() as connection:
                rows = connection.execute(query.order_by(LEAVES.c.seq)).all()
            for due, row in enumerate(rows, start):
                if row.seq != due:
                    raise IntegrityError("ledger.leaf", f"record {due} of the ledger is missing on disk.")
                yield Entry(bytes(row.record), bytes(row.salt))
            if len(rows) < end - start:
                return
            start = end

    def inclusion_proof(self, seq: int, size: int | None = None) -> tuple[bytes, ...]:
        """Proof that record ``seq`` is in the first ``size`` (default: all); raises InputError if it is not."""
        with self._database.read() as connection:
            return merkle.inclusion_proof(seq, _bounded(connection, size), _Nodes(connection))

    def consistency_proof(self, first: int, second: int | None = None) -> tuple[bytes, ...]:
        """Proof that the first ``second`` records (default: all) begin with the first ``first``."""
        with self._database.read() as connection:
            return merkle.consistency_proof(first, _bounded(connection, second), _Nodes(connection))

    def checkpoint(self, origin: str, sign: Sign, at: dt.datetime) -> Checkpoint:
        """A signed and stored checkpoint of the head; the last one where nothing was appended since.

        Raises:
            IntegrityError: the store belongs to another ``origin``.
        """
        with self._database.write() as connection:
            frontier = _frontier(connection)
            last = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.id.desc()).limit(1)).one_or_none()
            if last is not None and last.origin != origin:
                raise IntegrityError("ledger.origin", f"this ledger is of {last.origin}, not of {origin}.")
            if last is not None and last.size == frontier.size:
                return _checkpoint(last)
            made = sign_checkpoint(sign, origin=origin, size=frontier.size, root=frontier.root(), at=at)
            connection.execute(
                insert(CHECKPOINTS).values(
                    origin=origin, size=made.size, root=made.root, at=made.at, signature=made.signature
                )
            )
            return made

    def add_countersignature(self, checkpoint: Checkpoint, countersignature: Countersignature, key: str) -> None:
        """Keep a peer's countersignature under this ledger's ``checkpoint``, once its ``key`` confirms it.

        A second one by the same witness is left out.

        Raises:
            IntegrityError: it is not valid, or the checkpoint is not one of this ledger.
        """
        countersignature.verify(checkpoint, key)
        with self._database.write() as connection:
            number = connection.execute(
                select(CHECKPOINTS.c.id).where(
                    CHECKPOINTS.c.signature == checkpoint.signature, CHECKPOINTS.c.origin == checkpoint.origin
                )
            ).scalar_one_or_none()
            if number is None:
                raise IntegrityError("ledger.checkpoint", f"no checkpoint of size {checkpoint.size} was made here.")
            columns, witness = COUNTERSIGNATURES.c, countersignature.witness
            known = select(columns.witness).where(columns.checkpoint == number, columns.witness == witness)
            if connection.execute(known).one_or_none() is None:
                connection.execute(
                    insert(COUNTERSIGNATURES).values(
                        checkpoint=number,
                        witness=witness,
                        at=countersignature.at,
                        signature=countersignature.signature,
                    )
                )

    def checkpoints(self) -> list[tuple[Checkpoint, list[Countersignature]]]:
        """All checkpoints with the countersignatures under them, oldest first."""
        with self._database.read() as connection:
            below: dict[int, list[Countersignature]] = {}
            for row in connection.execute(select(COUNTERSIGNATURES).order_by(COUNTERSIGNATURES.c.witness)):
                made = Countersignature(row.witness, row.at, bytes(row.signature))
                below.setdefault(row.checkpoint, []).append(made)
            rows = connection.execute(select(CHECKPOINTS).order_by(CHECKPOINTS.c.id)).all()
        return [(_checkpoint(row), below.get(row.id, [])) for row in rows]

    def check(self) -> Head:
        """Recompute every leaf and the root from the stored records; the head if they agree. Run at a node's start.

        Raises:
            IntegrityError: naming the first record that does not match, or the head.
        """
        stored, frontier, page = self.head(), merkle.Frontier(), list[merkle.Node]()
        for entry in self.entries(0, stored.size):
            frontier, created = frontier.append(entry.leaf())
            page.extend(created)
            if frontier.size % _PAGE == 0 or frontier.size == stored.size:
                self._check_nodes(page)
                page.clear()
        if frontier.size != stored.size or frontier.root() != stored.root:
            raise IntegrityError("ledger.root", "the ledger on disk does not give the root of its head.")
        return stored

    def _check_nodes(self, page: list[merkle.Node]) -> None:
        held: dict[tuple[int, int], bytes] = {}
        with self._database.read() as connection:
            for level in {node.level for node in page}:
                numbers = [node.number for node in page if node.level == level]
                within = NODES.c.number.between(min(numbers), max(numbers))
                for row in connection.execute(select(NODES).where(NODES.c.level == level, within)):
                    held[row.level, row.number] = bytes(row.hash)
        for node in page:
            if held.get((node.level, node.number)) != node.hash:
                what = f"record {node.number}" if node.level == 0 else f"node {node.number} of level {node.level}"
                raise IntegrityError("ledger.leaf", f"{what} of the ledger was changed on disk.")

    def export(
        self, path: Path, *, origin: str, key: str, witnesses: Mapping[str, str], sign: Sign, at: dt.datetime
    ) -> Checkpoint:
        """Write the ledger up to a checkpoint of its head to ``path``, sealed; the checkpoint.

        ``key`` is this party's public key, ``witnesses`` its peers' (``ed25519:…``).
        """
        last = self.checkpoint(origin, sign, at)
        header = export.Header(origin, key, dict(witnesses), time_text(at))
        covered = [pair for pair in self.checkpoints() if pair[0].size <= last.size]
        export.write_file(path, export.lines(header, self.entries(0, last.size), covered), sign)
        return last


class _Nodes:
    """Reads stored nodes inside one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, level: int, number: int) -> bytes:
        query = select(NODES.c.hash).where(NODES.c.level == level, NODES.c.number == number)
        found = self._connection.execute(query).scalar_one_or_none()
        if found is None:
            raise IntegrityError("ledger.node", f"node {number} of level {level} is missing from the ledger.")
        return bytes(found)


def _frontier(connection: Connection) -> merkle.Frontier:
    row = connection.execute(select(HEAD.c.size, HEAD.c.peaks)).one_or_none()
    if row is None:
        return merkle.Frontier()
    peaks = bytes(row.peaks)
    step = merkle.HASH_SIZE
    return merkle.Frontier(row.size, tuple(peaks[i : i + step] for i in range(0, len(peaks), step)))


def _bounded(connection: Connection, size: int | None) -> int:
    held = _frontier(connection).size
    if size is not None and size > held:
        raise InputError("ledger.range", f"the ledger has {held} records, not {size}.")
    return held if size is None else size


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint(row.origin, row.size, bytes(row.root), row.at, bytes(row.signature))
