"""The rows of the decision table that rest on documents, tags, events, exits and volumes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.support.policies import (
    DESCRIBE,
    FLEET,
    HEALTH,
    LINEAR,
    NOW,
    TRAIN,
    TWO,
    Draft,
    fleets,
    hospitals,
    with_rules,
)
from xbcompute.core.parties import PartyId
from xbcompute.policy.finding import find
from xbcompute.policy.folder import decide_folder, requests
from xbcompute.policy.request import Request
from xbcompute.policy.topology import refusals, topology
from xbcompute.specs.card import find_card

OVERLAP = {"id": "o", "kind": "overlap"}
PERSONAL_FLEET = {**FLEET, "pi": "personal", "state_organ_data": False}


def sign(draft: Draft, *roles: str, outputs: tuple[str, ...] = ()) -> Draft:
    for site in draft.sites.values():
        for approval in site.get("approval", []):
            approval["roles"] += roles
            approval["outputs"] += outputs
    return draft


def document(draft: Draft, party: str, kind: str, **keys: Any) -> Draft:
    draft.sites[party].setdefault("evidence", []).append({"kind": kind, **keys})
    return draft


def request(draft: Draft, party: str, **changes: Any) -> Request:
    folder = draft.folder()
    people = {PartyId(name): count for name, count in draft.people.items()}
    built = requests(folder, people, dict.fromkeys(folder.sites, NOW))[PartyId(party)]
    return dataclasses.replace(built, **changes)


# ---- genetic information ---------------------------------------------------------------------------------------------


def genetic(**keys: Any) -> Draft:
    draft = hospitals(TWO).add_party("hk", "HK", "dealer")
    draft.dataset("su-a").update(
        hgr="genetic_info",
        hgr_people=200,
        hgr_pedigree=False,
        hgr_region=False,
        consent=draft.dataset("su-a")["consent"],
    )
    draft.dataset("su-a").update(keys)
    for party, foreigner in (("su-a", "sg-a"), ("sg-a", "su-a")):
        document(draft, party, "NON_COLLUSION", parties=[foreigner, "hk"])
    return sign(draft, "EX")


NAMED = {"purposes": ["outcome_research"], "parties": ["sg-a"]}


def test_approved_genetic_information_goes_by_the_strictest_protocol() -> None:
    draft = document(document(genetic(), "su-a", "HGR_APPROVAL", **NAMED), "su-a", "HGR_PRIOR_REPORT")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "ring-dealer")
    assert decision["adversary"] == "malicious"
    assert decision["limits"]["cell_min"] == 20
    assert {"B03-cleared", "B08"} <= with_rules(decision)


@pytest.mark.parametrize(
    ("approval", "report"),
    [
        ({}, True),
        ({"purposes": ["outcome_research"]}, True),
        ({"parties": ["sg-a"]}, True),
        ({"purposes": ["trial_analytics"], "parties": ["sg-a"]}, True),
        (NAMED, False),
        ({**NAMED, "to": "2026-11-24"}, True),
    ],
)
def test_an_approval_that_names_too_little_lifts_nothing(approval: dict[str, Any], *, report: bool) -> None:
    draft = document(genetic(), "su-a", "HGR_APPROVAL", **approval)
    if report:
        document(draft, "su-a", "HGR_PRIOR_REPORT")
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "B03" in with_rules(decision)


def test_an_agreement_on_shared_use_needs_no_separate_report() -> None:
    draft = document(genetic(), "su-a", "HGR_APPROVAL", shared_use=True, **NAMED)
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"hgr": "wes_wgs", "hgr_people": 500}, False),
        ({"hgr": "wes_wgs", "hgr_people": 501}, True),
        ({"hgr": "genetic_info", "hgr_people": 501}, False),
        ({"hgr_pedigree": True}, True),
        ({"hgr_region": True}, True),
        ({"hgr_region": None}, True),
    ],
)
def test_many_sequences_pedigrees_and_regions_need_a_review(keys: dict[str, Any], *, refused: bool) -> None:
    draft = document(genetic(**keys), "su-a", "HGR_APPROVAL", shared_use=True, **NAMED)
    draft.sites["su-a"]["dataset"][0] = {k: v for k, v in draft.dataset("su-a").items() if v is not None}
    decision = draft.decide()
    assert ("B04" in with_rules(decision)) is refused
    assert (decision["verdict"] == "DENY") is refused
    if refused:
        document(draft, "su-a", "HGR_SECURITY_REVIEW")
        assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


# ---- models and intersections over health data -----------------------------------------------------------------------


def test_models_without_noise_run_once_the_committee_has_ruled() -> None:
    draft = sign(hospitals(analyses=[TRAIN]), "EX", outputs=("model_secagg",))
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["RULING_EX"])
    assert "B11" in with_rules(decision)
    for party in draft.sites:
        document(draft, party, "RULING_EX")
    # the row of Singapore data (B20) does not list this output, and B11 answers for it
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "federated")


def test_each_contributor_brings_a_hundred_rows() -> None:
    draft = sign(hospitals(analyses=[TRAIN]), "EX", outputs=("model_secagg",))
    for party in draft.sites:
        document(draft, party, "RULING_EX")
        draft.dataset(party)["rows_min"] = 50
    draft.people = dict.fromkeys(draft.people, 100)
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"
    draft.people["sg-b"] = 99
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "ROWS" in with_rules(decision)


def test_noised_models_of_health_data_follow_b10() -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.study["study"]["privacy"] = {"epsilon": 1.0}
    folder = draft.folder()
    people = {PartyId(party): count for party, count in draft.people.items()}
    now = dict.fromkeys(folder.sites, NOW)
    decision = decide_folder(folder, people, now, noise_kinds=frozenset({"train"}))
    assert (decision["verdict"], decision["outputs"]) == ("PERMIT_WITH_CONDITIONS", ["model_dp"])
    assert {"B10", "B20"} <= with_rules(decision)
    assert "NOISE" in with_rules(decide_folder(folder, people, now))


@pytest.mark.parametrize(("delta", "rules"), [(1e-6, set()), (2e-6, {"EPSILON"})])
def test_delta_has_a_cap(delta: float, rules: set[str]) -> None:
    draft = hospitals()
    draft.study["study"]["privacy"] = {"epsilon": 1.0, "delta": delta}
    finding, _ = find(request(draft, "su-a", noise_kinds=frozenset({"linear"})))
    assert rules == {"EPSILON"} & set(finding.rules)


@pytest.mark.parametrize(("spent", "verdict"), [(2.0, "PERMIT_WITH_CONDITIONS"), (2.01, "HOLD")])
def test_the_year_has_a_budget(spent: float, verdict: str) -> None:
    draft = hospitals()
    draft.study["study"]["privacy"] = {"epsilon": 1.0}
    finding, _ = find(request(draft, "su-a", noise_kinds=frozenset({"linear"}), epsilon_spent=spent))
    assert finding.verdict.value == verdict
    assert ("C4.8" in finding.rules) is (verdict == "HOLD")


def test_sizes_of_intersections_of_patients_need_noise_and_a_stronger_protocol() -> None:
    draft = hospitals(TWO, analyses=[OVERLAP])
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert {"B14", "NOISE"} <= with_rules(decision)


def test_trusted_hardware_and_single_key_encryption_are_never_admitted() -> None:
    folder = hospitals().folder()
    parties = topology(folder.study, folder.federation)
    tee = find_card("clear-aggregate").model_copy(update={"family": "P7"})
    he = tee.model_copy(update={"family": "P8"})
    assert "C4.5" in refusals(tee, parties, origin="CN", private=True)
    assert "C4.7" in refusals(he, parties, origin="CN", private=True)


def test_an_emergency_is_no_computation() -> None:
    draft = hospitals()
    draft.study["study"]["purpose"] = "emergency"
    assert {"B22", "PURPOSE"} <= with_rules(draft.decide())


def test_foreign_courts_get_nothing() -> None:
    draft = hospitals()
    draft.study["study"]["purpose"] = "judicial_disclosure"
    decision = draft.decide()
    assert (decision["verdict"], "X09" in with_rules(decision)) == ("DENY", True)


# ---- volume, descent, events -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "verdict"), [(99_999, "PERMIT_WITH_CONDITIONS"), (100_000, "HOLD")])
def test_a_hundred_thousand_patients_are_suspected_important(rows: int, verdict: str) -> None:
    draft = sign(hospitals(), "EX")
    draft.dataset("su-a")["rows_max"] = rows
    decision = draft.decide()
    assert decision["verdict"] == verdict
    assert ("R-VOL" in with_rules(decision)) is (verdict == "HOLD")
    assert ("SECTOR_CONFIRM" in decision["required_evidence"]) is (verdict == "HOLD")


def test_derived_data_inherits() -> None:
    draft = hospitals(keys={**HEALTH, "pi": "anonymised", "health_level": 2})
    draft.dataset("su-a")["derived"] = {"grade": "G5"}
    decision = draft.decide()
    assert decision["by_party"]["su-a"]["grade"] == "G5"
    assert "R-DERIVED" in with_rules(decision)
    draft.dataset("su-a")["derived"]["lowered_by"] = "committee-12"
    decision = draft.decide()
    assert decision["by_party"]["su-a"]["grade"] == "G2"
    assert "R-DERIVED-lowered" in with_rules(decision)


@pytest.mark.parametrize(
    ("source", "verdict", "rule"), [("G6", "HOLD", "B19"), ("G7", "DENY", "NO-RULE"), ("G8", "DENY", "B01")]
)
def test_data_derived_from_more_than_personal_data(source: str, verdict: str, rule: str) -> None:
    draft = hospitals()
    draft.dataset("su-a")["derived"] = {"grade": source}
    decision = draft.decide()
    assert (decision["verdict"], rule in with_rules(decision)) == (verdict, True)


@pytest.mark.parametrize(
    ("graded_at", "held"), [(None, True), ("2026-10-01", True), ("2026-10-02", False), ("2026-10-03", False)]
)
def test_events_ask_for_a_new_grading(graded_at: str | None, *, held: bool) -> None:
    draft = hospitals()
    draft.dataset("su-a")["event"] = [{"kind": "merge", "at": "2026-10-02"}]
    if graded_at:
        draft.dataset("su-a")["graded_at"] = graded_at
    decision = draft.decide()
    assert (decision["verdict"] == "HOLD", "R-TIME" in with_rules(decision)) == (held, held)


def test_an_event_in_the_future_asks_for_nothing_yet() -> None:
    draft = hospitals()
    draft.dataset("su-a")["event"] = [{"kind": "catalogue_change", "at": "2027-01-01"}]
    assert "R-TIME" not in with_rules(draft.decide())


# ---- the outbound path's exits ---------------------------------------------------------------------------------------


def test_a_recorded_zone_list_lifts_the_filing() -> None:
    draft = hospitals().without_evidence("su-a", "SC_FILING")
    draft.sites["su-a"]["entity"]["zone"] = "suzhou-ftz"
    assert draft.decide()["verdict"] == "HOLD"
    document(draft, "su-a", "FTZ_LIST", number="n")
    decision = draft.decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["by_party"]["su-a"]["cn_path"] == "NONE"
    assert decision["by_party"]["su-a"]["count_after"]["sensitive"] == 0
    assert "C3-8" in with_rules(decision)


@pytest.mark.parametrize("keys", [{"zone": "none"}, {"zone": "suzhou-ftz", "ciio": True}])
def test_no_zone_no_exit_and_operators_of_infrastructure_have_none(keys: dict[str, Any]) -> None:
    draft = document(hospitals().without_evidence("su-a", "SC_FILING"), "su-a", "FTZ_LIST")
    draft.sites["su-a"]["entity"].update(keys)
    assert draft.decide()["verdict"] == "HOLD"


def returned(**keys: Any) -> Draft:
    """A repair firm in China sends data of Singapore's technicians back."""
    draft = Draft({"su": "CN", "sg-a": "SG", "sg-b": "SG"}, PERSONAL_FLEET, "aviation", [DESCRIBE])
    draft.dataset("su").update(origin="SG", collected_in="SG", sg_class="personal")
    draft.dataset("su").update(keys)
    return draft


