"""Findings cross the border without counts; their join is the same at every node; the page says what it must."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.support.policies import FOUR, NOW, hospitals
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits
from xbcompute.policy import approvals, view
from xbcompute.policy.decide import Plan, join, join_limits
from xbcompute.policy.folder import findings, plan_folder, requests
from xbcompute.policy.reasons import Note, explain, severity
from xbcompute.policy.statement import Finding, FindingLimits
from xbcompute.specs.base import parse

FOLDER = hospitals().folder()
FINDINGS = hospitals().findings()
PLAN = join(FOLDER.study, FOLDER.federation, FINDINGS)


def test_a_finding_reads_back_from_the_wire() -> None:
    for finding in FINDINGS.values():
        sent = json.loads(dumps(finding.plain()))
        assert parse(Finding, sent, "finding") == finding


def test_a_plan_reads_back_and_keeps_its_digest() -> None:
    again = parse(Plan, json.loads(dumps(PLAN.plain())), "plan")
    assert again == PLAN
    assert again.digest == PLAN.digest
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", PLAN.digest)


def test_neither_finding_nor_plan_holds_counts() -> None:
    draft = hospitals()
    draft.people = dict.fromkeys(FOUR, 173)
    draft.sites["su-a"]["entity"]["counted_this_year"] = {"sensitive": 4211, "non_sensitive": 97531}
    found = draft.findings()
    folder = draft.folder()
    plan = join(folder.study, folder.federation, found)
    for text in (*(dumps(finding.plain()).decode() for finding in found.values()), dumps(plan.plain()).decode()):
        numbers = set(re.findall(r"(?<![0-9a-f])\d+(?![0-9a-f])", text))
        assert not numbers & {"173", "4211", "97531", str(4211 + 173)}
    assert plan.digest == PLAN.digest


def test_the_order_of_findings_does_not_matter() -> None:
    backwards = dict(reversed(list(FINDINGS.items())))
    assert join(FOLDER.study, FOLDER.federation, backwards) == PLAN


def test_every_holder_must_have_given_a_finding() -> None:
    short = {party: finding for party, finding in FINDINGS.items() if party != "sg-a"}
    with pytest.raises(InputError, match="sg-a"):
        join(FOLDER.study, FOLDER.federation, short)


def test_a_stranger_gives_no_finding() -> None:
    with pytest.raises(InputError, match="stranger"):
        join(FOLDER.study, FOLDER.federation, {**FINDINGS, PartyId("stranger"): FINDINGS[PartyId("su-a")]})


@pytest.mark.parametrize("changes", [{"party": "su-b"}, {"study": "sha256:" + "0" * 64}])
def test_a_finding_about_something_else_is_refused(changes: dict[str, str]) -> None:
    wrong = FINDINGS[PartyId("su-a")].model_copy(update=changes)
    with pytest.raises(IntegrityError):
        join(FOLDER.study, FOLDER.federation, {**FINDINGS, PartyId("su-a"): wrong})


def test_parties_that_mean_different_packs_by_one_name_do_not_agree() -> None:
    mine = FINDINGS[PartyId("su-a")]
    packs = tuple(ref.model_copy(update={"sha256": "sha256:" + "0" * 64}) for ref in mine.packs)
    plan = join(
        FOLDER.study, FOLDER.federation, {**FINDINGS, PartyId("su-a"): mine.model_copy(update={"packs": packs})}
    )
    assert (plan.verdict.value, plan.protocol) == ("DENY", None)
    assert "X06" in plan.rules


def limits(**changes: Any) -> FindingLimits:
    base: dict[str, Any] = {
        "cell_min": 5,
        "cell_scope": "pooled",
        "model_rules": False,
        "epsilon_release": None,
        "epsilon_year": None,
        "retention_years": None,
    }
    return FindingLimits(**{**base, **changes})


def test_limits_join_to_the_strictest_of_each() -> None:
    joined = join_limits(
        [
            limits(cell_min=10, epsilon_release=1.0, retention_years=3),
            limits(cell_scope="holder", epsilon_release=2.0, epsilon_year=4.0, retention_years=5),
            limits(model_rules=True),
        ]
    )
    assert joined == limits(
        cell_min=10,
        cell_scope="holder",
        model_rules=True,
        epsilon_release=1.0,
        epsilon_year=4.0,
        retention_years=3,
    )
    assert joined.core() == Limits(
        cell_min=10,
        cell_scope="holder",
        model_rules=True,
        epsilon_release=1.0,
        epsilon_year=4.0,
        retention="P3Y",
    )
    assert limits().retention is None


def test_the_plan_of_a_folder_is_the_join_of_its_findings() -> None:
    people = {PartyId(party): 150 for party in FOUR}
    assert plan_folder(requests(FOLDER, people, dict.fromkeys(FOLDER.sites, NOW))) == PLAN


def test_a_folder_needs_every_holders_count() -> None:
    with pytest.raises(InputError, match="sg-b"):
        requests(FOLDER, {PartyId("su-a"): 1, PartyId("su-b"): 1, PartyId("sg-a"): 1}, dict.fromkeys(FOLDER.sites, NOW))


def decision_for(*parties: str) -> dict[str, Any]:
    """What a client sees that may see these parties' views."""
    people = {PartyId(party): 150 for party in FOUR}
    found, views = findings(requests(FOLDER, people, dict.fromkeys(FOLDER.sites, NOW)))
    plan = join(FOLDER.study, FOLDER.federation, found)
    results = {p: approvals.check(plan, [], NOW, p) for p in parties}
    return view.decision_json(plan, results, {p: views[p] for p in parties}, now=NOW)


