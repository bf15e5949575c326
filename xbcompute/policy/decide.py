"""The plan: the pure join of all findings, the same at every node and in whatever order they came."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from xbcompute.core.canonical import digest
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.parties import PartyId
from xbcompute.policy.carrying import outputs
from xbcompute.policy.cost import Channel, Estimate, estimate
from xbcompute.policy.evidence import missing
from xbcompute.policy.finding import Finding, FindingLimits, PackRef
from xbcompute.policy.rules import smallest
from xbcompute.policy.topology import Topology, topology
from xbcompute.policy.verdict import PATHS, POSTURES, Verdict, strictest
from xbcompute.specs.base import Spec
from xbcompute.specs.card import Card, shipped_cards
from xbcompute.specs.federation import Federation
from xbcompute.specs.pack import PROJECT_RULE, PathName, Posture
from xbcompute.specs.study import Study
from xbcompute.specs.wording import Adversary, GradeName

COMMITTEE_RULE = "C5-EX"
"""The rule that names a number of people from which the committee signs; it applies only once that is reached."""


class PlanParty(Spec):
    """One party's part of the plan. ``required_roles`` must sign at this party; ``hold_roles`` must rule first."""

    jurisdiction: str
    control_group: str
    roles: tuple[str, ...]
    verdict: Verdict
    grade: GradeName | None
    cn_path: PathName
    rules: tuple[str, ...]
    required_roles: tuple[str, ...]
    hold_roles: tuple[str, ...]
    required_evidence: tuple[str, ...]
    refused: dict[str, tuple[str, ...]]


class Plan(Spec):
    """The joined decision before approvals; it holds no counts, and its digest rides every frame.

    ``protocol`` is a card id, or None where none may be used. ``adversary`` is what the rules ask for.
    ``unmet``: preferred cards that were not taken and the rules against them.
    """

    verdict: Verdict
    study_id: str
    study: str
    federation: str
    purpose: str
    sandbox: bool
    outputs: tuple[str, ...]
    protocol: str | None
    card_version: str | None
    estimate: Estimate | None
    adversary: Adversary
    limits: FindingLimits
    cn_path: PathName
    export_posture: Posture
    required_evidence: tuple[str, ...]
    rules: tuple[str, ...]
    citations: tuple[str, ...]
    unmet: dict[str, tuple[str, ...]]
    parties: dict[str, PlanParty]
    packs: tuple[PackRef, ...]

    @functools.cached_property
    def digest(self) -> str:
        """``sha256:…`` of the canonical plan."""
        return digest(self.plain())

    @property
    def tier(self) -> str:
        """The band of its verdict."""
        return self.verdict.tier


def join(
    study: Study,
    federation: Federation,
    findings: Mapping[PartyId, Finding],
    cards: Sequence[Card] | None = None,
    *,
    channel: Channel | None = None,
) -> Plan:
    """The strictest verdict and limits of all findings, and the first preferred card every party admits, else the
    cheapest such. ``channel``: measured figures, the same at every node, for the cost; else each card's own profile.

    Raises:
        InputError: a holder, recipient or the lead has given no finding, or a party or preferred card is unknown.
        IntegrityError: a finding is about another study or was given for another party.
    """
    parties = topology(study, federation)
    cards = tuple(cards or shipped_cards())
    _check(study, federation, parties, findings)
    for name in study.study.protocol.prefer:
        if name not in {card.id for card in cards}:
            raise InputError(
                "card.unknown",
                f"study.toml: [study.protocol] prefers '{name}', and there is no such protocol card.",
                todo=f"The cards are {', '.join(card.id for card in cards)}.",
            )
    found = {party: findings[party] for party in sorted(findings)}
    people = sum(finding.rows_max or 0 for finding in found.values())
    malicious = any(f.malicious_from is not None and people >= f.malicious_from for f in found.values())
    common = [card for card in cards if _admitted(card, parties, found)]
    strong = [card for card in common if not malicious or card.strongest == "malicious"]
    verdict = max(finding.verdict for finding in found.values())
    extra: list[str] = []
    if not strong:
        floor = Verdict.HOLD if any(finding.important for finding in found.values()) else Verdict.DENY
        if verdict is not Verdict.DENY:
            extra += ["NO-CARD", *(["CARD-ADVERSARY"] if common else [])]
        verdict = max(verdict, floor)
    packs, agree = _packs(found)
    if not agree:
        verdict = Verdict.DENY
        extra.append("X06")
    costs = {card.id: estimate(card, study, len(parties.holders), channel) for card in strong}
    card = None if verdict is Verdict.DENY else _choose(strong, study.study.protocol.prefer, costs)
    members = {party: _member(federation, finding, found, people) for party, finding in found.items()}
    lacking = sorted({kind for member in members.values() for kind in member.required_evidence})
    if lacking:
        verdict = max(verdict, Verdict.HOLD)
        extra.append("EVIDENCE")
    if any(_committee(finding, people) for finding in found.values()):
        extra.append(COMMITTEE_RULE)
    if _differ(found):
        extra.append("X08")
    rules = dict.fromkeys([*extra, *(rule for finding in found.values() for rule in finding.rules)])
    cited = {name for finding in found.values() for name in finding.citations} | ({PROJECT_RULE} if extra else set())
    return Plan(
        verdict=verdict,
        study_id=study.id,
        study=study.digest,
        federation=federation.id,
        purpose=study.study.purpose,
        sandbox=study.study.sandbox,
        outputs=outputs(study, card.family if card else "P2"),
        protocol=card.id if card else None,
        card_version=card.version if card else None,
        estimate=costs[card.id] if card else None,
        adversary="malicious" if malicious else "semi_honest",
        limits=join_limits([finding.limits for finding in found.values()]),
        cn_path=strictest((finding.cn_path for finding in found.values()), PATHS),
        export_posture=strictest((finding.export_posture for finding in found.values()), POSTURES),
        required_evidence=tuple(lacking),
        rules=tuple(sorted(rules)),
        citations=(*sorted(cited - {PROJECT_RULE}), *sorted(cited & {PROJECT_RULE})),
        unmet=_unmet(study.study.protocol.prefer, card, found, malicious=malicious),
        parties={str(party): member for party, member in members.items()},
        packs=packs,
    )


