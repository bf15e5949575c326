"""The outbound path: thresholds, the entity's own state, what counts whom."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.policies import FOUR, HEALTH, Draft, fleets, hospitals, with_rules
from xbcompute.policy.counting import people_of, too_close, year_of
from xbcompute.policy.request import People
from xbcompute.specs.site import Dataset


def hospital_with(before: int, now: int, kind: str = "sensitive") -> Draft:
    draft = hospitals()
    draft.sites["su-a"]["entity"]["counted_this_year"] = {kind: before}
    draft.people["su-a"] = now
    return draft


@pytest.mark.parametrize(
    ("before", "now", "path", "rule"),
    [
        (0, 0, "NONE", "C3-6"),
        (0, 1, "SC_FILING", "C3-5-sensitive"),
        (1, 0, "SC_FILING", "C3-5-sensitive"),
        (9_999 - 200, 200, "SC_FILING", "C3-5-sensitive"),
        (10_000 - 200, 200, "SEC_ASSESS", "C3-4-sensitive"),
        (0, 9_999, "SC_FILING", "C3-5-sensitive"),
        (0, 10_000, "SEC_ASSESS", "C3-4-sensitive"),
    ],
)
def test_sensitive_people_of_the_year_this_job_included(before: int, now: int, path: str, rule: str) -> None:
    decision = hospital_with(before, now).decide()
    party = decision["by_party"]["su-a"]
    assert party["cn_path"] == path
    assert rule in party["rules"]
    assert party["count_before"]["sensitive"] == before
    assert party["count_after"]["sensitive"] == before + now
    assert decision["verdict"] == ("HOLD" if path == "SEC_ASSESS" else "PERMIT_WITH_CONDITIONS")
    assert party["required_evidence"] == (["SEC_ASSESS"] if path == "SEC_ASSESS" else [])


@pytest.mark.parametrize(
    ("people", "rule", "path"),
    [
        (99_999, "C3-6", "NONE"),
        (100_000, "C3-5", "SC_FILING"),
        (999_999, "C3-5", "SC_FILING"),
        (1_000_000, "C3-4", "SEC_ASSESS"),
    ],
)
def test_other_people_of_the_year(people: int, rule: str, path: str) -> None:
    """Technicians' names: no row permits them, but the path is named all the same."""
    draft = fleets().all_datasets(pi="personal", state_organ_data=False)
    draft.people["su-a"] = people
    party = draft.decide()["by_party"]["su-a"]
    assert party["cn_path"] == path
    assert rule in party["rules"]
    assert party["count_after"] == {"sensitive": 0, "non_sensitive": people}


def test_sensitive_people_counted_before_decide_the_path_of_others() -> None:
    draft = fleets().all_datasets(pi="personal", state_organ_data=False)
    draft.sites["su-a"]["entity"]["counted_this_year"] = {"sensitive": 1}
    assert draft.decide()["by_party"]["su-a"]["cn_path"] == "SC_FILING"


def test_the_largest_chinese_entity_stands_at_the_top() -> None:
    draft = hospitals()
    draft.people = {"su-a": 120, "su-b": 180, "sg-a": 500, "sg-b": 500}
    decision = draft.decide()
    assert decision["count_after"]["sensitive"] == 180
    assert decision["by_party"]["sg-a"]["count_after"]["sensitive"] == 0


def test_without_a_filing_the_study_is_held() -> None:
    decision = hospitals().without_evidence("su-a", "SC_FILING").decide()
    assert decision["verdict"] == "HOLD"
    assert decision["required_evidence"] == ["SC_FILING or CERT"]
    assert decision["cn_path"] == "SC_FILING"
    assert decision["by_party"]["su-a"]["verdict"] == "HOLD"
    assert decision["by_party"]["su-b"]["verdict"] == "PERMIT_WITH_CONDITIONS"


@pytest.mark.parametrize("kind", ["CERT", "SEC_ASSESS"])
def test_a_certificate_or_an_assessment_serves_as_well(kind: str) -> None:
    draft = hospitals()
    for party in ("su-a", "su-b"):
        draft.without_evidence(party, "SC_FILING").sites[party]["evidence"].append({"kind": kind})
    decision = draft.decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["cn_path"] == kind


