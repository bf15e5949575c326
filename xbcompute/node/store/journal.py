"""What a masked sum must have on disk before it sends (protocol card ``masked-sum``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.node.store.database import Database
from xbcompute.node.store.schema import ROUNDS, SEEDS


@dataclass(frozen=True)
class SeedReleased:
    """A round whose total may be known to its ``participants`` (sorted); ``population`` is a digest."""

    session: str
    epoch: int
    round: int
    dataset: str
    population: str
    study: str
    participants: tuple[str, ...]


class RoundJournal:
    """Rounds begun and seeds released, over all sessions. A method returns once its write is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_round(self, session: str, epoch: int, round: int) -> None:
        """Record that (``epoch``, ``round``) of ``session`` is about to be sent.

        Raises:
            IntegrityError: this or a later one was begun before.
        """
        if epoch < 0 or round < 0:
            raise InputError("journal.count", "epochs and rounds count from 0.")
        with self._database.write() as connection:
            latest = connection.execute(
                select(ROUNDS.c.epoch, ROUNDS.c.round)
                .where(ROUNDS.c.session == session)
                .order_by(ROUNDS.c.epoch.desc(), ROUNDS.c.round.desc())
                .limit(1)
            ).one_or_none()
            if latest is not None and (epoch, round) <= (latest.epoch, latest.round):
                raise IntegrityError(
                    "journal.replay",
                    f"round {round} of epoch {epoch} of session {session} was begun before, or a later one was.",
                    todo="Go on in a new epoch.",
                )
            connection.execute(insert(ROUNDS).values(session=session, epoch=epoch, round=round))

    def seed_released(
        self,
        session: str,
        epoch: int,
        round: int,
        *,
        participants: Sequence[str],
        dataset: str,
        population: str,
        study: str,
    ) -> None:
        """Record that this party is about to release its self-mask seed. The same again changes nothing.

        Raises:
            IntegrityError: the round was not begun, or its seed was released to other participants.
        """
        released = SeedReleased(session, epoch, round, dataset, population, study, tuple(sorted(participants)))
        values = {**vars(released), "participants": dumps(released.participants).decode()}
        with self._database.write() as connection:
            key = {"session": session, "epoch": epoch, "round": round}
            begun = select(ROUNDS.c.round).where(*(ROUNDS.c[name] == value for name, value in key.items()))
            if connection.execute(begun).one_or_none() is None:
                raise IntegrityError(
                    "journal.order", f"round {round} of epoch {epoch} of session {session} was never begun."
                )
            earlier = select(SEEDS).where(*(SEEDS.c[name] == value for name, value in key.items()))
            before = connection.execute(earlier).one_or_none()
            if before is None:
                connection.execute(insert(SEEDS).values(values))
            elif dict(before._mapping) != values:
                raise IntegrityError(
                    "journal.seed",
                    f"the seed of round {round} of epoch {epoch} of session {session} was released to others.",
                )

    def released_sets(self, *, dataset: str | None = None, population: str | None = None) -> list[SeedReleased]:
        """Every release of a seed over ``dataset`` or over a ``population`` (both: either), oldest epoch first."""
        conditions = []
        if dataset is not None:
            conditions.append(SEEDS.c.dataset == dataset)
        if population is not None:
            conditions.append(SEEDS.c.population == population)
        if not conditions:
            raise InputError("journal.question", "released_sets needs a dataset or a population.")
        where = conditions[0] if len(conditions) == 1 else conditions[0] | conditions[1]
        query = select(SEEDS).where(where).order_by(SEEDS.c.session, SEEDS.c.epoch, SEEDS.c.round)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [SeedReleased(**{**row._mapping, "participants": tuple(json.loads(row.participants))}) for row in rows]

    def latest(self, session: str) -> tuple[int, int] | None:
        """The last (epoch, round) begun in ``session``."""
        query = select(ROUNDS.c.epoch, ROUNDS.c.round).where(ROUNDS.c.session == session)
        with self._database.read() as connection:
            row = connection.execute(
                query.order_by(ROUNDS.c.epoch.desc(), ROUNDS.c.round.desc()).limit(1)
            ).one_or_none()
        return None if row is None else (row.epoch, row.round)


@dataclass(frozen=True)
class SessionJournal:
    """The :class:`~xbcompute.core.ports.Journal` of one session's engine."""

    journal: RoundJournal
    session: str
    participants: tuple[str, ...]
    dataset: str
    population: str
    study: str

    def begin_round(self, epoch: int, round: int) -> None:
        """As :meth:`RoundJournal.begin_round`."""
        self.journal.begin_round(self.session, epoch, round)

    def seed_released(self, epoch: int, round: int) -> None:
        """As :meth:`RoundJournal.seed_released`."""
        self.journal.seed_released(
            self.session,
            epoch,
            round,
            participants=self.participants,
            dataset=self.dataset,
            population=self.population,
            study=self.study,
        )