def application(plan: Plan) -> dict[str, object]:
    """What people approve: study, parties, the data's grades, protocol card and pack versions."""
    return {
        "federation": plan.federation,
        "grades": {party: member.grade for party, member in plan.parties.items()},
        "packs": [[pack.id, pack.version, pack.sha256] for pack in plan.packs],
        "parties": {
            party: [member.jurisdiction, member.control_group, sorted(member.roles)]
            for party, member in plan.parties.items()
        },
        "protocol": [plan.protocol, plan.card_version],
        "study": plan.study,
    }


def application_digest(plan: Plan) -> str:
    """``sha256:…`` that approvals bind to; change any part of the application and it is a new one."""
    return digest(application(plan))


def join_limits(limits: Sequence[FindingLimits]) -> FindingLimits:
    """The strictest of each limit."""
    retention = smallest(limit.retention_years for limit in limits)
    return FindingLimits(
        cell_min=max(limit.cell_min for limit in limits),
        cell_scope="holder" if any(limit.cell_scope == "holder" for limit in limits) else "pooled",
        model_rules=any(limit.model_rules for limit in limits),
        epsilon_release=smallest(limit.epsilon_release for limit in limits),
        epsilon_year=smallest(limit.epsilon_year for limit in limits),
        retention_years=None if retention is None else int(retention),
    )


def _check(study: Study, federation: Federation, parties: Topology, findings: Mapping[PartyId, Finding]) -> None:
    for party in (*parties.holders, *parties.receivers):
        if party.id not in findings:
            raise InputError("plan.incomplete", f"{party.id} has given no finding on study '{study.id}'.")
    for name, finding in findings.items():
        if federation.find(name) is None:
            raise InputError("plan.party", f"a finding names '{name}', which is no party of federation.toml.")
        if finding.party != name or finding.study != study.digest:
            raise IntegrityError("plan.finding", f"the finding of {name} is about another study or party.")


def _admitted(card: Card, parties: Topology, found: Mapping[PartyId, Finding]) -> bool:
    using = [*parties.holders, *parties.receivers]
    if card.on_shares:
        using += parties.compute
        if card.parties.dealers_min:
            using += parties.dealers
    return all(party.id in found and card.id in found[party.id].admitted for party in using)


def _choose(cards: Sequence[Card], prefer: Sequence[str], costs: Mapping[str, Estimate]) -> Card | None:
    for name in prefer:
        for card in cards:
            if card.id == name:
                return card
    return min(cards, key=lambda card: (costs[card.id].milliseconds, card.id), default=None)


def _packs(found: Mapping[PartyId, Finding]) -> tuple[tuple[PackRef, ...], bool]:
    """Every pack in use, and whether parties that name the same pack mean the same bytes."""
    refs = {(ref.id, ref.version, ref.sha256): ref for finding in found.values() for ref in finding.packs}
    ordered = tuple(refs[key] for key in sorted(refs))
    return ordered, len({ref.id for ref in ordered}) == len(ordered)


def _member(federation: Federation, finding: Finding, found: Mapping[PartyId, Finding], people: int) -> PlanParty:
    spec = federation.find(finding.party)
    if spec is None:
        raise InputError("plan.party", f"'{finding.party}' is no party of federation.toml.")
    committee = _committee(finding, people)
    asked = sorted({kind for other in found.values() for kind in other.asks}) if finding.grade is not None else []
    owed = missing(asked, frozenset(finding.holds), finding.jurisdiction, only_owed=True)
    return PlanParty(
        jurisdiction=finding.jurisdiction,
        control_group=spec.party.control_group,
        roles=tuple(sorted(spec.party.roles)),
        verdict=finding.verdict,
        grade=finding.grade,
        cn_path=finding.cn_path,
        rules=finding.rules,
        required_roles=tuple(sorted({*finding.required_roles, *(["EX"] if committee else [])})),
        hold_roles=finding.hold_roles,
        required_evidence=tuple(dict.fromkeys([*finding.missing_evidence, *owed])),
        refused=finding.refused,
    )


def _committee(finding: Finding, people: int) -> bool:
    return finding.committee_from is not None and people >= finding.committee_from


def _differ(found: Mapping[PartyId, Finding]) -> bool:
    said = {(f.verdict, f.limits) for f in found.values() if f.grade is not None}
    return len({f.jurisdiction for f in found.values() if f.grade is not None}) > 1 and len(said) > 1


def _unmet(
    prefer: Sequence[str], chosen: Card | None, found: Mapping[PartyId, Finding], *, malicious: bool
) -> dict[str, tuple[str, ...]]:
    passed: dict[str, tuple[str, ...]] = {}
    for name in prefer:
        if chosen is not None and name == chosen.id:
            break
        rules = {rule for finding in found.values() for rule in finding.refused.get(name, ())}
        passed[name] = tuple(sorted(rules)) or (("CARD-ADVERSARY",) if malicious else ("NO-CARD",))
    return passed
