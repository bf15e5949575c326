"""Submitting a study to a node and following it to its end; the same over TLS and in a simulation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from xbcompute.client.study import Study
from xbcompute.core.errors import from_public
from xbcompute.specs import study as specs

Progress = Callable[[Mapping[str, Any]], None]


class Caller(Protocol):
    """What a user asks of a node."""

    def explain(self, study: bytes) -> bytes:
        """The decision on a study, as JSON."""

    def submit(self, study: bytes) -> str:
        """Start a study; its session."""

    def watch(self, session: str) -> Iterator[bytes]:
        """Events, as JSON, until the session ends."""

    def results(self, session: str) -> bytes:
        """How a session ended, as JSON."""

    def approve(self, body: bytes) -> bytes:
        """Hand in signed approvals."""

    def ledger(self, since: int = 0) -> Iterator[bytes]:
        """The ledger file in pieces."""

    def status(self) -> bytes:
        """The node's state, as JSON."""


def explained(caller: Caller, study: Study) -> tuple[dict[str, Any], str]:
    """The decision on ``study`` and the digest of the application that approvals sign."""
    body = json.loads(caller.explain(study.encode()))
    return dict(body["decision"]), str(body["application"])


def in_order(study: specs.Study, results: Mapping[str, Any] | None) -> dict[str, Any]:
    """Results in the order of the study's analyses; canonical JSON has them sorted by name."""
    found = results or {}
    return {analysis.id: found[analysis.id] for analysis in study.analysis if analysis.id in found}


def followed(caller: Caller, study: Study, progress: Progress | None) -> str:
    """Submit ``study`` to its lead's node and watch it to the end; the session.

    Raises:
        XbError: what ended the session, if it was not its own end.
    """
    session = caller.submit(study.encode())
    last: Mapping[str, Any] = {}
    for data in caller.watch(session):
        last = json.loads(data)
        if progress is not None:
            progress(last)
    error = last.get("error")
    if error:
        raise from_public(error)
    return session
