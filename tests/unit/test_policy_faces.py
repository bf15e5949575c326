"""The table, the survey of its cells, the difference of packs and the way to a yes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.folders import FOUR, LEVEL4, number
from tests.support.folders import Draft as FolderDraft
from tests.support.policies import DESCRIBE, NOW, TRAIN, TWO, Draft, fleets, hospitals
from xbcompute.cli.deciding import explain
from xbcompute.cli.rules import show_difference, show_remedies, show_survey, show_table
from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy.comparing import check_pair, rules
from xbcompute.policy.edits import Case
from xbcompute.policy.remedy import Answer, Search, what_would_make_it_yes
from xbcompute.policy.survey import ranges, survey
from xbcompute.policy.table import markdown, rows
from xbcompute.specs.pack import load_pack, shipped_pack_ids
from xbcompute.specs.shipped import packs as packs_folder

PACKS = [load_pack(name).pack for name in shipped_pack_ids()]


def ways(draft: Draft) -> tuple[str, tuple[Answer, ...]]:
    folder = draft.folder()
    people = {PartyId(party): count for party, count in draft.people.items()}
    decision, answers = what_would_make_it_yes(Case(folder, people), Search(dict.fromkeys(folder.sites, NOW)))
    return decision["verdict"], answers


def texts(answers: tuple[Answer, ...]) -> list[list[str]]:
    return [[edit.text.en for edit in answer.changes] for answer in answers]


# ---- what would make it yes ------------------------------------------------------------------------------------------


def test_what_runs_needs_nothing() -> None:
    verdict, (answer,) = ways(hospitals())
    assert (verdict, answer.changes, answer.documents, answer.signatures) == ("PERMIT_WITH_CONDITIONS", (), (), ())


def test_a_missing_filing_is_to_be_obtained() -> None:
    verdict, (answer,) = ways(hospitals().without_evidence("su-a", "SC_FILING"))
    assert (verdict, answer.changes, answer.documents) == ("HOLD", (), (("su-a", "SC_FILING"),))
    assert answer.protocol == "masked-sum"


def test_unsigned_roles_are_to_sign() -> None:
    draft = hospitals()
    draft.sites["sg-b"]["approval"] = []
    verdict, (answer,) = ways(draft)
    assert (verdict, answer.documents) == ("HOLD", ())
    assert {role for _, role in answer.signatures} >= {"CP", "DPO", "DS"}
    assert {party for party, _ in answer.signatures} == {"sg-b"}


def test_a_third_hospital_lacks_a_fourth() -> None:
    verdict, answers = ways(hospitals({"a": "CN", "b": "CN", "c": "SG"}))
    assert verdict == "DENY"
    assert ["add an independent contributor in SG"] in texts(answers)
    assert ["add an independent contributor in CN"] not in texts(answers)


def test_two_hospitals_lack_one_more_each() -> None:
    _, answers = ways(hospitals(TWO, analyses=[DESCRIBE]))
    assert ["add an independent contributor in CN", "add an independent contributor in SG"] in texts(answers)


def test_two_operators_lack_a_third() -> None:
    verdict, answers = ways(fleets(TWO))
    assert (verdict, len(answers[0].changes)) == ("DENY", 1)
    assert answers[0].changes[0].kind == "contributor"


@pytest.mark.parametrize("keys", [{"cn_grade": "core"}, {"state_secret": True}])
def test_core_data_has_no_way(keys: dict[str, Any]) -> None:
    draft = hospitals()
    draft.dataset("su-a").update(keys)
    assert ways(draft) == ("DENY", ())


def test_raw_rows_have_no_way() -> None:
    assert ways(hospitals(analyses=[{"id": "x", "kind": "extract", "columns": ["y"]}])) == ("DENY", ())


def test_of_several_analyses_the_refused_one_is_dropped() -> None:
    draft = hospitals(analyses=[{"id": "m", "kind": "linear", "outcome": "y", "covariates": ["x"]}])
    draft.study["analysis"].append({"id": "x", "kind": "extract", "columns": ["y"]})
    _, answers = ways(draft)
    assert texts(answers) == [["drop the analysis x"]]


def test_identity_columns_are_dropped() -> None:
    keys = {"cn_grade": "general", "pi": "personal", "important_source": "none", "state_organ_data": False}
    keys["export_control"] = {"cn": "none", "sg": "none"}
    analyses = [{"id": "d", "kind": "describe", "columns": ["y", "x"]}]
    draft = Draft({"su-a": "CN", "su-b": "CN", "sg-a": "SG", "sg-b": "SG"}, keys, "aviation", analyses)
    draft.all_datasets(sg_class="none")
    draft.dataset("su-a")["columns"]["x"]["tags"] = ["licence"]
    verdict, answers = ways(draft)
    assert verdict == "HOLD"
    assert ["drop the column x"] in texts(answers)


def test_a_wish_is_given_up_before_anything_else() -> None:
    draft = hospitals(analyses=[TRAIN])
    draft.study["study"]["protocol"] = {"prefer": ["federated-plain"]}
    verdict, answers = ways(draft)
    assert (verdict, texts(answers)) == ("DENY", [["state no preferred protocol"]])
    assert ("su-a", "RULING_EX") in answers[0].documents


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.dataset("su-a").update(consent={"purposes": [], "recipients": [], "export": False}), "consent"),
        (lambda d: d.sites["su-a"]["entity"].update(listed_partner_until="2026-01-01"), "partner"),
        (lambda d: d.study["study"].update(privacy={"epsilon": 1.0}), "no noise"),
        (lambda d: d.sites["su-a"]["approval"][0].update(to="2026-10-01"), "apply anew"),
        (lambda d: d.sites["su-a"]["entity"].pop("ciio"), "ciio"),
    ],
)
def test_one_change_at_a_time(change: Any, words: str) -> None:
    draft = hospitals()
    change(draft)
    verdict, answers = ways(draft)
    assert verdict in ("HOLD", "DENY")
    assert any(len(way) == 1 and words in way[0] for way in texts(answers))


def test_every_way_is_found_again_as_a_permit_and_changes_nothing_in_the_folder() -> None:
    draft = hospitals({"a": "CN", "b": "CN", "c": "SG"})
    folder = draft.folder()
    before = (folder.study.digest, sorted(folder.sites), folder.federation.plain())
    _, answers = what_would_make_it_yes(
        Case(folder, {PartyId(p): n for p, n in draft.people.items()}), Search(dict.fromkeys(folder.sites, NOW))
    )
    assert before == (folder.study.digest, sorted(folder.sites), folder.federation.plain())
    assert {answer.verdict for answer in answers} == {"PERMIT_WITH_CONDITIONS"}


# ---- table and survey ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_rule_stands_in_the_table(lang: Any) -> None:
    page = markdown(PACKS, lang)
    for pack in PACKS:
        for rule in pack.rule:
            assert f"| **{rule.id}** " in page
    widths = {len(re.split(r"(?<!\\)\|", line)) for line in page.splitlines() if line.startswith("|")}
    assert widths == {10}
    assert bool(re.search(r"[\u4e00-\u9fff]", page.split("|")[1])) is (lang == "zh")


def test_rows_have_both_languages_and_what_they_ask_for() -> None:
    row = next(row for row in rows(PACKS) if row["rule"] == "B09")
    assert row["match"] == ["origin = CN", "pi_grade ∈ {G4, G5}", "output = dp_aggregate"]
    assert (row["requires"]["epsilon_release"], row["requires"]["noise"], row["pack"]) == (1.0, True, "biomed")
    assert set(row["text"]) == {"zh", "en"}


def test_the_only_rows_that_cannot_be_met_are_named() -> None:
    found = survey(PACKS)
    assert {cell["output"] for cell in found["contradictory"]} == {"psi_cardinality"}
    assert {cell["why"] for cell in found["contradictory"]} == {
        "no card of these families withstands malicious parties"
    }
    assert not any(cell["output"] in ("raw", "record_extract") for cell in found["uncovered"])
    ordinary = [c for c in found["uncovered"] if c["regime"] == "ordinary" and c["cross_border"]]
    assert not any(cell["output"] in ("aggregate", "dp_aggregate", "model_dp") for cell in ordinary)
    assert sum(found["verdicts"].values()) == found["cells"]


def test_a_hole_and_a_clash_are_found() -> None:
    def changed(rule: Any) -> Any:
        if rule.id == "B09":
            return rule.model_copy(update={"covers": ()})
        if rule.id == "B08":
            return rule.model_copy(update={"requires": rule.requires.model_copy(update={"families": ("P7",)})})
        return rule

    packs = [
        pack.model_copy(update={"rule": tuple(changed(rule) for rule in pack.rule)}) if pack.id == "biomed" else pack
        for pack in PACKS
    ]
    found = survey(packs)
    lines = [
        line for line in ranges(found["uncovered"]) if line["regime"] == "ordinary" and line["jurisdiction"] == "CN"
    ]
    assert any("dp_aggregate" in line["outputs"] and line["grades"] == ["G4", "G5"] for line in lines)
    assert any("B08" in cell["rules"] and cell["output"] == "aggregate" for cell in found["contradictory"])


# ---- difference ------------------------------------------------------------------------------------------------------


@pytest.fixture
def past(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"x": np.linspace(0, 1, 80), "y": np.linspace(0, 1, 80) ** 2})
    linear = {"id": "m", "kind": "linear", "outcome": "y", "covariates": ["x"]}
    columns = {"x": number(0.0, 1.0), "y": number(0.0, 1.0)}
    FolderDraft(frame, columns, linear, parties=FOUR, grade=LEVEL4, study="one").write(tmp_path / "past" / "one")
    other = FolderDraft(frame, columns, linear, parties=FOUR, grade=LEVEL4, study="two")
    other.entity("sz-hospital-1", counted_this_year={"sensitive": 9_990, "non_sensitive": 0})
    other.write(tmp_path / "past" / "two")
    (tmp_path / "past" / "two" / "sites" / "sg-centre-1" / "rows.csv").unlink()
    return tmp_path / "past"


def test_a_lower_threshold_changes_one_past_decision(
    past: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (packs_folder() / "cn.toml").read_text(encoding="utf-8").replace("value = 10000 }", "value = 20000 }")
    (tmp_path / "cn.toml").write_text(text, encoding="utf-8")
    show_difference("cn", str(tmp_path / "cn.toml"), corpus=past, as_json=True)
    body = json.loads(capsys.readouterr().out)
    assert body["rules"] == {"added": [], "removed": [], "changed": ["C3-4-sensitive", "C3-5-sensitive"]}
    one, two = body["applications"]
    assert (one["study"], one["changes"]) == ("one", {})
    assert two["changes"]["cn_path"] == {"before": "SEC_ASSESS", "after": "SC_FILING"}
    assert two["changes"]["verdict"] == {"before": "HOLD", "after": "PERMIT_WITH_CONDITIONS"}
    assert two["concerned"] == ["sz-hospital-1", "sz-hospital-2"]
    show_difference("cn", str(tmp_path / "cn.toml"), corpus=past, as_json=False)
    shown = capsys.readouterr().out
    assert "one: no change" in shown
    assert "SEC_ASSESS → SC_FILING" in shown


def test_only_versions_of_one_pack_are_compared(tmp_path: Path) -> None:
    cn, sg, general = load_pack("cn"), load_pack("sg"), load_pack("general")
    assert rules(cn.pack, cn.pack) == {"added": [], "removed": [], "changed": []}
    with pytest.raises(InputError, match="different packs"):
        check_pair(cn, sg)
    with pytest.raises(InputError, match="general pack"):
        check_pair(general, general)
    with pytest.raises(InputError, match="no study folder"):
        show_difference("cn", "cn", corpus=tmp_path, as_json=True)


# ---- what is printed -------------------------------------------------------------------------------------------------


def test_table_and_survey_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["cn"], lang="en", as_json=True)
    assert len(json.loads(capsys.readouterr().out)["rules"]) == len(load_pack("cn").pack.rule)
    show_survey(["biomed", "cn"], as_json=True)
    assert {cell["industry"] for cell in json.loads(capsys.readouterr().out)["uncovered"]} == {"biomed"}
    show_survey([], as_json=False)
    assert "Answered by no row" in capsys.readouterr().out


@pytest.mark.parametrize(("lang", "words"), [("en", "Way 1 (by masked-sum):"), ("zh", "办法 1 (协议 masked-sum):")])
def test_remedies_are_shown(past: Path, capsys: pytest.CaptureFixture[str], lang: Any, words: str) -> None:
    study = past / "one"
    site = study / "sites" / "sz-hospital-1" / "site.toml"
    site.write_text(site.read_text(encoding="utf-8").replace('"SC_FILING"', '"SELF_ASSESS"'), encoding="utf-8")
    assert show_remedies(study, lang=lang, as_json=False) == 4
    shown = capsys.readouterr().out
    assert words in shown
    assert "sz-hospital-1: SC_FILING" in shown
    assert show_remedies(study, lang=lang, as_json=True) == 4
    assert json.loads(capsys.readouterr().out)["ways"][0]["documents"] == [
        {"party": "sz-hospital-1", "kind": "SC_FILING"}
    ]


def test_explain_states_what_leaves_to_whom_by_which_rule_and_at_what_cost(
    past: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(past / "one", as_json=False, lang="en") == 0
    shown = capsys.readouterr().out
    for words in ("Opened to: every contributor", "Rules that allow it: ", "B08", "assumed by the card", "rounds"):
        assert words in shown
    assert explain(past / "one", as_json=True, lang="zh", rtt_ms=200.0, goodput_mbit=10.0) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["decision"]["estimate"]["measured"] is True
    assert "实测" in body["zh"]
    with pytest.raises(InputError, match="two figures"):
        explain(past / "one", as_json=True, lang="en", rtt_ms=200.0)
