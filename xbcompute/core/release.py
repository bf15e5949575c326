"""The only form in which a result may leave: checked, digested, bound to its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbcompute.core.canonical import digest, dumps


@dataclass(frozen=True)
class Release:
    """Results that passed output checking at this node.

    ``results`` maps analysis ids to JSON objects; ``study`` and ``plan`` are ``sha256:…`` digests.
    """

    study: str
    plan: str
    session: str
    results: Mapping[str, Mapping[str, Any]]

    def body(self) -> dict[str, Any]:
        """The JSON object that is digested, signed, stored and sent."""
        return {
            "plan": self.plan,
            "results": {key: dict(value) for key, value in self.results.items()},
            "session": self.session,
            "study": self.study,
        }

    @property
    def digest(self) -> str:
        """``sha256:…`` of the canonical body."""
        return digest(self.body())

    def encode(self) -> bytes:
        """Canonical JSON of the body."""
        return dumps(self.body())