def test_data_from_abroad_that_is_returned_unmixed_has_its_own_exit() -> None:
    finding = returned().findings()[PartyId("su")]
    assert finding.cn_path == "NONE"
    assert {"A11", "C3-9"} <= set(finding.rules)
    assert "A12" not in finding.rules


@pytest.mark.parametrize("keys", [{"collected_in": "CN"}, {"important_source": "suspected"}])
def test_mixed_data_counts_as_chinese(keys: dict[str, Any]) -> None:
    finding = returned(**keys).findings()[PartyId("su")]
    assert "A12" in finding.rules
    assert "C3-9" not in finding.rules


def test_another_chinese_holder_closes_the_exit() -> None:
    draft = Draft({"su": "CN", "su-2": "CN", "sg-a": "SG"}, PERSONAL_FLEET, "aviation", [DESCRIBE])
    draft.dataset("su").update(origin="SG", collected_in="SG", sg_class="personal")
    assert "A12" in draft.findings()[PartyId("su")].rules


@pytest.mark.parametrize(
    ("earlier", "path"),
    [
        ({}, "SC_FILING"),
        ({"outcome_research": {"sensitive": 9_849}}, "SC_FILING"),
        ({"outcome_research": {"sensitive": 9_850}}, "SEC_ASSESS"),
        ({"trial_analytics": {"sensitive": 9_850}}, "SC_FILING"),
    ],
)
def test_requests_of_one_group_are_not_split(earlier: dict[str, Any], path: str) -> None:
    draft = hospitals()
    draft.sites["su-a"]["entity"]["same_purpose_this_year"] = earlier
    decision = draft.decide()
    assert decision["by_party"]["su-a"]["cn_path"] == path
    assert decision["by_party"]["su-a"]["count_after"]["sensitive"] == 150
    assert ("C3-split" in with_rules(decision)) is ("outcome_research" in earlier)


