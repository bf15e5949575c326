"""Laws of the rows that rest on people, tags, descent, events and documents: more cause for care is never answered
more mildly.
"""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.policies import DESCRIBE, FLEET, HEALTH, LINEAR, TRAIN, Draft
from xbcompute.policy.verdict import Verdict

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TOPOLOGIES = [
    {"a": "CN", "b": "CN", "x": "SG", "y": "SG"},
    {"a": "CN", "x": "SG"},
    {"a": "CN", "x": "SG", "y": "SG"},
    {"a": "CN", "b": "CN", "c": "CN"},
]
FLEET_CHAIN: list[dict[str, Any]] = [
    {"pi": "none"},
    {"pi": "anonymised"},
    {"pi": "deidentified"},
    {"pi": "personal"},
    {"pi": "sensitive"},
    {"pi": "sensitive", "health_level": 5},
    {"pi": "sensitive", "health_level": 5, "important_source": "suspected"},
    {"pi": "sensitive", "health_level": 5, "cn_grade": "core"},
]
PEOPLE = [0, 99, 100, 499, 500, 9_849, 9_850, 99_849, 99_850, 999_849, 999_850]


@st.composite
def drafts(draw: st.DrawFn, industry: str | None = None) -> Draft:
    parties = draw(st.sampled_from(TOPOLOGIES))
    industry = industry or draw(st.sampled_from(["biomed", "aviation"]))
    keys = {**HEALTH, "health_level": "none"} if industry == "aviation" else HEALTH
    keys = {**keys, **(FLEET if industry == "aviation" else {})}
    keys["pi"] = draw(st.sampled_from(["none", "anonymised", "deidentified", "personal", "sensitive"]))
    if industry == "biomed":
        keys["health_level"] = draw(st.sampled_from([1, 2, 3, 4, 5]))
    draft = Draft(parties, keys, industry, draw(st.sampled_from([[LINEAR], [DESCRIBE], [TRAIN]])))
    for party, site in draft.sites.items():
        site["site"]["packs"] = [parties[party].lower(), industry, *(["biomed"] if industry == "aviation" else [])]
        site["approval"][0]["outputs"] += ["model_secagg", "model_plain_rounds"]
        site["approval"][0]["roles"] += ["EX", "LG", "XC"]
        if draw(st.booleans()):
            site["evidence"] += [{"kind": "RULING_EX"}, {"kind": "SEC_ASSESS"}]
    return draft


def verdict(draft: Draft) -> Verdict:
    return Verdict(draft.decide()["verdict"])


@FEW
@given(drafts("aviation"), st.integers(0, len(FLEET_CHAIN) - 1), st.integers(0, len(FLEET_CHAIN) - 1), st.data())
def test_maintenance_data_of_a_higher_grade(draft: Draft, one: int, other: int, data: Any) -> None:
    party = data.draw(st.sampled_from(sorted(draft.sites)))
    before_keys = copy.deepcopy(draft.dataset(party))
    draft.dataset(party).update(FLEET_CHAIN[min(one, other)])
    before = verdict(draft)
    draft.sites[party]["dataset"][0] = {**before_keys, **FLEET_CHAIN[max(one, other)]}
    assert verdict(draft) >= before


@FEW
@given(drafts(), st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.sampled_from(["counted", "group", "rows"]))
def test_more_people(draft: Draft, one: int, other: int, where: str) -> None:
    purpose = draft.study["study"]["purpose"]

    def at(number: int) -> Verdict:
        both = {"sensitive": number, "non_sensitive": number}
        for site in draft.sites.values():
            if where == "counted":
                site["entity"]["counted_this_year"] = both
            elif where == "group":
                site["entity"]["same_purpose_this_year"] = {purpose: both}
        if where == "rows":
            draft.all_datasets(rows_max=max(200, number))
        return verdict(draft)

    assert at(max(one, other)) >= at(min(one, other))


@FEW
@given(drafts(), st.sampled_from(["event", "tag", "derived", "secret", "mixed"]), st.data())
def test_more_cause_for_care(draft: Draft, what: str, data: Any) -> None:
    party = data.draw(st.sampled_from(sorted(draft.sites)))
    dataset = draft.dataset(party)
    before = verdict(draft)
    if what == "event":
        dataset["event"] = [{"kind": "reidentification", "at": "2026-01-01"}]
    elif what == "tag":
        dataset["columns"]["y"]["tags"] = [data.draw(st.sampled_from(["occurrence", "licence"]))]
    elif what == "derived":
        dataset["derived"] = {"grade": data.draw(st.sampled_from(["G2", "G3", "G4", "G5", "G5s", "G6", "G7", "G8"]))}
    elif what == "secret":
        dataset["state_secret"] = True
    else:
        draft.sites[party]["evidence"] = [{**e, "purposes": ["another"]} for e in draft.sites[party]["evidence"]]
    assert verdict(draft) >= before
