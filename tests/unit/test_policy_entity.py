"""Rules about the parties themselves and their packs: X03, X06, X07, C4.9."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tests.support.policies import NOW, PUBLIC, fleets, hospitals, with_rules
from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy.finding import find
from xbcompute.policy.folder import requests
from xbcompute.policy.request import Request, load_site_packs
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.pack import LoadedPack, load_pack

RESTRICTIVE = """
id = "house"
version = "1"
title = { zh = "本院", en = "house" }
status = "in_force"
effective = 2026-01-01

[[rule]]
id = "HOUSE-1"
text = { zh = "一", en = "one" }
mark = "D"
cites = ["project rule"]
match = [{ field = "industry", op = "=", value = "biomed" }]
verdict = "PERMIT_WITH_CONDITIONS"
covers = ["G3", "G4", "G5", "G5s", "G6", "G7", "G8"]
[rule.requires]
families = ["P2"]
cell_min = 30
roles = ["LG"]
"""


def ask(party: str = "su-a") -> Request:
    folder = hospitals().folder()
    people = dict.fromkeys((PartyId(p) for p in folder.sites), 150)
    return requests(folder, people, dict.fromkeys(folder.sites, NOW))[PartyId(party)]


@pytest.mark.parametrize(
    ("until", "listed"),
    [
        ("2026-11-24T10:00:01+08:00", True),
        ("2026-11-24T10:00:00+08:00", False),
        ("2026-11-23", False),
        ("2026-11-24", False),
        ("2026-11-25", True),
        (None, False),
    ],
)
def test_a_partner_must_be_listed_now(until: str | None, listed: bool) -> None:
    draft = hospitals()
    draft.sites["sg-b"]["entity"].pop("listed_partner_until")
    if until is not None:
        draft.sites["sg-b"]["entity"]["listed_partner_until"] = until
    decision = draft.decide()
    assert (decision["verdict"] == "PERMIT_WITH_CONDITIONS") is listed
    assert ("X03" in with_rules(decision)) is not listed
    assert (decision["by_party"]["sg-b"]["verdict"] == "DENY") is not listed


def test_a_party_on_an_article_42_list_is_refused() -> None:
    draft = hospitals()
    draft.sites["sg-a"]["entity"]["pipl42_listed"] = True
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert decision["reasons"][0]["rule"] == "X03"
    assert "sg-a" in decision["reasons"][0]["en"]


def test_inside_one_country_nobody_needs_a_listing() -> None:
    draft = hospitals({"a": "CN", "b": "CN", "c": "CN"})
    for site in draft.sites.values():
        site["entity"].pop("listed_partner_until")
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"


@pytest.mark.parametrize("listed", [True, False])
def test_a_recipient_without_data_must_be_listed_too(listed: bool) -> None:
    entity = {"listed_partner_until": "2027-01-01"} if listed else {}
    draft = hospitals(keys=PUBLIC).add_party("r", "SG", "recipient", **entity)
    draft.study["study"]["recipients"].append("r")
    assert draft.decide()["verdict"] == ("PERMIT" if listed else "DENY")


def test_an_idle_dealer_or_supervisor_changes_nothing() -> None:
    draft = hospitals().add_party("hk", "HK", "dealer").add_party("cac", "CN", "supervisor")
    decision = draft.decide()
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert decision["by_party"]["hk"]["verdict"] == "PERMIT"


@pytest.mark.parametrize("listed", [True, False])
def test_a_compute_party_must_be_listed_to_compute(listed: bool) -> None:
    entity = {"listed_partner_until": "2027-01-01"} if listed else {}
    draft = hospitals().add_party("c1", "CN", "compute", **entity).add_party("c2", "SG", "compute", **entity)
    draft.study["study"]["protocol"] = {"prefer": ["two-party"]}
    decision = draft.decide()
    assert decision["verdict"] == "PERMIT_WITH_CONDITIONS"
    assert decision["protocol"] == ("two-party" if listed else "masked-sum")
    assert decision["unmet"] == ({} if listed else {"two-party": ["X03"]})


def test_a_holder_without_the_pack_of_its_law_is_refused() -> None:
    draft = hospitals()
    draft.sites["su-a"]["site"]["packs"] = ["biomed"]
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert "X06" in with_rules(decision)


def test_a_holder_without_the_pack_of_the_industry_is_refused() -> None:
    draft = hospitals()
    draft.sites["sg-a"]["site"]["packs"] = ["sg", "aviation"]
    decision = draft.decide()
    assert "X06" in with_rules(decision)
    assert "X07" not in with_rules(decision)


def test_a_pack_that_does_not_exist_is_refused() -> None:
    draft = hospitals()
    draft.sites["sg-a"]["site"]["packs"].append("gb")
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert any("gb" in reason["en"] for reason in decision["reasons"] if reason["rule"] == "X06")


@pytest.mark.parametrize("pack", ["cn", "sg", "biomed"])
def test_a_pack_that_one_side_has_not_signed_is_refused(pack: str) -> None:
    draft = hospitals()
    draft.sites["sg-b"]["site"]["unsigned_packs"] = [pack]
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert any("sg-b" in reason["en"] for reason in decision["reasons"] if reason["rule"] == "X06")


def test_an_industry_without_a_pack_is_refused() -> None:
    draft = fleets()
    draft.study["study"].update(industry="finance", purpose="risk")
    decision = draft.decide()
    assert decision["verdict"] == "DENY"
    assert {"X07"} <= with_rules(decision)
    assert "NO-CARD" not in with_rules(decision)


def test_a_pack_other_than_the_one_agreed_on_is_refused() -> None:
    draft = hospitals()
    pins: list[dict[str, Any]] = [
        {"id": name, "version": "2026.11", "sha256": load_pack(name).sha256, "signatures": {}}
        for name in ("cn", "sg", "biomed")
    ]
    draft.federation["pack"] = pins
    assert draft.decide()["verdict"] == "PERMIT_WITH_CONDITIONS"
    pins[2]["sha256"] = "0" * 64
    assert "X06" in with_rules(draft.decide())
    del pins[2]
    assert "X06" in with_rules(draft.decide())


def house(tmp_path: Path, text: str = RESTRICTIVE) -> LoadedPack:
    (tmp_path / "house.toml").write_text(text, encoding="utf-8")
    return load_pack("house.toml", beside=tmp_path)


def test_a_sites_own_pack_adds_to_what_is_asked(tmp_path: Path) -> None:
    request = ask()
    request = dataclasses.replace(request, packs=(*request.packs, house(tmp_path)))
    finding, view = find(request)
    assert finding.limits.cell_min == 30
    assert "LG" in finding.required_roles
    assert "HOUSE-1" in {reason.rule for reason in view.reasons}
    assert "house" in {ref.id for ref in finding.packs}


def test_a_sites_own_pack_permits_nothing(tmp_path: Path) -> None:
    """Nobody else signed it: its rows are no answer for a grade."""
    request = ask()
    dataset = request.dataset.model_copy(update={"hgr": "wes_wgs"})
    site = request.site.model_copy(update={"dataset": (dataset,)})
    federation = hospitals({"su-a": "CN", "b": "CN", "c": "CN"}).folder().federation
    study = request.study.model_copy(
        update={"study": request.study.study.model_copy(update={"recipients": ("su-a",), "lead": "su-a"})}
    )
    signers = {pack.pack.id: frozenset(PartyId(p) for p in ("su-a", "b", "c")) for pack in request.packs}
    local = dataclasses.replace(
        request,
        site=site,
        study=study,
        federation=federation,
        signers=signers,
        packs=(*request.packs, house(tmp_path)),
    )
    finding, _ = find(local)
    assert finding.verdict is Verdict.DENY
    assert "NO-RULE" in finding.rules


def test_packs_are_loaded_by_id_and_by_path(tmp_path: Path) -> None:
    house(tmp_path)
    draft = hospitals()
    draft.sites["su-a"]["site"]["packs"] = ["cn", "./house.toml", "nowhere"]
    packs, lacking = load_site_packs(draft.folder().sites[PartyId("su-a")], tmp_path)
    assert [loaded.pack.id for loaded in packs] == ["cn", "house"]
    assert [loaded.shipped for loaded in packs] == [True, False]
    assert lacking == ("nowhere",)
    with pytest.raises(InputError, match=r"missing\.toml"):
        draft.sites["su-a"]["site"]["packs"] = ["./missing.toml"]
        load_site_packs(draft.folder().sites[PartyId("su-a")], tmp_path)


@pytest.mark.parametrize(("difference", "denied"), [(0, False), (1, True), (3, True), (9, True), (10, False)])
def test_a_population_that_differs_by_too_few_is_refused(difference: int, denied: bool) -> None:
    finding, view = find(dataclasses.replace(ask(), differences={"earlier": difference}))
    assert (finding.verdict is Verdict.DENY) is denied
    assert ("C4.9" in finding.rules) is denied
    assert any("earlier" in reason.en for reason in view.reasons) is denied
    assert "earlier" not in str(finding.plain())


def test_a_party_the_federation_does_not_know_has_no_finding() -> None:
    request = ask()
    header = request.site.site.model_copy(update={"party": "nobody"})
    with pytest.raises(InputError, match="nobody"):
        find(dataclasses.replace(request, site=request.site.model_copy(update={"site": header})))


def test_a_holder_without_the_dataset_has_no_finding() -> None:
    request = ask()
    with pytest.raises(InputError, match="su-a"):
        find(dataclasses.replace(request, site=request.site.model_copy(update={"dataset": ()})))


def test_the_clock_is_an_argument() -> None:
    later = dataclasses.replace(ask(), now=NOW + dt.timedelta(days=4000))
    finding, _ = find(later)
    assert {"X03", "EVIDENCE"} <= set(finding.rules)
