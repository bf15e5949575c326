"""Applications and their approvals, sessions, and what was released."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from xbcompute.core.canonical import digest, digest_bytes, dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger.reading import time_text
from xbcompute.node.store.database import Database
from xbcompute.node.store.schema import APPLICATIONS, APPROVALS, RELEASES, SESSIONS


@dataclass(frozen=True)
class Application:
    """A study on its way: ``approvals`` are the signed approval objects in the order they came."""

    digest: str
    study: Mapping[str, Any]
    plan: Mapping[str, Any]
    approvals: tuple[Mapping[str, Any], ...]


class Applications:
    """Applications by digest. Approvals, and the study of an application, are never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_application(self, digest: str, *, study: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
        """Keep an application, and the newest plan of it: what the digest does not bind (documents) may have come.

        Raises:
            IntegrityError: another study stands under ``digest``.
        """
        values = {"study": dumps(study).decode(), "plan": dumps(plan).decode()}
        with self._database.write() as connection:
            known = connection.execute(select(APPLICATIONS).where(APPLICATIONS.c.digest == digest)).one_or_none()
            if known is None:
                connection.execute(insert(APPLICATIONS).values(digest=digest, **values))
            elif known.study != values["study"]:
                raise IntegrityError("application.digest", f"another study is stored under {digest}.")
            elif known.plan != values["plan"]:
                newest = update(APPLICATIONS).where(APPLICATIONS.c.digest == digest).values(plan=values["plan"])
                connection.execute(newest)

    def add_approval(self, application: str, approval: Mapping[str, Any]) -> str:
        """Keep a signed approval of an ``application`` (its digest); the approval's digest. Once is enough.

        Raises:
            InputError: there is no such application.
        """
        made = digest(approval)
        with self._database.write() as connection:
            query = select(APPLICATIONS.c.digest).where(APPLICATIONS.c.digest == application)
            if connection.execute(query).one_or_none() is None:
                raise InputError("application.unknown", f"there is no application {application}.")
            if connection.execute(select(APPROVALS.c.id).where(APPROVALS.c.digest == made)).one_or_none() is None:
                connection.execute(
                    insert(APPROVALS).values(application=application, digest=made, approval=dumps(approval).decode())
                )
        return made

    def application(self, digest: str) -> Application | None:
        """The application under ``digest``, with its approvals."""
        with self._database.read() as connection:
            row = connection.execute(select(APPLICATIONS).where(APPLICATIONS.c.digest == digest)).one_or_none()
            if row is None:
                return None
            query = select(APPROVALS.c.approval).where(APPROVALS.c.application == digest).order_by(APPROVALS.c.id)
            approvals = tuple(json.loads(text) for text in connection.execute(query).scalars())
        return Application(digest, json.loads(row.study), json.loads(row.plan), approvals)

    def digests(self) -> list[str]:
        """The digests of all applications, sorted."""
        with self._database.read() as connection:
            return list(connection.execute(select(APPLICATIONS.c.digest).order_by(APPLICATIONS.c.digest)).scalars())


@dataclass(frozen=True)
class SessionRow:
    """One session; ``error`` is the public form of what ended it."""

    id: str
    study: str
    lead: str
    state: str
    started: str
    ended: str | None
    error: Mapping[str, Any] | None


class Sessions:
    """Sessions by id, so that a restarted node knows what it was doing and never runs a finished one again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, id: str, *, study: str, lead: str, state: str, at: dt.datetime) -> None:
        """Record a new session.

        Raises:
            IntegrityError: this node knows the id already.
        """
        with self._database.write() as connection:
            if connection.execute(select(SESSIONS.c.id).where(SESSIONS.c.id == id)).one_or_none() is not None:
                raise IntegrityError("session.known", f"session {id} exists already at this node.")
            connection.execute(
                insert(SESSIONS).values(id=id, study=study, lead=lead, state=state, started=time_text(at))
            )

    def move(
        self, id: str, state: str, *, ended: dt.datetime | None = None, error: Mapping[str, Any] | None = None
    ) -> None:
        """Record a session's new state; ``ended`` closes it for good.

        Raises:
            IntegrityError: it is unknown or has ended.
        """
        with self._database.write() as connection:
            row = connection.execute(select(SESSIONS.c.ended).where(SESSIONS.c.id == id)).one_or_none()
            if row is None or row.ended is not None:
                raise IntegrityError("session.ended", f"session {id} is not running at this node.")
            values = {
                "state": state,
                "ended": None if ended is None else time_text(ended),
                "error": None if error is None else dumps(error).decode(),
            }
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == id).values(values))

    def session(self, id: str) -> SessionRow | None:
        """The session with this id."""
        with self._database.read() as connection:
            row = connection.execute(select(SESSIONS).where(SESSIONS.c.id == id)).one_or_none()
        return None if row is None else _session(row)

    def sessions(self, *, running: bool = False) -> list[SessionRow]:
        """All sessions, or those that have not ended, by start."""
        query = select(SESSIONS).order_by(SESSIONS.c.started, SESSIONS.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query.where(SESSIONS.c.ended.is_(None)) if running else query).all()
        return [_session(row) for row in rows]


def _session(row: Row[Any]) -> SessionRow:
    error = None if row.error is None else json.loads(row.error)
    return SessionRow(**{**row._mapping, "error": error})


@dataclass(frozen=True)
class StoredRelease:
    """A release as it was made: ``body`` is canonical JSON, ``digest`` is over it."""

    session: str
    study: str
    plan: str
    digest: str
    at: str
    body: bytes


class Releases:
    """Released results, one a session."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_release(self, session: str, *, study: str, plan: str, body: bytes, at: dt.datetime) -> str:
        """Keep a release; its digest. The same again changes nothing.

        Raises:
            IntegrityError: the session released something else before.
        """
        made = digest_bytes(body)
        with self._database.write() as connection:
            query = select(RELEASES.c.digest).where(RELEASES.c.session == session)
            known = connection.execute(query).scalar_one_or_none()
            if known is not None and known != made:
                raise IntegrityError("release.known", f"session {session} has released something else before.")
            if known is None:
                values = {"session": session, "study": study, "plan": plan, "digest": made, "body": body}
                connection.execute(insert(RELEASES).values(at=time_text(at), **values))
        return made

    def release(self, session: str) -> StoredRelease | None:
        """What ``session`` released.

        Raises:
            IntegrityError: the stored body does not match its digest.
        """
        with self._database.read() as connection:
            row = connection.execute(select(RELEASES).where(RELEASES.c.session == session)).one_or_none()
        return None if row is None else _release(row)

    def releases(self, study: str) -> list[StoredRelease]:
        """All releases of a ``study`` (as it was given), oldest first."""
        query = select(RELEASES).where(RELEASES.c.study == study).order_by(RELEASES.c.at, RELEASES.c.session)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [_release(row) for row in rows]


def _release(row: Row[Any]) -> StoredRelease:
    release = StoredRelease(**{**row._mapping, "body": bytes(row.body)})
    if digest_bytes(release.body) != release.digest:
        raise IntegrityError("release.digest", f"the stored release of session {release.session} was changed on disk.")
    return release
