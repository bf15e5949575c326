"""What would make it yes: the smallest set of changes after which policy lets a study run, or that none was found."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy import edits
from xbcompute.policy.edits import Case, Edit
from xbcompute.policy.folder import decide_folder
from xbcompute.policy.verdict import Verdict

MOST_WEIGHT = 3
"""Changes of the study or its parties that are tried together, at most two, by weight; documents and signatures that a
held study merely waits for are not counted.
"""
MOST_REPAIRS = 6


@dataclass(frozen=True)
class Answer:
    """One way to a yes, or none: the changes, then the documents and the signatures that are still needed."""

    verdict: str
    protocol: str | None
    changes: tuple[Edit, ...]
    documents: tuple[tuple[str, str], ...]
    signatures: tuple[tuple[str, str], ...]

    def plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "verdict": self.verdict,
            "protocol": self.protocol,
            "changes": [{"kind": edit.kind, **edit.text.plain()} for edit in self.changes],
            "documents": [{"party": party, "kind": kind} for party, kind in self.documents],
            "signatures": [{"party": party, "role": role} for party, role in self.signatures],
        }


@dataclass(frozen=True)
class Search:
    """What does not change while one searches: each site's moment, and kinds with a noise mechanism."""

    now: Mapping[PartyId, dt.datetime]
    noise_kinds: frozenset[str] = frozenset()

    def decide(self, case: Case) -> dict[str, Any]:
        """The decision on a case; a party that was added has everybody's latest moment."""
        latest = max(self.now.values())
        now = {party: self.now.get(party, latest) for party in case.folder.sites}
        return decide_folder(case.folder, case.people, now, noise_kinds=self.noise_kinds)

    def complete(self, case: Case, changes: tuple[Edit, ...]) -> Answer | None:
        """The answer once every document that is asked for is there and every role has signed; None where even then
        the study may not run. Nothing is signed for a study that is refused.
        """
        documents: dict[tuple[str, str], None] = {}
        signatures: dict[tuple[str, str], None] = {}
        for _ in range(MOST_REPAIRS):
            decision = self.decide(case)
            verdict = Verdict(decision["verdict"])
            if verdict.runs:
                return Answer(verdict.value, decision["protocol"], changes, tuple(documents), tuple(signatures))
            if verdict is Verdict.DENY:
                return None
            before = case
            for party, member in decision["by_party"].items():
                for text in member["required_evidence"]:
                    kind = text.split(" or ")[0]
                    if (party, kind) not in documents:
                        documents[party, kind] = None
                        case = edits.with_document(case, PartyId(party), kind)
                roles = [role for role in member["required_roles"] if (party, role) not in signatures]
                if roles:
                    signatures.update(((party, role), None) for role in roles)
                    case = edits.with_signatures(case, PartyId(party), roles, decision["outputs"])
            if case is before:
                return None
        return None


def what_would_make_it_yes(case: Case, search: Search) -> tuple[dict[str, Any], tuple[Answer, ...]]:
    """The decision as it stands, and the answers with the fewest changes, best first; empty: none was found.

    Of equally few changes, those with fewer documents stand first; data that is important, genetic or core is never
    regraded, and a refusal that only another rule could lift has no answer.
    """
    decision = search.decide(case)
    if (answer := search.complete(case, ())) is not None:
        return decision, (answer,)
    options = list(edits.candidates(case, decision))
    for weight in range(1, MOST_WEIGHT + 1):
        found = []
        for chosen in _selections(options, weight):
            changed = _apply(case, chosen)
            answer = None if changed is None else search.complete(changed, chosen)
            if answer is not None:
                found.append(answer)
        if found:
            return decision, tuple(sorted(found, key=lambda a: (len(a.documents), len(a.signatures)))[:5])
    return decision, ()


def _selections(options: list[Edit], weight: int) -> list[tuple[Edit, ...]]:
    """One change or two of this weight together; a contributor may be added twice."""
    twice = [(edit, edit) for edit in options if edit.kind == "contributor"]
    every = [*((edit,) for edit in options), *itertools.combinations(options, 2), *twice]
    return [chosen for chosen in every if sum(edit.weight for edit in chosen) == weight]


def _apply(case: Case, chosen: tuple[Edit, ...]) -> Case | None:
    for edit in chosen:
        try:
            changed = edit.apply(case)
        except InputError:
            return None
        if changed is case:
            return None
        case = changed
    return case