def test_a_document_narrower_than_the_study_is_named() -> None:
    draft = hospitals()
    for item in draft.sites["su-a"]["evidence"]:
        if item["kind"] == "SC_FILING":
            item["purposes"] = ["trial_analytics"]
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["SC_FILING or CERT"])
    assert "X10" in with_rules(decision)


# ---- export control --------------------------------------------------------------------------------------------------


def listed(control: dict[str, Any], *, party: str = "su-a") -> Draft:
    draft = sign(fleets(analyses=[LINEAR]), "XC", "EX", "LG")
    draft.dataset(party)["export_control"] = control
    return draft


@pytest.mark.parametrize(
    ("licence", "admitted"),
    [
        ({"number": "L1", "parties": ["sg-a", "sg-b"]}, True),
        ({"number": "L1", "parties": ["sg-a"]}, False),
        ({"parties": ["sg-a", "sg-b"]}, False),
        ({"number": "L1"}, False),
        ({"number": "L1", "parties": ["sg-a", "sg-b"], "to": "2026-11-24"}, False),
    ],
)
def test_a_licence_names_the_parties_and_the_item(licence: dict[str, Any], *, admitted: bool) -> None:
    draft = document(listed({"cn": "listed", "sg": "none"}), "su-a", "EXPORT_LICENCE_CN", **licence)
    decision = draft.decide()
    assert (decision["verdict"] == "PERMIT_WITH_CONDITIONS") is admitted
    assert ("A01-licensed" in with_rules(decision), "A01" in with_rules(decision)) == (admitted, not admitted)


