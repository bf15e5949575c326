"""From the nodes' separate answers to the one JSON object of a simulation, which sees all sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xbcompute.client.session import in_order
from xbcompute.core.parties import PartyId
from xbcompute.specs.study import Study


def merged(
    study: Study, answers: Mapping[PartyId, Mapping[str, Any]], ledgers: Mapping[PartyId, Any], *, start_s: float
) -> dict[str, Any]:
    """The lead's decision with every site's own part, the first recipient's results, all crossings, all ledgers."""
    lead = answers[PartyId(study.study.lead)]
    first = next((PartyId(r) for r in study.study.recipients if answers.get(PartyId(r), {}).get("results")), None)
    timing = dict(lead["timing"])
    timing["start_s"] = start_s
    return {
        "study": study.id,
        "digest": study.digest,
        "decision": merged_decision(study, answers),
        "results": {} if first is None else in_order(study, answers[first]["results"]),
        "privacy": lead["privacy"],
        "crossings": [crossing for answer in answers.values() for crossing in answer["crossings"]],
        "ledger": dict(ledgers),
        "timing": timing,
    }


def merged_decision(study: Study, answers: Mapping[PartyId, Mapping[str, Any]]) -> dict[str, Any]:
    """The lead's decision in which ``by_party`` and the counts come from each party's own node."""
    decision = dict(answers[PartyId(study.study.lead)]["decision"])
    by_party = dict(decision["by_party"])
    for party, answer in answers.items():
        own = (answer.get("decision") or {}).get("by_party", {}).get(party)
        if own is not None:
            by_party[party] = own
    decision["by_party"] = by_party
    for count in ("count_before", "count_after"):
        kinds: dict[str, int] = {}
        for own in by_party.values():
            for kind, number in (own.get(count) or {}).items():
                kinds[kind] = max(kinds.get(kind, 0), number)
        decision[count] = kinds
    return decision
