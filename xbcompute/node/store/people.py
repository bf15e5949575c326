"""Whom this node opened and counted before, as keyed digests that only this site can make.

People stand as one byte string: distinct 16-byte digests in ascending order, end to end.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select, update

from xbcompute.core.canonical import digest_bytes, dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.secret import Secret
from xbcompute.ledger.reading import time_text
from xbcompute.node.store.database import Database
from xbcompute.node.store.schema import COUNTED, OPENINGS, POPULATIONS

DIGEST_SIZE = 16
Kind: TypeAlias = Literal["sensitive", "non_sensitive"]
_SHANGHAI = dt.timezone(dt.timedelta(hours=8))
_ELEMENT = np.dtype(f"S{DIGEST_SIZE}")


def keyed_digests(key: Secret[bytes], subjects: Iterable[str]) -> bytes:
    """People for the store: BLAKE2b with the site's key over each subject's id, distinct and sorted.

    The same id gives the same digest in every dataset of the site, since a person is counted once (policy C3).
    """
    exposed = key.expose()
    made = (
        hashlib.blake2b(subject.encode(), key=exposed, digest_size=DIGEST_SIZE, person=b"xb/subject/v1").digest()
        for subject in subjects
    )
    return people(made)


def people(digests: bytes | Iterable[bytes]) -> bytes:
    """Distinct 16-byte ``digests``, sorted, end to end.

    Raises:
        InputError: a digest has another size.
    """
    if not isinstance(digests, bytes):
        parts = list(digests)
        if any(len(part) != DIGEST_SIZE for part in parts):
            raise InputError("people.size", "a person's digest has 16 bytes.")
        digests = b"".join(parts)
    # A stable sort merges what is already in order: two sets end to end cost one pass. np.unique hashes the strings.
    ordered = np.sort(_array(digests), kind="stable")
    return ordered[_first_of_equals(ordered)].tobytes()


def _first_of_equals(ordered: NDArray[np.bytes_]) -> NDArray[np.bool_]:
    first = np.ones(ordered.size, dtype=np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return first


def size(stored: bytes) -> int:
    """Number of people in a stored set."""
    return len(stored) // DIGEST_SIZE


def _array(stored: bytes) -> NDArray[np.bytes_]:
    if len(stored) % DIGEST_SIZE:
        raise InputError("people.size", "a person's digest has 16 bytes.")
    return np.frombuffer(stored, dtype=_ELEMENT)


def counting_year(at: dt.datetime) -> int:
    """The calendar year in Asia/Shanghai (UTC+8 all year), in which people are counted (policy C3)."""
    time_text(at)
    return at.astimezone(_SHANGHAI).year


@dataclass(frozen=True)
class Opening:
    """One earlier opening of a dataset; ``population`` is the digest of ``people``."""

    dataset: str
    study: str
    session: str
    analyses: tuple[str, ...]
    at: str
    population: str
    people: bytes


class Openings:
    """Which populations of a dataset were opened, for the differencing rule (policy C4.9)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_opening(
        self, dataset: str, *, study: str, session: str, analyses: Sequence[str], at: dt.datetime, people: bytes
    ) -> str:
        """Record an opening before it happens; the population's digest. Equal populations are stored once.

        Raises:
            InputError: ``people`` are not distinct, sorted digests.
        """
        array = _array(people)
        if not bool((array[:-1] < array[1:]).all()):
            raise InputError("people.order", "a population is stored as distinct, sorted digests.")
        population = digest_bytes(people)
        with self._database.write() as connection:
            known = select(POPULATIONS.c.digest).where(POPULATIONS.c.digest == population)
            if connection.execute(known).one_or_none() is None:
                connection.execute(insert(POPULATIONS).values(digest=population, people=people))
            connection.execute(
                insert(OPENINGS).values(
                    dataset=dataset,
                    study=study,
                    session=session,
                    analyses=dumps(list(analyses)).decode(),
                    at=time_text(at),
                    population=population,
                )
            )
        return population

    def openings(self, dataset: str) -> Iterator[Opening]:
        """Earlier openings of ``dataset``, oldest first, one population in memory at a time.

        Raises:
            IntegrityError: a stored population does not match its digest.
        """
        columns, last = OPENINGS.c, 0
        population, stored = "", b""
        while True:
            page = select(OPENINGS).where(columns.dataset == dataset, columns.id > last).order_by(columns.id).limit(1)
            with self._database.read() as connection:
                row = connection.execute(page).one_or_none()
                if row is None:
                    return
                # Openings over the same people as the one before are common: those are read once.
                if row.population != population:
                    wanted = select(POPULATIONS.c.people).where(POPULATIONS.c.digest == row.population)
                    stored = bytes(connection.execute(wanted).scalar_one())
            last = row.id
            if row.population != population and digest_bytes(stored) != row.population:
                raise IntegrityError("people.digest", f"a stored population of dataset {dataset} was changed on disk.")
            population = row.population
            yield Opening(
                dataset, row.study, row.session, tuple(json.loads(row.analyses)), row.at, row.population, stored
            )


class Counters:
    """People counted for outbound thresholds, by calendar year and kind (policy C3)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_people(self, year: int, kind: Kind, digests: bytes | Iterable[bytes]) -> None:
        """Count ``digests`` in ``year``; someone counted before is not counted again."""
        added = people(digests)
        with self._database.write() as connection:
            before = _counted(connection, year, kind)
            if before is None:
                connection.execute(insert(COUNTED).values(year=year, kind=kind, people=added))
            elif (after := people(before + added)) != before:
                where = (COUNTED.c.year == year, COUNTED.c.kind == kind)
                connection.execute(update(COUNTED).where(*where).values(people=after))

    def count(self, year: int, kind: Kind, also: bytes | Iterable[bytes] | None = None) -> int:
        """Distinct people counted in ``year``, with ``also`` among them if given; nothing is stored.

        A person counted as sensitive is not counted as non-sensitive too.
        """
        proposed = people(also) if also is not None else b""
        with self._database.read() as connection:
            counted = _array(people((_counted(connection, year, kind) or b"") + proposed))
            if kind == "sensitive":
                return len(counted)
            sensitive = _array(_counted(connection, year, "sensitive") or b"")
        return len(np.setdiff1d(counted, sensitive, assume_unique=True))


def _counted(connection: Connection, year: int, kind: Kind) -> bytes | None:
    if kind not in {"sensitive", "non_sensitive"}:
        raise InputError("people.kind", "people are counted as sensitive or non_sensitive.")
    query = select(COUNTED.c.people).where(COUNTED.c.year == year, COUNTED.c.kind == kind)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)
