"""Documents and consent: validity, scope, who owes them, and what a gap does."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.policies import DESCRIBE, NOW, TWO, hospitals, with_rules
from xbcompute.policy.evidence import held, in_scope, missing, owed_elsewhere, rulings
from xbcompute.specs.site import Evidence
from xbcompute.specs.study import Study

FOREIGN = {"sg-a": "SG", "sg-b": "SG"}
STUDY: Study = hospitals().folder().study


def item(kind: str = "SC_FILING", **more: Any) -> Evidence:
    return Evidence.model_validate({"kind": kind, **more})


@pytest.mark.parametrize(
    ("more", "valid"),
    [
        ({}, True),
        ({"from": "2026-11-24T10:00:00+08:00"}, True),
        ({"from": "2026-11-24T10:00:01+08:00"}, False),
        ({"to": "2026-11-24T10:00:00+08:00"}, False),
        ({"to": "2026-11-24T10:00:01+08:00"}, True),
    ],
)
def test_documents_are_valid_from_and_until_before(more: dict[str, str], valid: bool) -> None:
    assert (held([item(**more)], STUDY, NOW, FOREIGN) == {"SC_FILING"}) is valid


@pytest.mark.parametrize(
    ("more", "covered"),
    [
        ({}, True),
        ({"purposes": ["outcome_research"]}, True),
        ({"purposes": ["trial_analytics"]}, False),
        ({"purposes": ["*"]}, True),
        ({"parties": ["sg-a", "sg-b"]}, True),
        ({"parties": ["sg-a"]}, False),
        ({"parties": ["any"]}, True),
        ({"countries": ["SG"]}, True),
        ({"countries": ["Singapore"]}, True),
        ({"countries": ["新加坡"]}, True),
        ({"countries": ["MY"]}, False),
        ({"scope": "outcome_research"}, True),
        ({"scope": ["trial_analytics", "outcome_research"]}, True),
        ({"scope": "everything we do"}, False),
        ({"scope": {"purpose": "outcome_research", "recipients": ["sg-a", "sg-b"]}}, True),
        ({"scope": {"parties": ["sg-a"]}}, False),
        ({"scope": {"country": "SG"}}, True),
        ({"scope": {"colour": "red"}}, False),
        ({"scope": {"purposes": 3}}, False),
    ],
)
def test_a_stated_scope_must_include_the_study(more: dict[str, Any], covered: bool) -> None:
    assert in_scope(item(**more), STUDY, FOREIGN) is covered


@pytest.mark.parametrize(
    ("more", "covered"),
    [
        ({}, True),
        ({"basis": "contract"}, False),
        ({"basis": "contract", "countries": ["CN"]}, True),
        ({"basis": "contract", "countries": ["China"]}, True),
        ({"basis": "contract", "countries": ["中国"]}, True),
        ({"basis": "contract", "countries": ["Malaysia"]}, False),
        ({"scope": "Malaysia"}, False),
        ({"scope": ["Malaysia", "China"]}, True),
        ({"basis": "consent"}, True),
    ],
)
def test_a_transfer_contract_names_china(more: dict[str, Any], covered: bool) -> None:
    assert in_scope(item("SG_TRANSFER_BASIS", **more), STUDY, {"su-a": "CN"}) is covered


def test_every_foreign_country_must_be_named() -> None:
    foreign = {"sg-a": "SG", "my-a": "MY"}
    assert not in_scope(item(countries=["SG"]), STUDY, foreign)
    assert in_scope(item(countries=["SG", "MY"]), STUDY, foreign)


def test_who_owes_what() -> None:
    needed = ["PIA", "IRB_CN", "IRB_SG", "SC_FILING or CERT or SEC_ASSESS", "NON_COLLUSION"]
    assert missing(needed, frozenset(), "CN") == ("PIA", "IRB_CN", "SC_FILING or CERT", "NON_COLLUSION")
    assert missing(needed, frozenset({"CERT", "PIA"}), "CN") == ("IRB_CN", "NON_COLLUSION")
    assert missing(needed, frozenset(), "SG") == ("IRB_SG", "NON_COLLUSION")
    assert missing(needed, frozenset(), "SG", only_owed=True) == ("IRB_SG",)
    assert missing(needed, frozenset(), "HK", only_owed=True) == ()
    assert owed_elsewhere("IRB_SG", "CN")
    assert not owed_elsewhere("IRB_SG", "SG")
    assert not owed_elsewhere("NON_COLLUSION", "SG")


def test_rulings_are_read_while_they_are_valid() -> None:
    valid = item("NON_COLLUSION", parties=["a", "b"])
    over = item("NON_COLLUSION", parties=["a", "c"], to="2026-01-01")
    assert rulings([valid, over, item()], NOW) == (frozenset({"a", "b"}),)


@pytest.mark.parametrize(
    ("party", "kind"),
    [("su-a", "PIA"), ("su-b", "IRB_CN"), ("sg-a", "SG_TRANSFER_BASIS"), ("sg-b", "IRB_SG")],
)
def test_each_side_owes_its_own_documents(party: str, kind: str) -> None:
    decision = hospitals().without_evidence(party, kind).decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", [kind])
    assert decision["by_party"][party]["required_evidence"] == [kind]
    assert "EVIDENCE" in with_rules(decision)
    assert decision["protocol"] == "masked-sum"


def test_an_expired_document_is_missing() -> None:
    draft = hospitals()
    filing = next(e for e in draft.sites["su-a"]["evidence"] if e["kind"] == "SC_FILING")
    filing["to"] = "2026-11-24T10:00:00+08:00"
    assert draft.decide()["verdict"] == "HOLD"
    assert draft.decide(NOW - dt.timedelta(seconds=1))["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_a_contract_that_names_malaysia_only_is_not_enough() -> None:
    draft = hospitals()
    basis = next(e for e in draft.sites["sg-a"]["evidence"] if e["kind"] == "SG_TRANSFER_BASIS")
    basis.update(basis="contract", countries=["Malaysia"])
    decision = draft.decide()
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["SG_TRANSFER_BASIS"])


@pytest.mark.parametrize(
    ("consent", "words"),
    [
        (None, "no consent"),
        ({"purposes": ["trial_analytics"], "recipients": ["su-b", "sg-a", "sg-b"], "export": True}, "outcome_research"),
        ({"purposes": ["outcome_research"], "recipients": ["sg-a", "sg-b"], "export": True}, "su-b"),
        ({"purposes": ["outcome_research"], "recipients": ["su-b"], "export": True}, "sg-a, sg-b"),
        ({"purposes": ["outcome_research"], "recipients": ["su-b", "sg-a", "sg-b"], "export": False}, "export"),
    ],
)
def test_consent_must_cover_purpose_every_contributor_and_export(consent: Any, words: str) -> None:
    draft = hospitals()
    draft.dataset("su-a").pop("consent")
    if consent is not None:
        draft.dataset("su-a")["consent"] = consent
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    reasons = [reason["en"] for reason in decision["reasons"] if reason["rule"] == "CONSENT"]
    assert any(words in reason for reason in reasons)


def test_on_shares_only_recipients_need_the_subjects_consent() -> None:
    draft = hospitals(TWO)
    draft.study["study"]["recipients"] = ["su-a"]
    draft.dataset("su-a")["consent"]["recipients"] = []
    assert draft.decide()["protocol"] == "two-party"
    draft.study["study"]["recipients"] = ["su-a", "sg-a"]
    assert "CONSENT" in with_rules(draft.decide())


def test_the_lead_learns_the_schedule_and_is_a_recipient_too() -> None:
    draft = hospitals(TWO)
    draft.study["study"].update(recipients=["su-a"], lead="sg-a")
    draft.dataset("su-a")["consent"]["recipients"] = []
    assert "CONSENT" in with_rules(draft.decide())


def test_within_one_country_consent_to_export_is_not_asked() -> None:
    draft = hospitals({"a": "CN", "b": "CN", "c": "CN"})
    for party in "abc":
        draft.dataset(party)["consent"]["export"] = False
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


def test_a_consent_declared_in_singapore_must_cover_the_study_but_need_not_be_there() -> None:
    draft = hospitals()
    draft.dataset("sg-a").pop("consent")
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"
    draft.dataset("sg-a")["consent"] = {"purposes": ["outcome_research"], "recipients": [], "export": True}
    assert "CONSENT" in with_rules(draft.decide())


def test_anonymised_data_needs_no_consent() -> None:
    draft = hospitals(analyses=[DESCRIBE]).all_datasets(pi="anonymised", health_level=2, sg_class="anonymised")
    for party in draft.sites:
        draft.dataset(party).pop("consent")
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"