def test_two_listings_need_two_licences() -> None:
    draft = listed({"cn": "listed", "sg": "listed"})
    document(draft, "su-a", "EXPORT_LICENCE_CN", number="1", parties=["sg-a", "sg-b"])
    assert draft.decide()["verdict"] == "DENY"
    document(draft, "su-a", "ITT_PERMIT_SG", number="2", parties=["sg-a", "sg-b"])
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_a_licence_does_not_lift_core_data() -> None:
    draft = document(
        listed({"cn": "listed", "sg": "none"}), "su-a", "EXPORT_LICENCE_CN", number="1", parties=["sg-a", "sg-b"]
    )
    draft.dataset("su-a")["cn_grade"] = "core"
    assert "B01" in with_rules(draft.decide())


def test_technology_for_repair_waits_for_a_memo_and_a_ruling() -> None:
    draft = listed({"cn": "none", "sg": "listed", "maintenance_only": True}, party="sg-a")
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["RULING_EX"])
    assert "A03" in with_rules(decision)
    document(draft, "sg-a", "RULING_EX")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")


def test_repair_does_not_excuse_chinese_listing() -> None:
    draft = listed({"cn": "listed", "sg": "listed", "maintenance_only": True}, party="sg-a")
    assert "A01" in with_rules(draft.decide())


# ---- aviation --------------------------------------------------------------------------------------------------------


def technicians(**column: Any) -> Draft:
    draft = Draft({"su-a": "CN", "su-b": "CN", "sg-a": "SG", "sg-b": "SG"}, PERSONAL_FLEET, "aviation", [DESCRIBE])
    draft.all_datasets(sg_class="none")
    draft.dataset("su-a")["columns"]["y"].update(column)
    return draft


