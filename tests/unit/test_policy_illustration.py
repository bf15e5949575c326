"""One study graded six ways over two, three and four hospitals."""

from __future__ import annotations

import json

import pytest

from xbcompute.cli.grades import show_grades
from xbcompute.policy.illustration import GRADES, HOLDERS, answers

EXPECTED = {
    "public": ("clear-aggregate", "clear-aggregate", "clear-aggregate"),
    "anonymised": ("clear-aggregate", "clear-aggregate", "clear-aggregate"),
    "level 4": ("two-party", "DENY", "masked-sum"),
    "level 5": ("DENY", "DENY", "DENY"),
    "important": ("HOLD", "DENY", "HOLD"),
    "genomic": ("DENY", "DENY", "DENY"),
}


def test_each_grade_gets_its_protocol_or_refusal() -> None:
    found = {(one["data"], one["holders"]): one for one in answers()}
    shown = {
        data: tuple(
            one["verdict"] if one["verdict"] in ("DENY", "HOLD") else one["protocol"]
            for one in (found[data, number] for number in HOLDERS)
        )
        for data in GRADES
    }
    assert shown == EXPECTED
    assert [found[data, 4]["grade"] for data in GRADES] == ["G0", "G2", "G5", "G5s", "G6", "G7"]
    assert "C4.3" in {reason["rule"] for reason in found["level 4", 3]["reasons"]}
    assert found["important", 4]["required_evidence"] == ["RISK_ASSESS", "SEC_ASSESS"]


def test_the_table_and_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_grades(as_json=True)
    assert len(json.loads(capsys.readouterr().out)["answers"]) == len(GRADES) * len(HOLDERS)
    show_grades(as_json=False)
    shown = capsys.readouterr().out
    for words in ("genomic 基因组", "masked-sum", "refused 拒绝", "held 暂停", "B03 ["):
        assert words in shown
