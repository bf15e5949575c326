"""The worked scenarios T01 to T13, as study folders on disk."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.folders import FLEET, LEVEL4, Draft, decide, number
from xbcompute.policy import folder as policy_folder
from xbcompute.simulate.deciding import clocks, count_all
from xbcompute.specs.load import load_folder

HOSPITALS = {"e-sz": "CN", "e-sg": "SG"}
FOUR = {"e-sz": "CN", "e-sz-2": "CN", "e-sg": "SG", "e-sg-2": "SG"}
FIRMS = {"e-szm": "CN", "e-sgm": "SG"}
LINEAR = {"id": "m", "kind": "linear", "outcome": "y", "covariates": ["x"]}
MEANS = {"id": "d", "kind": "describe", "columns": ["y"]}
TRAIN = {"id": "t", "kind": "train", "operator": "op", "columns": ["x"]}
EXTRACT = {"id": "x", "kind": "extract", "columns": ["y"]}
COLUMNS = {"x": number(0.0, 1.0), "y": number(0.0, 1.0)}


def frame(rows: int) -> pd.DataFrame:
    values = np.linspace(0.0, 1.0, rows)
    return pd.DataFrame({"x": values, "y": values**2})


def hospitals(
    parties: dict[str, str], analysis: dict[str, Any], *, first: int = 400, other: int = 100, **data: Any
) -> Draft:
    """``first`` people at the Suzhou hospital, ``other`` at each further one."""
    owner = np.repeat(np.arange(len(parties)), [first] + [other] * (len(parties) - 1))
    return Draft(frame(len(owner)), COLUMNS, analysis, parties=parties, owner=owner, grade=LEVEL4, **data)


def noised(**data: Any) -> Draft:
    """T03 before its variations: 800 people at the Suzhou hospital; noise with ε = 1."""
    draft = hospitals(FOUR, MEANS, first=800, other=60, **data).header(privacy={"epsilon": 1.0, "delta": 1e-6})
    for party in draft.sites:
        draft.sites[party]["approval"][0]["roles"].append("EX")
    return draft


def with_noise(draft: Draft, root: Path) -> dict[str, Any]:
    """The decision where a noise mechanism for means is built."""
    folder = load_folder(draft.write(root))
    return policy_folder.decide_folder(folder, count_all(folder), clocks(folder), noise_kinds=frozenset({"describe"}))


def first_reason(decision: dict[str, Any]) -> str:
    return str(decision["reasons"][0]["rule"])


def test_t01_simulated_engines_in_the_sandbox(tmp_path: Path) -> None:
    draft = Draft(
        frame(40), COLUMNS, TRAIN, parties=FIRMS, grade=FLEET, industry="aviation", purpose="rul_model", study="t01"
    ).header(sandbox=True, protocol={"prefer": ["federated-plain"]})
    for site in draft.sites.values():
        site["approval"] = []
    decision = decide(draft, tmp_path)
    assert (decision["verdict"], decision["tier"], decision["watermark"]) == ("PERMIT", "支持", "sandbox")
    assert (decision["protocol"], decision["outputs"]) == ("federated-plain", ["model_plain_rounds"])
    assert "A14" in decision["rules"]


def test_t02_removal_rates_over_four_operators(tmp_path: Path) -> None:
    parties = {"e-szm": "CN", "su-2": "CN", "e-sgm": "SG", "sg-2": "SG"}
    decision = decide(Draft(frame(80), COLUMNS, MEANS, parties=parties, grade=FLEET, industry="aviation"), tmp_path)
    assert (decision["verdict"], decision["cn_path"]) == ("PERMIT", "NONE")
    assert (decision["export_posture"], decision["watermark"]) == ("not_export", None)
    assert "A04" in decision["rules"]
    assert "O16 3" in decision["citations"]


def test_t03_eight_hundred_patients_with_noise(tmp_path: Path) -> None:
    decision = with_noise(noised(), tmp_path)
    assert (decision["verdict"], decision["cn_path"]) == ("PERMIT_WITH_CONDITIONS", "SC_FILING")
    assert (decision["count_before"]["sensitive"], decision["count_after"]["sensitive"]) == (0, 800)
    assert decision["export_posture"] == "treated_as_export"
    assert decision["protocol"] == "masked-sum"
    assert "B09" in decision["rules"]
    assert decision["limits"]["cell_min"] == 10


def test_t04_without_filing_or_certificate(tmp_path: Path) -> None:
    decision = with_noise(noised().without_evidence("SC_FILING"), tmp_path)
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["SC_FILING or CERT"])


def test_t05_five_coded_rows(tmp_path: Path) -> None:
    draft = hospitals(HOSPITALS, EXTRACT, first=5, other=5).every(pi="deidentified", health_level=3)
    decision = decide(draft, tmp_path)
    assert (decision["verdict"], first_reason(decision)) == ("DENY", "B02")


def test_t06_core_data(tmp_path: Path) -> None:
    draft = hospitals(HOSPITALS, LINEAR)
    draft.dataset("e-sz")["cn_grade"] = "core"
    decision = decide(draft, tmp_path)
    assert (decision["verdict"], first_reason(decision)) == ("DENY", "B01")


def test_t07_important_data(tmp_path: Path) -> None:
    draft = hospitals(HOSPITALS, LINEAR)
    draft.dataset("e-sz").update(cn_grade="important", important_source="notified")
    decision = decide(draft, tmp_path)
    assert decision["verdict"] == "HOLD"
    assert {"SEC_ASSESS", "RISK_ASSESS"} <= set(decision["required_evidence"])
    assert "EX" in decision["required_roles"]
    assert "B18" in decision["rules"]
    assert {"DSL 31", "NDR 31", "NDR 37"} <= set(decision["citations"])


@pytest.mark.parametrize(
    ("until", "verdict"),
    [
        (dt.datetime.fromisoformat("2026-11-23T10:00:00+08:00"), "DENY"),
        (dt.datetime.fromisoformat("2026-11-24T10:00:00+08:00"), "DENY"),
        (dt.datetime.fromisoformat("2026-11-24T10:00:01+08:00"), "PERMIT_WITH_CONDITIONS"),
    ],
)
def test_t08_a_partner_whose_listing_ended(tmp_path: Path, until: dt.datetime, verdict: str) -> None:
    decision = with_noise(noised().entity("e-sg", listed_partner_until=until), tmp_path)
    assert decision["verdict"] == verdict
    assert ("X03" in decision["rules"]) is (verdict == "DENY")


def test_t09_another_purpose(tmp_path: Path) -> None:
    draft = noised(purpose="trial_analytics")
    for site in draft.sites.values():
        site["approval"][0]["purpose"] = "outcome_research"
    decision = with_noise(draft, tmp_path)
    assert (decision["verdict"], first_reason(decision)) == ("DENY", "X01")


def test_t10_a_transfer_contract_that_names_another_country(tmp_path: Path) -> None:
    draft = noised()
    for party in ("e-sg", "e-sg-2"):
        for item in draft.sites[party]["evidence"]:
            if item["kind"] == "SG_TRANSFER_BASIS":
                item.update(basis="contract", countries=["Malaysia"])
    decision = with_noise(draft, tmp_path)
    assert (decision["verdict"], decision["required_evidence"]) == ("HOLD", ["SG_TRANSFER_BASIS"])
    assert "B20" in decision["rules"]


def test_t11_imaging_and_protein_data(tmp_path: Path) -> None:
    decision = decide(hospitals(HOSPITALS, LINEAR).every(hgr="clinical_only"), tmp_path)
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "two-party")
    assert {"B05", "B08"} <= set(decision["rules"])
    assert "B03" not in decision["rules"]


def test_t12_unclassified_technology(tmp_path: Path) -> None:
    draft = Draft(frame(40), COLUMNS, TRAIN, parties=FIRMS, grade=FLEET, industry="aviation", purpose="rul_model")
    draft.dataset("e-szm")["export_control"] = {"cn": "unknown", "sg": "none"}
    for site in draft.sites.values():
        site["approval"] = []
    decision = decide(draft, tmp_path)
    assert decision["verdict"] == "HOLD"
    assert "XC" in decision["required_roles"]
    assert "A02" in decision["rules"]


@pytest.mark.parametrize("parties", [HOSPITALS, FOUR])
def test_t13_plain_updates_of_patients(tmp_path: Path, parties: dict[str, str]) -> None:
    draft = hospitals(parties, TRAIN, first=800).header(protocol={"prefer": ["federated-plain"]})
    decision = decide(draft, tmp_path)
    assert decision["verdict"] == "DENY"
    assert "B12" in decision["rules"]
    assert decision["protocol"] is None