def test_technicians_data_without_identity_fields() -> None:
    decision = technicians().decide()
    assert (decision["verdict"], decision["protocol"], decision["cn_path"]) == (
        "PERMIT_WITH_CONDITIONS",
        "masked-sum",
        "NONE",
    )
    assert decision["count_after"] == {"sensitive": 0, "non_sensitive": 150}
    assert {"A08", "C3-6"} <= with_rules(decision)
    assert decision["limits"]["cell_min"] == 5


def test_identity_fields_are_not_needed() -> None:
    decision = technicians(tags=["licence"]).decide()
    assert (decision["verdict"], "A09" in with_rules(decision)) == ("HOLD", True)


def test_an_identity_field_the_study_does_not_use_does_no_harm() -> None:
    draft = technicians()
    draft.dataset("su-a")["columns"]["x"]["tags"] = ["name"]
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


@pytest.mark.parametrize(
    ("counted", "path"), [(99_849, "NONE"), (99_850, "SC_FILING"), (999_849, "SC_FILING"), (999_850, "SEC_ASSESS")]
)
def test_technicians_are_counted(counted: int, path: str) -> None:
    draft = technicians()
    draft.sites["su-a"]["entity"]["counted_this_year"] = {"non_sensitive": counted}
    assert draft.decide()["cn_path"] == path


def test_crew_medical_data_goes_by_the_rows_of_biomedicine() -> None:
    keys = {**HEALTH}
    draft = Draft({"su-a": "CN", "su-b": "CN", "sg-a": "SG", "sg-b": "SG"}, keys, "aviation", [LINEAR])
    decision = draft.decide()
    assert (decision["verdict"], "NO-RULE" in with_rules(decision)) == ("DENY", True)
    for site in draft.sites.values():
        site["site"]["packs"].append("biomed")
    decision = draft.decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert {"A10", "B08"} <= with_rules(decision)


def test_occurrence_data_waits_for_legal_staff() -> None:
    draft = fleets()
    draft.dataset("su-a")["columns"]["y"]["tags"] = ["occurrence"]
    decision = draft.decide()
    assert (decision["verdict"], decision["required_roles"]) == ("HOLD", ["LG"])
    assert "A13" in with_rules(decision)


def test_assets_may_be_matched_once_the_contracts_are_checked() -> None:
    draft = sign(fleets(TWO, analyses=[OVERLAP]), "LG")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "psi")
    assert "A15" in with_rules(decision)


# ---- sandbox and zone packs ------------------------------------------------------------------------------------------


def sandbox() -> Draft:
    draft = fleets(TWO, analyses=[TRAIN])
    draft.study["study"].update(sandbox=True, purpose="rul_model", protocol={"prefer": ["federated-plain"]})
    for site in draft.sites.values():
        site["approval"] = []
        site["site"]["packs"].append("sandbox")
    return draft


def test_a_sandbox_has_an_end() -> None:
    draft = sandbox()
    assert "SANDBOX-end" in with_rules(draft.decide())
    draft.study["study"]["period"] = {"from": "2026-06-01", "to": "2027-06-01"}
    assert draft.decide()["verdict"] == "PERMIT"


@pytest.mark.parametrize(("holders", "refused"), [(6, False), (7, True)])
def test_a_sandbox_is_small(holders: int, *, refused: bool) -> None:
    draft = fleets({f"p{n}": "CN" if n % 2 else "SG" for n in range(holders)}, analyses=[TRAIN])
    draft.study["study"].update(sandbox=True, purpose="rul_model", period={"to": "2027-06-01"})
    for site in draft.sites.values():
        site["site"]["packs"].append("sandbox")
    assert ("SANDBOX-parties" in with_rules(draft.decide())) is refused


def test_the_zone_pack_says_that_no_list_is_loaded_and_is_no_law_of_its_own() -> None:
    draft = hospitals()
    for party in ("su-a", "su-b"):
        draft.sites[party]["entity"]["zone"] = "suzhou-ftz"
        draft.sites[party]["site"]["packs"] = ["cn", "suzhou-ftz", "biomed"]
    decision = draft.decide()
    assert (decision["verdict"], decision["cn_path"]) == ("PERMIT_WITH_CONDITIONS", "SC_FILING")
    assert "FTZ-none" in with_rules(decision)
    draft.sites["su-a"]["site"]["packs"] = ["suzhou-ftz", "biomed"]
    assert "X06" in with_rules(draft.decide())
