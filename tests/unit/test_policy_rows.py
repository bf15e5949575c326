"""The decision table, row by row, through the decision of a whole folder."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.policies import (
    DESCRIBE,
    FOUR,
    HEALTH,
    LINEAR,
    PUBLIC,
    TRAIN,
    TWO,
    Draft,
    fleets,
    hospitals,
    with_rules,
)
from xbcompute.core.errors import InputError

ANONYMISED = {**HEALTH, "pi": "anonymised", "health_level": 2}
CODED = {**HEALTH, "pi": "deidentified", "health_level": 3}
EXTRACT = {"id": "x", "kind": "extract", "columns": ["y"]}


def test_level_4_over_four_hospitals() -> None:
    decision = hospitals().decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["tier"] == "限制"
    assert decision["protocol"] == "masked-sum"
    assert decision["cn_path"] == "SC_FILING"
    assert decision["export_posture"] == "treated_as_export"
    assert decision["required_evidence"] == []
    assert decision["required_roles"] == []
    assert {"B08", "B20"} <= with_rules(decision)
    assert decision["limits"] == {
        "cell_min": 10,
        "cell_scope": "pooled",
        "model_rules": True,
        "epsilon_release": 1.0,
        "epsilon_year": 3.0,
        "retention": "P3Y",
    }
    assert decision["count_before"]["sensitive"] == 0
    assert decision["count_after"]["sensitive"] == 150
    assert {"PIPL 38", "PDPA 26"} <= set(decision["citations"])


def test_one_side_that_leaves_cells_to_the_holder_decides_for_all() -> None:
    draft = hospitals()
    del draft.sites["sg-b"]["site"]["cell_scope"]
    assert draft.decide()["limits"]["cell_scope"] == "holder"


def test_core_data_is_refused() -> None:
    draft = hospitals()
    draft.dataset("su-a")["cn_grade"] = "core"
    decision = draft.decide()
    assert (decision["verdict"], decision["tier"], decision["protocol"]) == ("DENY", "禁止", None)
    assert decision["cn_path"] == "DENY"
    assert {"B01", "C3-1"} <= with_rules(decision)
    assert decision["reasons"][0]["rule"] == "B01"


def test_state_secrets_are_refused() -> None:
    draft = hospitals()
    draft.dataset("su-a")["state_secret"] = True
    assert draft.decide()["verdict"] == "DENY"


@pytest.mark.parametrize("keys", [HEALTH, PUBLIC])
def test_raw_records_do_not_leave_whatever_the_grade(keys: dict[str, Any]) -> None:
    decision = hospitals(TWO, keys=keys, analyses=[EXTRACT]).decide()
    assert decision["verdict"] == "DENY"
    assert decision["outputs"] == ["record_extract"]
    assert decision["export_posture"] == "export"
    assert decision["reasons"][0]["rule"] == "B02"
    assert "NO-RULE" not in with_rules(decision)


def test_raw_maintenance_records_do_not_leave_either() -> None:
    assert "B02" in with_rules(fleets(analyses=[EXTRACT]).decide())


@pytest.mark.parametrize("hgr", ["genetic_info", "wes_wgs"])
def test_genetic_information_with_a_foreign_participant_is_refused(hgr: str) -> None:
    draft = hospitals()
    draft.dataset("su-b")["hgr"] = hgr
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "B03" in with_rules(decision)
    assert decision["by_party"]["su-b"]["grade"] == "G7"


def test_genetic_information_among_chinese_parties_is_covered_by_no_rule() -> None:
    draft = hospitals({"a": "CN", "b": "CN", "c": "CN"})
    draft.dataset("b")["hgr"] = "genetic_info"
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "NO-RULE" in with_rules(decision)
    assert "G7" in next(reason["en"] for reason in decision["reasons"] if reason["rule"] == "NO-RULE")


def test_imaging_and_protein_data_is_not_genetic_information() -> None:
    draft = hospitals().all_datasets(hgr="clinical_only")
    decision = draft.decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert {"B05", "B08"} <= with_rules(decision)
    assert "B03" not in with_rules(decision)


def test_two_hospitals_of_level_4_get_the_two_party_protocol() -> None:
    decision = hospitals(TWO).decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "two-party")
    assert decision["adversary"] == "semi_honest"


def test_from_a_thousand_people_a_malicious_adversary_is_assumed() -> None:
    small = hospitals(TWO).all_datasets(rows_max=499)
    small.dataset("su-a")["rows_max"] = 500
    assert small.decide()["protocol"] == "two-party"
    large = hospitals(TWO).all_datasets(rows_max=500)
    decision = large.decide()
    assert (decision["verdict"], decision["adversary"]) == ("DENY", "malicious")
    assert {"NO-CARD", "CARD-ADVERSARY"} <= with_rules(decision)


def test_from_a_thousand_people_the_masked_sum_still_carries_aggregates() -> None:
    decision = hospitals().all_datasets(rows_max=250).decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert (decision["adversary"], decision["required_roles"]) == ("malicious", [])


def test_two_hospitals_cannot_describe_on_shares() -> None:
    decision = hospitals(TWO, analyses=[DESCRIBE]).decide()
    assert decision["verdict"] == "DENY"
    assert {"NO-CARD", "C4.3"} <= with_rules(decision)


def test_three_hospitals_find_no_protocol() -> None:
    decision = hospitals({"a": "CN", "b": "CN", "c": "SG"}).decide()
    assert decision["verdict"] == "DENY"
    assert {"NO-CARD", "C4.2", "C4.3"} <= with_rules(decision)


def test_two_identities_of_one_group_are_found_out() -> None:
    draft = hospitals()
    draft.party("sg-a")["control_group"] = draft.party("sg-b")["control_group"] = "one"
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert {"C4.1", "C4.3"} <= with_rules(decision)


def test_noise_is_refused_until_it_is_built() -> None:
    draft = hospitals()
    draft.study["study"]["privacy"] = {"epsilon": 1.0}
    decision = draft.decide()
    assert (decision["verdict"], decision["outputs"]) == ("DENY", ["dp_aggregate"])
    assert {"B09", "NOISE"} <= with_rules(decision)


def test_noise_on_public_data_is_not_replaced_by_none() -> None:
    draft = hospitals(keys=PUBLIC)
    draft.study["study"]["privacy"] = {"epsilon": 1.0}
    assert "NOISE" in with_rules(draft.decide())


def test_plain_updates_of_patients_are_refused() -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.study["study"]["protocol"] = {"prefer": ["federated-plain"]}
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert {"B12", "C4.6"} <= with_rules(decision)


@pytest.mark.parametrize("prefer", [[], ["federated-plain", "federated"]])
def test_models_without_noise_wait_for_a_ruling(prefer: list[str]) -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.study["study"]["protocol"] = {"prefer": prefer}
    for site in draft.sites.values():
        site["approval"][0]["outputs"].append("model_secagg")
        site["approval"][0]["roles"].append("EX")
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["RULING_EX"])
    assert "B11" in with_rules(decision)


def test_coded_data_is_counted_as_sensitive() -> None:
    decision = hospitals(keys=CODED).all_datasets(sg_class="hbra_nonidentifiable").decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["protocol"] == "masked-sum"
    assert {"B15", "B20", "B20-hbra"} <= with_rules(decision)
    assert decision["cn_path"] == "SC_FILING"
    assert decision["by_party"]["su-a"]["count_after"] == {"sensitive": 150, "non_sensitive": 0}
    assert decision["by_party"]["su-a"]["grade"] == "G3"


def test_personal_health_data_below_level_4_follows_b08() -> None:
    decision = hospitals(keys={**HEALTH, "pi": "personal", "health_level": 3}).decide()
    assert decision["by_party"]["su-a"]["grade"] == "G4"
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert "B08" in with_rules(decision)


def test_anonymised_data_goes_as_clear_aggregates_once_two_roles_have_signed() -> None:
    draft = hospitals(keys=ANONYMISED)
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "clear-aggregate")
    assert decision["cn_path"] == "NONE"
    assert decision["export_posture"] == "not_export"
    assert decision["limits"]["cell_min"] == 5
    assert decision["limits"]["model_rules"] is True
    assert decision["count_after"] == {"sensitive": 0, "non_sensitive": 0}
    draft.sites["sg-a"]["approval"] = []
    decision = draft.decide()
    assert (decision["verdict"], decision["required_roles"]) == ("HOLD", ["DPO", "DS"])


def test_public_data_is_permitted_without_anybody_signing() -> None:
    draft = hospitals(keys=PUBLIC)
    for site in draft.sites.values():
        site["approval"] = []
        site["evidence"] = []
    decision = draft.decide()
    assert (decision["verdict"], decision["tier"]) == ("PERMIT", "支持")
    assert decision["protocol"] == "clear-aggregate"
    assert decision["limits"]["cell_min"] == 1
    assert decision["limits"]["model_rules"] is False
    assert "B17" in with_rules(decision)


def test_a_wish_among_the_admitted_cards_wins() -> None:
    draft = hospitals(keys=PUBLIC)
    draft.study["study"]["protocol"] = {"prefer": ["two-party", "masked-sum"]}
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT", "masked-sum")
    assert decision["unmet"] == {"two-party": ["CARD-PARTIES"]}


def test_a_wish_is_never_a_reason_to_weaken() -> None:
    draft = hospitals()
    draft.study["study"]["protocol"] = {"prefer": ["clear-aggregate"]}
    decision = draft.decide()
    assert decision["protocol"] == "masked-sum"
    assert decision["unmet"] == {"clear-aggregate": ["CARD-FAMILY", "CARD-GRADE"]}


def test_a_wish_for_a_card_that_does_not_exist_is_an_error() -> None:
    draft = hospitals()
    draft.study["study"]["protocol"] = {"prefer": ["maskedsum"]}
    with pytest.raises(InputError, match="maskedsum"):
        draft.decide()


def test_mixed_grades_take_the_strictest() -> None:
    draft = hospitals()
    for party in ("sg-a", "sg-b"):
        draft.dataset(party).update(PUBLIC, sg_class="none")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert {"B08", "B17", "X08"} <= with_rules(decision)
    assert decision["limits"]["cell_min"] == 10


@pytest.mark.parametrize("source", ["notified", "published"])
def test_important_data_waits_for_the_assessment_and_the_committee(source: str) -> None:
    draft = hospitals()
    draft.dataset("su-a").update(cn_grade="important", important_source=source)
    decision = draft.decide()
    assert (decision["verdict"], decision["tier"]) == ("HOLD", "限制")
    assert {"SEC_ASSESS", "RISK_ASSESS"} <= set(decision["required_evidence"])
    assert "EX" in decision["required_roles"]
    assert decision["cn_path"] == "SEC_ASSESS"
    assert "B18" in with_rules(decision)


def test_important_data_of_two_hospitals_is_held_too() -> None:
    draft = hospitals(TWO)
    draft.dataset("su-a").update(cn_grade="important", important_source="notified")
    assert draft.decide()["verdict"] == "HOLD"


def test_with_every_document_important_data_still_needs_a_protocol_against_malicious_parties() -> None:
    draft = hospitals(TWO)
    draft.dataset("su-a").update(cn_grade="important", important_source="notified")
    site = draft.sites["su-a"]
    site["evidence"] += [{"kind": "SEC_ASSESS"}, {"kind": "RISK_ASSESS"}]
    for other in draft.sites.values():
        other["approval"][0]["roles"].append("EX")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("HOLD", None)
    assert {"NO-CARD", "CARD-ADVERSARY"} <= with_rules(decision)


def test_with_every_document_and_a_ruling_a_dealer_carries_important_data() -> None:
    draft = hospitals(TWO).add_party("hk", "HK", "dealer")
    draft.dataset("su-a").update(cn_grade="important", important_source="notified")
    draft.sites["su-a"]["evidence"] += [{"kind": "SEC_ASSESS"}, {"kind": "RISK_ASSESS"}]
    for party, foreigner in (("su-a", "sg-a"), ("sg-a", "su-a")):
        draft.sites[party]["evidence"].append({"kind": "NON_COLLUSION", "parties": [foreigner, "hk"]})
        draft.sites[party]["approval"][0]["roles"].append("EX")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "ring-dealer")
    assert decision["adversary"] == "malicious"
    assert decision["limits"]["cell_min"] == 20


@pytest.mark.parametrize("keys", [{"cn_grade": "unknown"}, {"important_source": "suspected"}, {"hgr": "unknown"}])
def test_suspected_or_unknown_data_waits_for_the_sector_authority(keys: dict[str, str]) -> None:
    draft = hospitals()
    draft.dataset("su-b").update(keys)
    decision = draft.decide()
    assert decision["verdict"] == "HOLD"
    assert "SECTOR_CONFIRM" in decision["required_evidence"]
    assert "LG" in decision["required_roles"]
    assert "B19" in with_rules(decision)


def test_a_recorded_confirmation_does_not_regrade_by_itself() -> None:
    draft = hospitals()
    draft.dataset("su-b")["cn_grade"] = "unknown"
    draft.sites["su-b"]["evidence"].append({"kind": "SECTOR_CONFIRM"})
    assert draft.decide()["verdict"] == "HOLD"


def test_important_data_is_not_trained_on() -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.dataset("su-a").update(cn_grade="important", important_source="notified")
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "B18-output" in with_rules(decision)


@pytest.mark.parametrize("keys", [{"health_level": 5}, {"special_disease": True}, {"minors_under14": True}])
def test_special_groups_are_refused_without_noise(keys: dict[str, Any]) -> None:
    draft = hospitals()
    draft.dataset("su-a").update(keys)
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert {"B06", "NOISE"} <= with_rules(decision)
    assert decision["by_party"]["su-a"]["grade"] == "G5s"


def test_special_groups_are_not_trained_on() -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.dataset("su-a")["health_level"] = 5
    assert "B07" in with_rules(draft.decide())


def test_data_of_a_state_organ_waits_for_the_assessment() -> None:
    draft = hospitals()
    draft.dataset("su-a")["state_organ_data"] = True
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["SEC_ASSESS"])
    assert "B23" in with_rules(decision)
    draft.sites["su-a"]["evidence"].append({"kind": "SEC_ASSESS"})
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_national_health_records_of_singapore_are_refused() -> None:
    draft = hospitals()
    draft.dataset("sg-a")["sg_class"] = "nehr"
    assert "B21" in with_rules(draft.decide())


def test_personal_data_of_singapore_that_does_not_flow_to_china_has_no_row() -> None:
    decision = hospitals({"a": "SG", "b": "SG", "c": "SG"}).decide()
    assert decision["verdict"] == "DENY"
    assert "NO-RULE" in with_rules(decision)


def test_a_chinese_recipient_makes_it_a_flow_to_china() -> None:
    draft = hospitals({"a": "SG", "b": "SG", "c": "SG"}).add_party(
        "r", "CN", "recipient", listed_partner_until="2027-01-01"
    )
    draft.study["study"]["recipients"].append("r")
    for party in "abc":
        draft.dataset(party)["consent"]["recipients"].append("r")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert "B20" in with_rules(decision)


def test_chinese_hospitals_alone_cross_no_border() -> None:
    decision = hospitals({"a": "CN", "b": "CN", "c": "CN"}).decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["cn_path"] == "NONE"
    assert decision["export_posture"] == "not_export"
    assert decision["count_after"] == {"sensitive": 0, "non_sensitive": 0}


# ---- aviation --------------------------------------------------------------------------------------------------------


def test_fleet_aggregates_over_four_operators() -> None:
    decision = fleets().decide()
    assert (decision["verdict"], decision["tier"]) == ("PERMIT", "支持")
    assert decision["protocol"] == "clear-aggregate"
    assert decision["cn_path"] == "NONE"
    assert decision["export_posture"] == "not_export"
    assert "O16 3" in decision["citations"]
    assert "A04" in with_rules(decision)


@pytest.mark.parametrize(("operators", "verdict"), [(2, "DENY"), (3, "PERMIT")])
def test_inter_operator_statistics_need_three(operators: int, verdict: str) -> None:
    decision = fleets(dict(list(FOUR.items())[:operators])).decide()
    assert decision["verdict"] == verdict
    assert ("OPERATORS" in with_rules(decision)) is (operators < 3)


def test_two_identities_of_one_operator_are_one_operator() -> None:
    draft = fleets({"a": "CN", "b": "CN", "c": "SG"})
    draft.party("a")["control_group"] = draft.party("b")["control_group"] = "one"
    assert "OPERATORS" in with_rules(draft.decide())


def test_unknown_export_control_waits_for_classification() -> None:
    draft = fleets(TWO, analyses=[TRAIN])
    draft.dataset("su-a")["export_control"] = {"cn": "unknown", "sg": "none"}
    for site in draft.sites.values():
        site["approval"] = []
    decision = draft.decide()
    assert decision["verdict"] == "HOLD"
    assert "XC" in decision["required_roles"]
    assert "A02" in with_rules(decision)


@pytest.mark.parametrize("control", [{"cn": "listed", "sg": "none"}, {"cn": "none", "sg": "listed"}])
def test_listed_technology_is_refused(control: dict[str, str]) -> None:
    draft = fleets()
    draft.dataset("sg-a")["export_control"] = control
    assert (draft.decide()["verdict"], "A01" in with_rules(draft.decide())) == ("DENY", True)


@pytest.mark.parametrize(
    ("keys", "rule", "lacking"),
    [
        ({"important_source": "suspected"}, "A06", "SECTOR_CONFIRM"),
        ({"cn_grade": "unknown"}, "A06", "SECTOR_CONFIRM"),
        ({"cn_grade": "important", "important_source": "published"}, "A07", "RISK_ASSESS"),
    ],
)
def test_important_maintenance_data_is_held(keys: dict[str, str], rule: str, lacking: str) -> None:
    draft = fleets()
    draft.dataset("su-a").update(keys)
    decision = draft.decide()
    assert decision["verdict"] == "HOLD"
    assert lacking in decision["required_evidence"]
    assert rule in with_rules(decision)


def test_models_of_maintenance_data_need_the_contracts_checked() -> None:
    draft = fleets(TWO, analyses=[TRAIN])
    for site in draft.sites.values():
        site["approval"][0].update(outputs=["model_plain_rounds"], roles=["DS"])
    decision = draft.decide()
    assert (decision["verdict"], decision["required_roles"]) == ("HOLD", ["LG"])
    assert decision["protocol"] == "federated-plain"
    for site in draft.sites.values():
        site["approval"][0]["roles"].append("LG")
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_the_sandbox_takes_simulated_engines() -> None:
    draft = fleets(TWO, analyses=[TRAIN])
    draft.study["study"].update(sandbox=True, purpose="rul_model", protocol={"prefer": ["federated-plain"]})
    for site in draft.sites.values():
        site["approval"] = []
    decision = draft.decide()
    assert (decision["verdict"], decision["tier"], decision["protocol"]) == ("PERMIT", "支持", "federated-plain")
    assert "A14" in with_rules(decision)


@pytest.mark.parametrize("keys", [HEALTH, ANONYMISED])
def test_the_sandbox_is_for_public_data_only(keys: dict[str, Any]) -> None:
    draft = hospitals(keys=keys)
    draft.study["study"]["sandbox"] = True
    assert "SANDBOX" in with_rules(draft.decide())


def test_a_purpose_outside_the_packs_list_is_refused() -> None:
    draft = Draft(FOUR, PUBLIC, "biomed", [LINEAR])
    draft.study["study"]["purpose"] = "marketing"
    for site in draft.sites.values():
        site["approval"] = []
    assert "PURPOSE" in with_rules(draft.decide())
