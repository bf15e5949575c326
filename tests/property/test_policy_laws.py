"""Laws of the decision: it is never milder for a higher grade, less evidence, more rules or more people counted."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.support.policies import DESCRIBE, HEALTH, LINEAR, NOW, TRAIN, Draft
from xbcompute.core.parties import PartyId
from xbcompute.policy.decide import join
from xbcompute.policy.finding import find
from xbcompute.policy.folder import requests
from xbcompute.policy.request import People, Request
from xbcompute.policy.rules import Needs
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.pack import LoadedPack, Pack, Requires

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TOPOLOGIES = [
    {"a": "CN", "b": "CN", "x": "SG", "y": "SG"},
    {"a": "CN", "x": "SG"},
    {"a": "CN", "b": "CN", "x": "SG"},
    {"a": "CN", "b": "CN", "c": "CN"},
    {"x": "SG", "y": "SG", "z": "SG"},
]
FLEET_KEYS = {"pi": "none", "export_control": {"cn": "none", "sg": "none"}}

RAISED: list[tuple[str, Any, Any]] = [
    ("pi", "none", "anonymised"),
    ("pi", "anonymised", "deidentified"),
    ("pi", "deidentified", "personal"),
    ("pi", "personal", "sensitive"),
    ("health_level", 1, 2),
    ("health_level", 2, 3),
    ("health_level", 3, 4),
    ("health_level", 4, 5),
    ("cn_grade", "general", "unknown"),
    ("cn_grade", "general", "important"),
    ("cn_grade", "important", "core"),
    ("important_source", "none", "suspected"),
    ("hgr", "none", "genetic_info"),
    ("hgr", "clinical_only", "wes_wgs"),
    ("hgr", "none", "unknown"),
    ("minors_under14", False, True),
    ("minors_under14", False, "unknown"),
    ("special_disease", False, True),
    ("state_organ_data", False, True),
    ("state_organ_data", False, "unknown"),
    ("state_secret", False, True),
    ("export_control", {"cn": "none", "sg": "none"}, {"cn": "unknown", "sg": "none"}),
    ("export_control", {"cn": "unknown", "sg": "none"}, {"cn": "listed", "sg": "none"}),
    ("sg_class", "none", "anonymised"),
    ("sg_class", "anonymised", "hbra_nonidentifiable"),
    ("sg_class", "hbra_nonidentifiable", "personal"),
    ("sg_class", "personal", "hbra_identifiable"),
    ("sg_class", "personal", "nehr"),
]


@st.composite
def drafts(draw: st.DrawFn) -> Draft:
    parties = draw(st.sampled_from(TOPOLOGIES))
    industry = draw(st.sampled_from(["biomed", "biomed", "biomed", "aviation"]))
    analyses = draw(st.sampled_from([[LINEAR], [DESCRIBE], [LINEAR, DESCRIBE], [TRAIN]]))
    draft = Draft(parties, HEALTH, industry, analyses)
    draft.study["study"]["protocol"] = {"prefer": draw(st.sampled_from([[], ["masked-sum"], ["two-party"]]))}
    for site in draft.sites.values():
        site["approval"][0]["outputs"] += ["model_secagg", "model_plain_rounds"]
        site["approval"][0]["roles"] += ["EX", "LG", "XC"]
    for party in parties:
        dataset = draft.dataset(party)
        if industry == "aviation":
            dataset.update(FLEET_KEYS)
        else:
            dataset["pi"] = draw(st.sampled_from(["none", "anonymised", "deidentified", "personal", "sensitive"]))
            dataset["health_level"] = draw(st.sampled_from([1, 2, 3, 4, 4, 5]))
            dataset["hgr"] = draw(st.sampled_from(["none", "clinical_only"]))
        if parties[party] == "SG":
            dataset["sg_class"] = draw(st.sampled_from(["none", "anonymised", "personal"]))
        if draw(st.integers(0, 9)) == 0:
            draft.sites[party]["evidence"].pop()
        if draw(st.integers(0, 9)) == 0:
            dataset["consent"]["recipients"] = []
    return draft


def verdict(draft: Draft) -> Verdict:
    return Verdict(draft.decide()["verdict"])


@FEW
@given(drafts(), st.sampled_from(RAISED), st.data())
def test_a_higher_grade_is_never_answered_more_mildly(draft: Draft, change: tuple[str, Any, Any], data: Any) -> None:
    key, low, high = change
    party = data.draw(st.sampled_from(sorted(draft.sites)))
    assume(key != "sg_class" or draft.dataset(party)["origin"] == "SG")
    draft.dataset(party)[key] = copy.deepcopy(low)
    before = verdict(draft)
    draft.dataset(party)[key] = copy.deepcopy(high)
    assert verdict(draft) >= before


@FEW
@given(drafts(), st.data())
def test_less_evidence_or_consent_is_never_answered_more_mildly(draft: Draft, data: Any) -> None:
    party = data.draw(st.sampled_from(sorted(draft.sites)))
    site = draft.sites[party]
    before = verdict(draft)
    how = data.draw(st.sampled_from(["drop", "expire", "scope", "consent", "export", "listing"]))
    if how in ("drop", "expire", "scope"):
        assume(site["evidence"])
        item = data.draw(st.sampled_from(site["evidence"]))
        if how == "drop":
            site["evidence"].remove(item)
        elif how == "expire":
            item["to"] = "2026-11-01"
        else:
            item["purposes"] = ["something else"]
    elif how == "listing":
        site["entity"]["listed_partner_until"] = "2026-11-01"
    else:
        narrower: dict[str, Any] = {"export": False} if how == "export" else {"purposes": []}
        draft.dataset(party)["consent"] = {**draft.dataset(party)["consent"], **narrower}
    assert verdict(draft) >= before


@FEW
@given(drafts(), st.integers(0, 20_000), st.integers(0, 1_200_000), st.data())
def test_more_people_counted_are_never_answered_more_mildly(draft: Draft, more: int, others: int, data: Any) -> None:
    party = data.draw(st.sampled_from(sorted(draft.sites)))
    before = verdict(draft)
    draft.sites[party]["entity"]["counted_this_year"] = {"sensitive": more, "non_sensitive": others}
    assert verdict(draft) >= before


RULES = [
    {"verdict": "DENY"},
    {"verdict": "HOLD"},
    {"verdict": "HOLD", "until": ["PIA"]},
    {"verdict": "PERMIT_WITH_CONDITIONS"},
    {"requires": {"families": ["P4"]}},
    {"requires": {"malicious_from": 0}},
    {"requires": {"evidence": ["SELF_ASSESS"]}},
    {"requires": {"roles": ["RG"]}},
    {"requires": {"consent": "needed"}},
    {"requires": {"cell_min": 50, "cell_scope": "holder", "retention_years": 1}},
    {"requires": {"noise": True}},
    {"requires": {"operators_min": 9}},
    {"requires": {"committee_from": 0}},
]


def house_pack(rules: list[dict[str, Any]]) -> LoadedPack:
    body = {
        "id": "house",
        "version": "1",
        "title": {"zh": "家", "en": "house"},
        "status": "in_force",
        "effective": "2026-01-01",
        "rule": [
            {
                "id": f"H{number}",
                "text": {"zh": "规则", "en": "rule"},
                "mark": "D",
                "cites": ["project rule"],
                "match": [{"field": "industry", "op": "in", "value": ["biomed", "aviation"]}],
                **rule,
            }
            for number, rule in enumerate(rules)
        ],
    }
    return LoadedPack(Pack.model_validate(body), "sha256:" + "1" * 64, shipped=False)


def asked(draft: Draft) -> dict[PartyId, Request]:
    folder = draft.folder()
    people = {PartyId(party): count for party, count in draft.people.items()}
    return requests(folder, people, dict.fromkeys(folder.sites, NOW))


def planned(built: dict[PartyId, Request]) -> tuple[Verdict, Any]:
    first = next(iter(built.values()))
    plan = join(first.study, first.federation, {party: find(request)[0] for party, request in built.items()})
    return plan.verdict, plan


@FEW
@given(drafts(), st.lists(st.sampled_from(RULES), min_size=1, max_size=3), st.data())
def test_a_further_rule_is_never_answered_more_mildly(draft: Draft, rules: list[dict[str, Any]], data: Any) -> None:
    built = asked(draft)
    party = data.draw(st.sampled_from(sorted(built)))
    before, plan = planned(built)
    request = built[party]
    built[party] = dataclasses.replace(request, packs=(*request.packs, house_pack(rules)))
    after, stricter = planned(built)
    assert after >= before
    assert stricter.limits.cell_min >= plan.limits.cell_min
    assert set(stricter.parties[party].required_roles) >= set(plan.parties[party].required_roles)


@FEW
@given(drafts(), st.randoms(use_true_random=False))
def test_neither_the_order_of_packs_nor_of_findings_matters(draft: Draft, random: Any) -> None:
    built = asked(draft)
    _, plan = planned(built)
    shuffled = list(built.items())
    random.shuffle(shuffled)
    mixed = {}
    for party, request in shuffled:
        packs = list(request.packs)
        random.shuffle(packs)
        mixed[party] = dataclasses.replace(request, packs=tuple(packs))
    assert planned(mixed)[1].digest == plan.digest


@FEW
@given(drafts())
def test_every_answer_but_permit_says_why_and_on_what_authority(draft: Draft) -> None:
    decision = draft.decide()
    assert decision["reasons"] or decision["verdict"] == "PERMIT"
    if decision["verdict"] != "PERMIT":
        assert decision["citations"]
        assert all(reason["zh"] and reason["en"] for reason in decision["reasons"])
    if decision["verdict"] == "HOLD":
        assert decision["required_evidence"] or decision["required_roles"] or "NO-CARD" in decision["rules"]
    if decision["verdict"] in ("PERMIT", "PERMIT_WITH_CONDITIONS"):
        assert decision["protocol"] is not None
        assert not decision["required_evidence"]
        assert not decision["required_roles"]


requirements = st.builds(
    Requires,
    families=st.none() | st.sets(st.sampled_from(["P0", "P2", "P3", "P4"])).map(tuple),
    malicious_from=st.none() | st.integers(0, 3),
    committee_from=st.none() | st.integers(0, 3),
    operators_min=st.none() | st.integers(0, 3),
    noise=st.booleans(),
    cell_min=st.none() | st.integers(1, 20),
    cell_scope=st.none() | st.just("holder"),
    epsilon_release=st.none() | st.sampled_from([0.5, 1.0]),
    retention_years=st.none() | st.integers(1, 5),
    roles=st.sets(st.sampled_from(["DS", "DPO"])).map(tuple),
    evidence=st.sets(st.sampled_from(["PIA", "CERT or SC_FILING"])).map(tuple),
    consent=st.none() | st.sampled_from(["needed", "if_declared"]),
    cn_path=st.none() | st.sampled_from(["NONE", "SC_FILING", "SEC_ASSESS"]),
    posture=st.none() | st.sampled_from(["not_export", "export"]),
).map(Needs.of)


@settings(max_examples=200, deadline=None)
@given(requirements, requirements, requirements)
def test_requirements_are_a_join_semilattice(a: Needs, b: Needs, c: Needs) -> None:
    both = Needs.join([a, b])
    assert Needs.join([b, a]) == both
    assert Needs.join([a, a]) == a
    assert Needs.join([both, c]) == Needs.join([a, Needs.join([b, c])]) == Needs.join([a, b, c])
    assert Needs.join([]) == Needs()


def test_nobody_counted_is_the_zero_of_counting() -> None:
    assert People(3, 4) + People() == People(3, 4)