def test_a_client_sees_its_own_counts_only() -> None:
    decision = decision_for("su-a")
    assert decision["by_party"]["su-a"]["count_after"]["sensitive"] == 150
    assert "count_after" not in decision["by_party"]["su-b"]
    assert decision["count_after"]["sensitive"] == 150
    assert decision_for("sg-a")["count_after"] == {"sensitive": 0, "non_sensitive": 0}
    assert {"B08", "B20"} <= {reason["rule"] for reason in decision["reasons"]}


def test_roles_of_parties_that_were_not_checked_stand_as_required() -> None:
    assert decision_for()["by_party"]["su-a"]["required_roles"] == ["CP", "DPO", "DS", "EC-IRB"]


def test_a_decision_is_json_with_the_agreed_keys() -> None:
    decision = hospitals().decide()
    assert json.loads(dumps(decision)) == decision
    assert set(decision) >= {
        "verdict", "tier", "protocol", "cn_path", "count_before", "count_after", "export_posture", "limits",
        "required_evidence", "required_roles", "rules", "citations", "reasons", "by_party",
    }  # fmt: skip
    for reason in decision["reasons"]:
        assert set(reason) == {"rule", "zh", "en", "mark"}
        assert all(reason.values())
    assert {reason["rule"] for reason in decision["reasons"]} == set(decision["rules"])


def test_the_same_request_gives_the_same_bytes() -> None:
    assert dumps(hospitals().decide()) == dumps(hospitals().decide())


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_says_what_leaves_why_and_under_which_assumption(lang: view.Language) -> None:
    decision = hospitals().decide()
    page = view.explain_text(decision, lang)
    for word in ("masked-sum", "SC_FILING", "B08", "B20", "PIPL 38", "限制", "su-a", "biomed 2026.11", "150"):
        assert word in page
    assert view.explain_text(decision, "zh") != view.explain_text(decision, "en")
    assert ("非法律意见" if lang == "zh" else "not legal advice") in page


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_of_a_refusal_names_no_protocol(lang: view.Language) -> None:
    draft = hospitals()
    draft.dataset("su-a")["cn_grade"] = "core"
    page = view.explain_text(draft.decide(), lang)
    assert "禁止 · DENY" in page
    assert "masked-sum" not in page
    assert page.index("[B01]") < page.index("[B08]" if "[B08]" in page else "[B20]")


@pytest.mark.parametrize(
    ("rule", "place"), [("B01", 0), ("NO-CARD", 1), ("B18", 2), ("B08", 3), ("C3-7", 4), ("X08", 4), ("no such", 1)]
)
def test_refusals_stand_first(rule: str, place: int) -> None:
    assert severity(rule) == place


def test_reasons_carry_local_facts_and_no_unknown_rules() -> None:
    reasons = explain([Note("X03", "甲", "a"), Note("X03", "甲", "a"), Note("no such")], ())
    assert len(reasons) == 1
    assert reasons[0].en.endswith("(a)")
    assert reasons[0].zh.endswith("（甲）")
    assert reasons[0].mark == "D"
