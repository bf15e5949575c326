"""What the packs leave open or say twice: every cell of the table by enumeration over facts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xbcompute.core.grades import Grade
from xbcompute.policy.circumstances import Circumstances
from xbcompute.policy.rules import Judgement, judge
from xbcompute.specs.card import Card, shipped_cards
from xbcompute.specs.pack import FACTS, Fact, FactKind, Pack

OUTPUTS = (
    "raw",
    "record_extract",
    "psi_members",
    "psi_cardinality",
    "aggregate",
    "dp_aggregate",
    "model_plain_rounds",
    "model_secagg",
    "model_dp",
    "predictions_row",
)
GRADES = (Grade.G0, Grade.G1, Grade.G2, Grade.G3, Grade.G4, Grade.G5, Grade.G5S)
PI = dict(
    zip(GRADES, ("none", "none", "anonymised", "deidentified", "personal", "sensitive", "sensitive"), strict=True)
)
REGIMES: Mapping[str, Mapping[str, Fact]] = {
    "ordinary": {},
    "suspected important": {"important": "suspected", "grade": Grade.G6},
    "important": {"important": "confirmed", "grade": Grade.G6},
    "genetic": {"hgr": "genetic_info", "grade": Grade.G7},
    "genetic, approved": {"hgr": "genetic_info", "hgr_cleared": True, "grade": Grade.G7},
    "unclassified technology": {"export_control": "unknown", "grade": Grade.G6},
    "listed technology": {"export_control": "listed", "grade": Grade.G8},
    "listed technology, licensed": {"export_control": "listed", "licensed": True, "grade": Grade.G8},
    "core": {"core": True, "cn_grade": "core", "grade": Grade.G8},
}
_EMPTY: Mapping[FactKind, Fact] = {"text": "none", "flag": False, "count": 0, "grade": Grade.G0}


def cells(industries: Sequence[str], jurisdictions: Sequence[str] = ("CN", "SG")) -> Iterator[dict[str, Any]]:
    """Every combination of industry, jurisdiction, regime, personal grade, sandbox, crossing and output, with facts."""
    for industry, here, (regime, special), grade, abroad in itertools.product(
        industries, jurisdictions, REGIMES.items(), GRADES, (True, False)
    ):
        if special.get("grade") in (Grade.G7,) and industry != "biomed":
            continue
        facts: dict[str, Fact] = {name: _EMPTY[kind] for name, kind in FACTS.items()}
        facts.update(Circumstances().facts())
        people = 500 if grade >= Grade.G3 else 0
        sensitive = industry == "biomed" or grade >= Grade.G5
        facts.update(
            ciio="false",
            cn_grade="general",
            crew_medical=industry == "aviation" and grade >= Grade.G5,
            cross_border=abroad,
            flows_to_cn=abroad and here != "CN",
            flows_to_sg=abroad and here != "SG",
            grade=grade,
            has_pi=grade >= Grade.G3,
            health_level=4 if industry == "biomed" and grade >= Grade.G5 else 0,
            holders=4,
            industry=industry,
            jurisdiction=here,
            operators=4,
            origin=here,
            people_sensitive=people if sensitive else 0,
            people_non_sensitive=0 if sensitive else people,
            pi=PI[grade],
            pi_grade=grade,
            sg_class="personal" if here == "SG" and grade >= Grade.G3 else "none",
            special_disease=grade is Grade.G5S,
        )
        facts.update(special)
        for output in OUTPUTS:
            yield {
                "industry": industry,
                "jurisdiction": here,
                "regime": regime,
                "grade": grade.value,
                "cross_border": abroad,
                "output": output,
                "facts": facts,
            }


def survey(packs: Sequence[Pack], cards: Sequence[Card] | None = None) -> dict[str, Any]:
    """Cells that no row answers (they are refused), cells whose rows together can never be met, and rules that no cell
    reaches although they have conditions.
    """
    cards = tuple(cards or shipped_cards())
    industries = sorted({pack.industry for pack in packs if pack.industry is not None})
    uncovered: list[dict[str, Any]] = []
    contradictory: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    reached: set[str] = set()
    total = 0
    for cell in cells(industries):
        total += 1
        facts = cell.pop("facts")
        said = judge(packs, facts, (cell["output"],), frozenset())
        reached.update(rule.id for rule in said.matched)
        counts[said.verdict.value] = counts.get(said.verdict.value, 0) + 1
        if said.uncovered and not said.denied:
            uncovered.append(cell)
        elif not said.denied and (why := contradiction(said, cards, facts)):
            contradictory.append({**cell, "why": why, "rules": sorted(rule.id for rule in said.matched)})
    conditional = {rule.id for pack in packs for rule in pack.rule if rule.match}
    return {
        "cells": total,
        "verdicts": dict(sorted(counts.items())),
        "uncovered": uncovered,
        "contradictory": contradictory,
        "beyond": sorted(conditional - reached),
    }


def contradiction(said: Judgement, cards: Sequence[Card], facts: Mapping[str, Fact]) -> str | None:
    """Why no card could ever carry what the rows permit together: no family in common, or none of it strong enough."""
    needs = said.needs
    if needs.families is None:
        return None
    if not needs.families:
        return "the rows have no protocol family in common"
    fitting = [card for card in cards if card.family in needs.families]
    if needs.malicious_from == 0:
        fitting = [card for card in fitting if card.strongest == "malicious"]
    if not fitting:
        return "no card of these families withstands malicious parties"
    grade = facts["pi_grade"]
    if isinstance(grade, Grade) and all(grade > Grade(card.grade_max) for card in fitting):
        return "no card of these families is used at this grade"
    return None


def ranges(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Cells that differ in grade and output only, joined into one line each."""
    grouped: dict[tuple[Any, ...], dict[str, set[str]]] = {}
    for cell in found:
        key = (cell["industry"], cell["jurisdiction"], cell["regime"], cell["cross_border"], cell.get("why"))
        sets = grouped.setdefault(key, {})
        sets.setdefault(cell["output"], set()).add(cell["grade"])
    order = [grade.value for grade in GRADES]
    lines: dict[tuple[Any, ...], list[str]] = {}
    for key, sets in grouped.items():
        for output, grades in sets.items():
            lines.setdefault((*key, tuple(sorted(grades, key=order.index))), []).append(output)
    return [
        {
            "industry": key[0],
            "jurisdiction": key[1],
            "regime": key[2],
            "cross_border": key[3],
            "why": key[4],
            "grades": list(key[5]),
            "outputs": outputs,
        }
        for key, outputs in lines.items()
    ]
