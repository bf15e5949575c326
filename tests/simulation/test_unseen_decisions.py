"""What policy says of folders somebody else wrote: worked scenarios, thresholds, edges of dates, reasons to refuse."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.folders import (
    ANONYMISED,
    EVIDENCE,
    FLEET,
    FOUR,
    LEVEL4,
    PUBLIC,
    Draft,
    decide,
    number,
    results,
)
from xbcompute.core.errors import InputError

COLUMNS = {"y": number(-10, 10), "x": number(-10, 10)}
DESCRIBE = {"id": "d", "kind": "describe", "columns": ["y"]}
TRAIN = {"id": "t", "kind": "train", "operator": "op", "columns": ["x"]}
UNKNOWN_CONTROL = {**FLEET, "export_control": {"cn": "unknown", "sg": "none"}}
TWO = {"e-sz": "CN", "e-sg": "SG"}
OPERATORS = {"op-a": "CN", "op-b": "CN", "op-c": "SG", "op-d": "SG"}
UNTIL_2029 = {"from": dt.date(2026, 3, 1), "to": dt.date(2029, 3, 1)}

Make = Callable[[], Draft]
Case = tuple[str, Make, str, set[str]]


def hospitals(*analyses: dict[str, Any], n: int = 80, **keys: Any) -> Draft:
    rows = pd.DataFrame({"y": np.linspace(-1, 1, n).round(4), "x": np.linspace(2, -2, n).round(4)})
    return Draft(rows, COLUMNS, *(analyses or (DESCRIBE,)), **keys)


def fleets(*analyses: dict[str, Any], grade: dict[str, Any] = FLEET, **keys: Any) -> Draft:
    return hospitals(*analyses, industry="aviation", grade=grade, parties=keys.pop("parties", OPERATORS), **keys)


def approved(draft: Draft, **keys: Any) -> Draft:
    for site in draft.sites.values():
        site["approval"][0].update(keys)
    return draft


def with_evidence(draft: Draft, kind: str, **keys: Any) -> Draft:
    for party in ("sz-hospital-1", "sz-hospital-2"):
        draft.sites[party]["evidence"].append({"kind": kind, **UNTIL_2029, **keys})
    return draft


def scoped(draft: Draft, kind: str, **keys: Any) -> Draft:
    for site in draft.sites.values():
        for entry in site.get("evidence", []):
            if entry["kind"] == kind:
                entry.update(keys)
    return draft


def consented(**changes: Any) -> Draft:
    consent = {"purposes": ["outcome_research"], "recipients": list(FOUR), "export": True}
    return hospitals().every(consent={**consent, **changes})


def other_purpose() -> Draft:
    draft = hospitals(purpose="trial_analytics")
    return approved(draft, purpose="outcome_research")


def one_group() -> Draft:
    draft = hospitals()
    draft.federation["party"][1]["control_group"] = "sz-hospital-1"
    return draft


def packs(party: str, **keys: Any) -> Draft:
    draft = hospitals()
    draft.sites[party]["site"].update(keys)
    return draft


def without_consent() -> Draft:
    draft = hospitals()
    for party in FOUR:
        del draft.dataset(party)["consent"]
    return draft


def to_suzhou(**scope: Any) -> Draft:
    """Three centres of Singapore and a recipient in Suzhou that holds nothing."""
    centres = {"centre-a": "SG", "centre-b": "SG", "centre-c": "SG"}
    draft = hospitals(parties=centres).header(recipients=["e-sz"])
    draft.add_party("e-sz", "CN", "recipient", listed_partner_until=dt.date(2027, 1, 1))
    draft.every(consent={"purposes": ["outcome_research"], "recipients": [*centres, "e-sz"], "export": True})
    return scoped(draft, "SG_TRANSFER_BASIS", **scope) if scope else draft


CASES: list[Case] = [
    ("level 4 over four", hospitals, "PERMIT_WITH_CONDITIONS", {"B08", "B20"}),
    # Worked scenarios
    (
        "T01",
        lambda: fleets(TRAIN, parties={"a": "CN", "b": "SG"}, purpose="rul_model").header(
            sandbox=True, protocol={"prefer": ["federated-plain"]}
        ),
        "PERMIT",
        {"A14"},
    ),
    ("T02", fleets, "PERMIT", {"A04"}),
    ("T03, no noise built", lambda: hospitals().header(privacy={"epsilon": 1.0, "delta": 1e-6}), "DENY", {"B09"}),
    ("T04", lambda: hospitals().without_evidence("SC_FILING"), "HOLD", {"EVIDENCE", "B08"}),
    ("T05", lambda: hospitals({"id": "e", "kind": "extract", "columns": ["x"]}), "DENY", {"B02"}),
    ("T06", lambda: hospitals().every(cn_grade="core"), "DENY", {"B01"}),
    ("T07", lambda: hospitals().every(cn_grade="important", important_source="notified"), "HOLD", {"B18"}),
    (
        "T07 published",
        lambda: hospitals().every(cn_grade="important", important_source="published"),
        "HOLD",
        {"B18"},
    ),
    (
        "T08",
        lambda: hospitals().entity("sg-centre-1", listed_partner_until=dt.date(2026, 11, 23)),
        "DENY",
        {"X03"},
    ),
    ("T09", other_purpose, "DENY", {"X01"}),
    ("T10 without a scope", to_suzhou, "PERMIT_WITH_CONDITIONS", {"B20"}),
    ("T10 code", lambda: to_suzhou(countries=["MY"]), "HOLD", {"EVIDENCE", "B20"}),
    ("T10 word", lambda: to_suzhou(scope="Malaysia"), "HOLD", {"EVIDENCE", "B20"}),
    ("T10 named", lambda: to_suzhou(scope={"countries": ["China", "MY"]}), "PERMIT_WITH_CONDITIONS", {"B20"}),
    ("T11", lambda: hospitals(n=400).every(hgr="clinical_only"), "PERMIT_WITH_CONDITIONS", {"B05", "B08"}),
    ("T12", lambda: fleets(TRAIN, grade=UNKNOWN_CONTROL), "HOLD", {"A02"}),
    ("T12 two", lambda: fleets(TRAIN, grade=UNKNOWN_CONTROL, parties=TWO), "HOLD", {"A02"}),
    ("T13", lambda: hospitals(TRAIN).header(protocol={"prefer": ["federated-plain"]}), "DENY", {"B12"}),
    # Grades
    ("public", lambda: hospitals(grade=PUBLIC), "PERMIT", {"B17"}),
    ("anonymised", lambda: hospitals(grade=ANONYMISED), "PERMIT_WITH_CONDITIONS", {"B16"}),
    ("raw public rows", lambda: hospitals(DESCRIBE | {"kind": "extract"}, grade=PUBLIC), "DENY", {"B02"}),
    ("genes", lambda: hospitals().every(hgr="genetic_info"), "DENY", {"B03"}),
    ("suspected", lambda: hospitals().every(important_source="suspected"), "HOLD", {"B19"}),
    ("unknown", lambda: hospitals().every(cn_grade="unknown"), "HOLD", {"B19"}),
    ("state secret", lambda: hospitals().every(state_secret=True), "DENY", {"B01"}),
    # Outbound path
    ("critical operator", lambda: hospitals().entity("sz-hospital-2", ciio=True), "HOLD", {"C3-3", "EVIDENCE"}),
    ("perhaps critical", lambda: hospitals().entity("sz-hospital-2", ciio="unknown"), "HOLD", {"C3-3-unknown"}),
    (
        "certified",
        lambda: with_evidence(hospitals().without_evidence("SC_FILING"), "CERT"),
        "PERMIT_WITH_CONDITIONS",
        {"B08"},
    ),
    # Evidence: half-open, each kind
    ("evidence ends now", lambda: scoped(hospitals(), "PIA", to=dt.date(2026, 11, 24)), "HOLD", {"EVIDENCE"}),
    (
        "evidence begins now",
        lambda: scoped(hospitals(), "PIA", **{"from": dt.datetime.fromisoformat("2026-11-24T10:00:00+08:00")}),
        "PERMIT_WITH_CONDITIONS",
        {"B08"},
    ),
    *((f"no {kind}", lambda k=kind: hospitals().without_evidence(k), "HOLD", {"EVIDENCE"}) for kind in EVIDENCE["SG"]),
    *((f"no {kind}", lambda k=kind: hospitals().without_evidence(k), "HOLD", {"EVIDENCE"}) for kind in EVIDENCE["CN"]),
    # Approvals
    ("unsigned roles", lambda: approved(hospitals(), roles=["DS", "CP"]), "HOLD", {"APPROVAL"}),
    ("other outputs", lambda: approved(hospitals(), outputs=["dp_aggregate"]), "DENY", {"X01"}),
    ("before it begins", lambda: hospitals().clock("2026-05-31T23:59:59+08:00"), "DENY", {"X02"}),
    ("as it begins", lambda: hospitals().clock("2026-06-01T00:00:00+08:00"), "PERMIT_WITH_CONDITIONS", {"B08"}),
    ("its last second", lambda: hospitals().clock("2027-05-31T23:59:59+08:00"), "PERMIT_WITH_CONDITIONS", {"B08"}),
    ("as it ends", lambda: hospitals().clock("2027-06-01T00:00:00+08:00"), "DENY", {"X02"}),
    ("the same moment in London", lambda: hospitals().clock("2027-05-31T16:00:00+00:00"), "DENY", {"X02"}),
    (
        "the study's own period is over",
        lambda: hospitals().header(period={"from": dt.date(2026, 6, 1), "to": dt.date(2026, 11, 24)}),
        "DENY",
        {"X02"},
    ),
    ("a model not approved", lambda: fleets(TRAIN), "DENY", {"X01"}),
    # Consent, partners, packs
    ("consent names no recipient", lambda: consented(recipients=["sz-hospital-1"]), "DENY", {"CONSENT"}),
    ("consent to something else", lambda: consented(purposes=["public_health"]), "DENY", {"CONSENT"}),
    ("no consent to export", lambda: consented(export=False), "DENY", {"CONSENT"}),
    ("no consent written", without_consent, "DENY", {"CONSENT"}),
    ("on the list of Article 42", lambda: hospitals().entity("sg-centre-2", pipl42_listed=True), "DENY", {"X03"}),
    ("pack unsigned", lambda: packs("sg-centre-1", unsigned_packs=["cn"]), "DENY", {"X06"}),
    ("pack missing", lambda: packs("sz-hospital-1", packs=["cn", "biomed", "nowhere"]), "DENY", {"X06"}),
    ("no pack of the industry", lambda: packs("sz-hospital-1", packs=["cn"]), "DENY", {"X06"}),
    ("industry without a pack", lambda: hospitals(industry="finance", purpose="scoring"), "DENY", {"X07"}),
    # Parties
    ("two contributors", lambda: hospitals(parties=TWO), "DENY", {"C4.3"}),
    ("three contributors", lambda: hospitals(parties={"a": "CN", "b": "CN", "c": "SG"}), "DENY", {"C4.3"}),
    ("two ids of one group", one_group, "DENY", {"C4.1"}),
    (
        "three in one jurisdiction",
        lambda: hospitals(parties=dict.fromkeys("abc", "CN")),
        "PERMIT_WITH_CONDITIONS",
        set(),
    ),
    ("two operators", lambda: fleets(parties=TWO), "DENY", {"OPERATORS"}),
    ("three operators", lambda: fleets(parties={**TWO, "e-hk": "HK"}), "DENY", {"X06"}),
]


@pytest.mark.parametrize(("make", "verdict", "rules"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict_and_the_rules_behind_it(make: Make, verdict: str, rules: set[str], tmp_path: Path) -> None:
    decision = decide(make(), tmp_path / "s")
    assert decision["verdict"] == verdict
    assert rules <= set(decision["rules"])
    assert (
        decision["tier"]
        == {"PERMIT": "支持", "PERMIT_WITH_CONDITIONS": "限制", "HOLD": "限制", "DENY": "禁止"}[verdict]
    )
    assert (decision["protocol"] is not None) == verdict.startswith("PERMIT") or verdict == "HOLD"
    reasons = decision["reasons"]
    assert reasons and all(
        reason["zh"] and reason["en"] and reason["mark"] in ("V", "V2", "M", "D") for reason in reasons
    )
    assert {reason["rule"] for reason in reasons} <= set(decision["rules"])
    assert decision["citations"]
    if verdict == "HOLD":
        assert decision["required_evidence"] or decision["required_roles"] or "C3-3-unknown" in rules


@pytest.mark.parametrize(
    ("before", "sensitive", "path", "verdict"),
    [
        (0, 20, "SC_FILING", "PERMIT_WITH_CONDITIONS"),
        (9_979, 9_999, "SC_FILING", "PERMIT_WITH_CONDITIONS"),
        (9_980, 10_000, "SEC_ASSESS", "HOLD"),
        (50_000, 50_020, "SEC_ASSESS", "HOLD"),
    ],
)
def test_people_already_counted_this_year(before: int, sensitive: int, path: str, verdict: str, tmp_path: Path) -> None:
    draft = hospitals().entity("sz-hospital-2", counted_this_year={"sensitive": before, "non_sensitive": 3})
    decision = decide(draft, tmp_path / "s")
    assert (decision["verdict"], decision["cn_path"]) == (verdict, path)
    assert decision["count_before"]["sensitive"] == before
    assert decision["count_after"]["sensitive"] == sensitive
    assert decision["by_party"]["sz-hospital-1"]["count_after"]["sensitive"] == 20
    assert decision["export_posture"] == "treated_as_export"
    assert decision["required_evidence"] == (["SEC_ASSESS"] if verdict == "HOLD" else [])


def test_an_assessment_lifts_the_hold(tmp_path: Path) -> None:
    draft = with_evidence(hospitals(), "SEC_ASSESS")
    draft.entity("sz-hospital-1", counted_this_year={"sensitive": 9_980, "non_sensitive": 0})
    decision = decide(draft, tmp_path / "s")
    assert (decision["verdict"], decision["cn_path"]) == ("PERMIT_WITH_CONDITIONS", "SEC_ASSESS")


def test_a_filing_or_a_certificate_is_asked_for(tmp_path: Path) -> None:
    decision = decide(hospitals().without_evidence("SC_FILING", "sz-hospital-1"), tmp_path / "s")
    assert decision["required_evidence"] == ["SC_FILING or CERT"]
    assert decision["by_party"]["sz-hospital-1"]["verdict"] == "HOLD"
    assert decision["by_party"]["sz-hospital-2"]["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_important_data_waits_for_two_documents_and_the_committee(tmp_path: Path) -> None:
    decision = decide(hospitals().every(cn_grade="important", important_source="notified"), tmp_path / "s")
    assert {"SEC_ASSESS", "RISK_ASSESS"} <= set(decision["required_evidence"])
    assert "EX" in decision["required_roles"]


def test_unclassified_exports_wait_for_export_control(tmp_path: Path) -> None:
    assert "XC" in decide(fleets(TRAIN, grade=UNKNOWN_CONTROL), tmp_path / "s")["required_roles"]


def test_roles_that_have_not_signed_are_listed_by_party(tmp_path: Path) -> None:
    draft = hospitals()
    draft.sites["sg-centre-1"]["approval"] = []
    decision = decide(draft, tmp_path / "s")
    assert decision["verdict"] == "HOLD"
    assert decision["by_party"]["sg-centre-1"]["required_roles"]
    assert decision["by_party"]["sz-hospital-1"]["required_roles"] == []


@pytest.mark.parametrize(("rows_max", "adversary"), [(249, "semi_honest"), (250, "malicious")])
def test_from_a_thousand_people_the_protocol_must_withstand_malice(
    rows_max: int, adversary: str, tmp_path: Path
) -> None:
    decision = decide(hospitals().every(rows_max=rows_max), tmp_path / "a")
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert decision["adversary"] == adversary


def test_the_strictest_limits_of_all_sites_hold(tmp_path: Path) -> None:
    draft = hospitals()
    draft.sites["sg-centre-2"]["site"]["cell_scope"] = "holder"
    limits = decide(draft, tmp_path / "s")["limits"]
    assert (limits["cell_scope"], limits["cell_min"], limits["retention"]) == ("holder", 10, "P3Y")


def test_a_dealer_and_a_supervisor_change_nothing(tmp_path: Path) -> None:
    draft = hospitals()
    draft.add_party("hk-neutral", "HK", "dealer").add_party("watchdog", "SG", "supervisor")
    decision = decide(draft, tmp_path / "s")
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")


@pytest.mark.parametrize(
    "analysis",
    [
        {"kind": "overlap"},
        {"kind": "train", "operator": "op", "config": {"rounds": 3}},
        {"kind": "predict", "model": "m", "columns": ["x"]},
        {"kind": "histogram", "column": "x", "bins": 4},
        {"kind": "compare", "column": "x", "by": "y"},
        {"kind": "weibull", "time": "x", "event": "y", "covariates": []},
        {"kind": "rate", "events": "x", "exposure": "y"},
        {"kind": "pca", "columns": ["x", "y"], "components": 1},
        {"kind": "correlation", "columns": ["x", "y"]},
        {"kind": "association", "columns": ["x"], "outcome": "y"},
    ],
)
def test_kinds_that_do_not_run_yet_are_decided(analysis: dict[str, Any], tmp_path: Path) -> None:
    draft = hospitals({"id": "later", **analysis})
    decision = decide(draft, tmp_path / "s")
    assert decision["verdict"] != "PERMIT" and decision["reasons"]


def test_a_kind_that_is_not_built_says_which_are(tmp_path: Path) -> None:
    draft = hospitals({"id": "later", "kind": "histogram", "column": "x", "bins": 4}, grade=PUBLIC)
    with pytest.raises(InputError, match=r"histogram.+kaplan_meier"):
        results(draft, tmp_path / "s")


def test_a_vertical_study_is_decided_without_its_engine(tmp_path: Path) -> None:
    analysis = {"id": "m", "kind": "logistic", "outcome": "sz-airline.y", "covariates": ["sg-mro.x"]}
    draft = fleets(analysis, parties={"sg-mro": "SG", "sz-airline": "CN"})
    draft.header(partition="vertical", link={"on": {"sg-mro": "esn", "sz-airline": "engine_serial"}})
    decision = decide(draft, tmp_path / "s")
    assert set(decision["by_party"]) == {"sg-mro", "sz-airline"}
    assert decision["reasons"]
    with pytest.raises(InputError, match="is vertical") as error:
        results(draft.header(sandbox=True), tmp_path / "t")
    assert error.value.code == "schema.partition"


@pytest.mark.parametrize("key", [key for key in LEVEL4 if key != "sg_class"])
def test_an_absent_grade_is_not_guessed(key: str, tmp_path: Path) -> None:
    draft = hospitals()
    del draft.dataset("sz-hospital-2")[key]
    with pytest.raises(InputError, match=f"sz-hospital-2.*'{key}'"):
        decide(draft, tmp_path / "s")


def test_the_same_folder_is_decided_the_same_way(tmp_path: Path) -> None:
    assert decide(hospitals(), tmp_path / "a") == decide(hospitals(), tmp_path / "b")