def test_a_filing_does_not_serve_where_the_assessment_is_due() -> None:
    decision = hospital_with(0, 10_000).decide()
    assert decision["required_evidence"] == ["SEC_ASSESS"]


@pytest.mark.parametrize(("ciio", "verdict", "rule"), [(True, "HOLD", "C3-3"), ("unknown", "HOLD", "C3-3-unknown")])
def test_critical_infrastructure(ciio: Any, verdict: str, rule: str) -> None:
    draft = hospitals()
    draft.sites["su-a"]["entity"]["ciio"] = ciio
    decision = draft.decide()
    assert (decision["verdict"], decision["cn_path"]) == (verdict, "SEC_ASSESS")
    assert rule in with_rules(decision)
    draft.sites["su-a"]["evidence"].append({"kind": "SEC_ASSESS"})
    assert draft.decide()["verdict"] == ("HOLD" if ciio == "unknown" else "PERMIT_WITH_CONDITIONS")


def test_an_operator_that_does_not_say_is_unknown() -> None:
    draft = hospitals()
    del draft.sites["su-b"]["entity"]["ciio"]
    assert "C3-3-unknown" in with_rules(draft.decide())


def test_critical_infrastructure_without_personal_information_does_not_matter() -> None:
    draft = fleets()
    draft.sites["su-a"]["entity"]["ciio"] = "unknown"
    decision = draft.decide()
    assert (decision["verdict"], decision["cn_path"]) == ("PERMIT", "NONE")
    assert "C3-7" in with_rules(decision)


def dataset(**keys: Any) -> Dataset:
    body = {"id": "d", "source": "d.csv", "origin": "CN", "subjects": "pid", "rows_max": 9, **HEALTH}
    return Dataset.model_validate({**body, "columns": {"y": {"type": "number"}}, **keys})


@pytest.mark.parametrize(
    ("keys", "industry", "people"),
    [
        ({}, "biomed", People(7, 0)),
        ({"pi": "deidentified"}, "biomed", People(7, 0)),
        ({"pi": "personal"}, "biomed", People(7, 0)),
        ({"pi": "unknown"}, "aviation", People(7, 0)),
        ({"pi": "sensitive"}, "aviation", People(7, 0)),
        ({"pi": "personal"}, "aviation", People(0, 7)),
        ({"pi": "deidentified"}, "aviation", People(0, 7)),
        ({"pi": "personal", "minors_under14": True}, "aviation", People(7, 0)),
        ({"pi": "anonymised"}, "biomed", People(0, 0)),
        ({"pi": "none"}, "biomed", People(0, 0)),
        ({"pi": "none", "sg_class": "none"}, "biomed", People(0, 0)),
        ({"pi": "none", "sg_class": "personal"}, "biomed", People(7, 0)),
    ],
)
def test_who_counts_as_what(keys: dict[str, Any], industry: str, people: People) -> None:
    assert people_of(dataset(**keys), industry, 7) == people


@pytest.mark.parametrize(
    ("moment", "year"),
    [
        ("2026-12-31T23:59:59+08:00", 2026),
        ("2027-01-01T00:00:00+08:00", 2027),
        ("2026-12-31T15:59:59+00:00", 2026),
        ("2026-12-31T16:00:00+00:00", 2027),
    ],
)
def test_years_turn_at_midnight_in_shanghai(moment: str, year: int) -> None:
    assert year_of(dt.datetime.fromisoformat(moment)) == year


@pytest.mark.parametrize(("difference", "close"), [(0, False), (1, True), (9, True), (10, False)])
def test_populations_too_close_to_tell_apart(difference: int, close: bool) -> None:
    assert too_close(difference, 10) is close


def test_people_add_up_by_kind() -> None:
    assert People(1, 2) + People(3, 4) == People(4, 6)
    assert People(1, 2).plain() == {"sensitive": 1, "non_sensitive": 2}


def test_four_is_two_on_each_side() -> None:
    assert sorted(FOUR.values()) == ["CN", "CN", "SG", "SG"]
