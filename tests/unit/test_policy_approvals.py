"""Approvals: what covers, what is missing, what a signature binds to."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.policies import NOW, PUBLIC, ROLES, Draft, hospitals, with_rules
from xbcompute.core.errors import IntegrityError
from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.policy.approvals import SignedApproval, UserKey, check_signed, verify
from xbcompute.policy.decide import Plan, application_digest, join
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.site import Approval

KEY = Ed25519PrivateKey.generate()
KEYS = {("su-a", f"user-{role}"): UserKey(KEY.public_key(), frozenset({role})) for role in ROLES}


def plan_of(draft: Draft) -> Plan:
    folder = draft.folder()
    return join(folder.study, folder.federation, draft.findings())


PLAN = plan_of(hospitals())
SITE_APPROVAL: Approval = hospitals().folder().sites[PartyId("su-a")].approval[0]


def signed(role: str, application: str | None = None, **changes: Any) -> SignedApproval:
    return SignedApproval.sign(
        key=Secret(KEY),
        party="su-a",
        user=f"user-{role}",
        role=role,
        application=application or application_digest(PLAN),
        approval=SITE_APPROVAL.model_copy(update=changes),
    )


def everyone(**changes: Any) -> list[SignedApproval]:
    return [signed(role, **changes) for role in ROLES]


def test_all_roles_signed_lets_the_plan_stand() -> None:
    result = check_signed(PLAN, everyone(), KEYS, NOW, "su-a")
    assert (result.verdict, result.unsigned, result.notes) == (Verdict.PERMIT, (), ())


def test_no_approval_yet_is_a_hold_with_every_role() -> None:
    result = check_signed(PLAN, [], KEYS, NOW, "su-a")
    assert (result.verdict, result.unsigned) == (Verdict.HOLD, ("CP", "DPO", "DS", "EC-IRB"))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_unsigned_is_a_hold_that_names_it(role: str) -> None:
    approvals = [signed(name) for name in ROLES if name != role]
    result = check_signed(PLAN, approvals, KEYS, NOW, "su-a")
    assert (result.verdict, result.unsigned) == (Verdict.HOLD, (role,))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"purpose": "trial_analytics"}, "X01"),
        ({"outputs": ("dp_aggregate",)}, "X01"),
        ({"to": NOW}, "X02"),
        ({"from_": NOW + dt.timedelta(seconds=1)}, "X02"),
    ],
)
def test_an_approval_that_does_not_cover_is_a_refusal(changes: dict[str, Any], rule: str) -> None:
    result = check_signed(PLAN, everyone(**changes), KEYS, NOW, "su-a")
    assert result.verdict is Verdict.DENY
    assert [note.rule for note in result.notes] == [rule]


@pytest.mark.parametrize(
    "changes", [{"from_": NOW}, {"to": NOW + dt.timedelta(seconds=1)}, {"from_": None, "to": None}]
)
def test_an_approval_holds_from_and_until_before(changes: dict[str, Any]) -> None:
    assert check_signed(PLAN, everyone(**changes), KEYS, NOW, "su-a").verdict is Verdict.PERMIT


def test_a_renewed_approval_replaces_one_that_has_run_out() -> None:
    approvals = [*everyone(to=NOW), *everyone()]
    assert check_signed(PLAN, approvals, KEYS, NOW, "su-a").verdict is Verdict.PERMIT


def test_an_approval_of_another_application_is_none_of_this_one() -> None:
    other = [signed(role, application="sha256:" + "0" * 64) for role in ROLES]
    assert check_signed(PLAN, other, KEYS, NOW, "su-a").verdict is Verdict.HOLD


def test_an_approval_of_another_party_or_study_does_not_count() -> None:
    others = [dataclasses.replace(approval, party="su-b") for approval in everyone()]
    assert check_signed(PLAN, others, KEYS, NOW, "su-a").verdict is Verdict.HOLD
    assert check_signed(PLAN, everyone(study="another"), KEYS, NOW, "su-a").verdict is Verdict.HOLD


@pytest.mark.parametrize(
    "changes",
    [
        {"purpose": "trial_analytics"},
        {"outputs": ("raw",)},
        {"to": None},
        {"application": "sha256:" + "0" * 64},
        {"study": "t"},
        {"signature": bytes(64)},
    ],
)
def test_a_changed_approval_is_not_what_was_signed(changes: dict[str, Any]) -> None:
    forged = dataclasses.replace(signed("DS"), **changes)
    with pytest.raises(IntegrityError) as refused:
        verify(forged, KEYS, application_digest(PLAN))
    assert refused.value.code == "approval.signature"


def test_a_user_signs_for_its_own_roles_only() -> None:
    approval = SignedApproval.sign(
        key=Secret(KEY),
        party="su-a",
        user="user-DS",
        role="DPO",
        application=application_digest(PLAN),
        approval=SITE_APPROVAL,
    )
    with pytest.raises(IntegrityError, match="DPO"):
        verify(approval, KEYS, application_digest(PLAN))


def test_an_unknown_user_signs_nothing() -> None:
    with pytest.raises(IntegrityError, match="su-a"):
        verify(dataclasses.replace(signed("DS"), user="stranger"), KEYS, application_digest(PLAN))


def test_an_approval_reads_back_as_it_was_written() -> None:
    approval = signed("DS")
    assert SignedApproval.read(approval.plain()) == dataclasses.replace(
        approval, outputs=tuple(sorted(approval.outputs))
    )
    assert SignedApproval.read(signed("DS", from_=None).plain()).from_ is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs", "aggregate"),
        ("outputs", [1]),
        ("from", "2026-01-01T00:00:00"),
        ("from", 3),
        ("role", None),
        ("signature", "!"),
        ("user", 1),
    ],
)
def test_a_malformed_approval_is_refused(key: str, value: object) -> None:
    with pytest.raises(IntegrityError):
        SignedApproval.read({**signed("DS").plain(), key: value})
    short = {name: item for name, item in signed("DS").plain().items() if name != key}
    with pytest.raises(IntegrityError):
        SignedApproval.read(short)


def test_the_statement_is_separated_from_every_other_signature() -> None:
    assert signed("DS").statement().startswith(b"xbcompute/approval/v1\n")
    assert signed("DS").statement() != signed("DPO").statement()


def changed_purpose(draft: Draft) -> None:
    draft.study["study"]["title"] = "another question"


def changed_grade(draft: Draft) -> None:
    draft.dataset("su-a")["pi"] = "personal"
    draft.dataset("su-a")["health_level"] = 3


def changed_party(draft: Draft) -> None:
    draft.party("su-a")["control_group"] = "new owner"


def changed_nothing_else(draft: Draft) -> None:
    draft.people["su-a"] = 3
    draft.sites["su-a"]["evidence"].append({"kind": "CERT"})
    draft.sites["su-b"]["entity"]["zone"] = "suzhou-ftz"


@pytest.mark.parametrize("change", [changed_purpose, changed_grade, changed_party])
def test_any_change_of_the_application_is_a_new_application(change: Any) -> None:
    draft = hospitals()
    change(draft)
    assert application_digest(plan_of(draft)) != application_digest(PLAN)


def test_counts_and_documents_do_not_make_a_new_application() -> None:
    draft = hospitals()
    changed_nothing_else(draft)
    assert application_digest(plan_of(draft)) == application_digest(PLAN)


# ---- in a study folder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_folder_with_a_role_missing_is_held(role: str) -> None:
    draft = hospitals()
    draft.sites["sg-a" if role != "EC-IRB" else "su-a"]["approval"][0]["roles"].remove(role)
    decision = draft.decide()
    assert (decision["verdict"], decision["required_roles"]) == ("HOLD", [role])
    assert "APPROVAL" in with_rules(decision)
    assert decision["protocol"] == "masked-sum"


def test_a_folder_whose_purpose_was_not_approved_is_refused() -> None:
    draft = hospitals()
    draft.study["study"]["purpose"] = "trial_analytics"
    for party in draft.sites:
        draft.dataset(party)["consent"]["purposes"] = ["trial_analytics"]
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "X01" in with_rules(decision)


@pytest.mark.parametrize(
    ("moment", "verdict"),
    [
        ("2026-05-31T23:59:59+08:00", "DENY"),
        ("2026-06-01T00:00:00+08:00", "PERMIT_WITH_CONDITIONS"),
        ("2027-05-31T23:59:59+08:00", "PERMIT_WITH_CONDITIONS"),
        ("2027-06-01T00:00:00+08:00", "DENY"),
    ],
)
def test_a_folder_is_approved_from_and_until_before(moment: str, verdict: str) -> None:
    decision = hospitals().decide(dt.datetime.fromisoformat(moment))
    assert decision["verdict"] == verdict
    assert ("X02" in with_rules(decision)) is (verdict == "DENY")


@pytest.mark.parametrize(("to", "verdict"), [("2026-11-24T10:00:00+08:00", "DENY"), ("2026-11-25", "PERMIT")])
def test_a_study_has_its_own_period(to: str, verdict: str) -> None:
    draft = hospitals(keys=PUBLIC)
    draft.study["study"]["period"] = {"from": "2026-06-01", "to": to}
    decision = draft.decide()
    assert decision["verdict"] == verdict
    assert ("X02" in with_rules(decision)) is (verdict == "DENY")


def test_where_nobody_needs_to_sign_an_approval_that_was_given_still_binds() -> None:
    draft = hospitals(keys=PUBLIC)
    draft.sites["su-a"]["approval"][0]["purpose"] = "public_health"
    assert "X01" in with_rules(draft.decide())
    draft.sites["su-a"]["approval"] = []
    assert draft.decide()["verdict"] == "PERMIT"
