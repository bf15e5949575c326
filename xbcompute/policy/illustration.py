"""One study, its data graded six ways, over two, three and four hospitals: what policy answers each time, and why.

Nothing is read or started: the parties, documents and signatures are made up here, complete for an ordinary study.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.parties import PartyId
from xbcompute.policy.folder import decide_folder
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.site import Site
from xbcompute.specs.study import parse_study
from xbcompute.specs.wording import Wording

NOW = dt.datetime.fromisoformat("2026-11-24T10:00:00+08:00")
PEOPLE = 150
"""At each hospital."""
HOLDERS: Mapping[int, Mapping[str, str]] = {
    2: {"suzhou-1": "CN", "singapore-1": "SG"},
    3: {"suzhou-1": "CN", "suzhou-2": "CN", "singapore-1": "SG"},
    4: {"suzhou-1": "CN", "suzhou-2": "CN", "singapore-1": "SG", "singapore-2": "SG"},
}
_LEVEL4: Mapping[str, Any] = {
    "cn_grade": "general",
    "important_source": "none",
    "pi": "sensitive",
    "health_level": 4,
    "hgr": "none",
    "minors_under14": False,
    "special_disease": False,
    "state_organ_data": False,
    "export_control": {"cn": "none", "sg": "none"},
}
GRADES: Mapping[str, tuple[Wording, Mapping[str, Any]]] = {
    "public": (Wording(zh="公开", en="public"), {**_LEVEL4, "pi": "none", "health_level": 1}),
    "anonymised": (Wording(zh="匿名化", en="anonymised"), {**_LEVEL4, "pi": "anonymised", "health_level": 2}),
    "level 4": (Wording(zh="第4级", en="level 4"), _LEVEL4),
    "level 5": (Wording(zh="第5级", en="level 5"), {**_LEVEL4, "health_level": 5}),
    "important": (
        Wording(zh="重要数据", en="important"),
        {**_LEVEL4, "cn_grade": "important", "important_source": "notified"},
    ),
    "genomic": (
        Wording(zh="基因组", en="genomic"),
        {**_LEVEL4, "hgr": "wes_wgs", "hgr_people": PEOPLE, "hgr_pedigree": False, "hgr_region": False},
    ),
}
_DOCUMENTS = {"CN": ("PIA", "SC_FILING", "IRB_CN"), "SG": ("IRB_SG", "SG_TRANSFER_BASIS")}


def answers() -> list[dict[str, Any]]:
    """One entry a grade and number of holders: verdict, protocol, path, limits and reasons, the gravest first."""
    return [_answer(grade, number) for grade in GRADES for number in HOLDERS]


def _answer(grade: str, number: int) -> dict[str, Any]:
    folder = case(grade, number)
    people = dict.fromkeys((PartyId(party) for party in HOLDERS[number]), PEOPLE)
    decision = decide_folder(folder, people, dict.fromkeys(folder.sites, NOW))
    return {
        "data": grade,
        "name": GRADES[grade][0].plain(),
        "holders": number,
        "grade": max(member["grade"] for member in decision["by_party"].values()),
        "verdict": decision["verdict"],
        "tier": decision["tier"],
        "protocol": decision["protocol"],
        "cn_path": decision["cn_path"],
        "cell_min": decision["limits"]["cell_min"],
        "required_evidence": decision["required_evidence"],
        "required_roles": decision["required_roles"],
        "reasons": decision["reasons"],
    }


def case(grade: str, number: int) -> StudyFolder:
    """The study with its data graded so, over so many hospitals."""
    parties = HOLDERS[number]
    keys = GRADES[grade][1]
    names = list(parties)
    study = parse_study(
        {
            "study": {
                "id": "illustration",
                "title": "One study, graded six ways",
                "industry": "biomed",
                "purpose": "outcome_research",
                "lead": names[0],
                "recipients": [names[0], names[-1]],
                "data": {"dataset": "patients"},
            },
            "analysis": [{"id": "m", "kind": "linear", "outcome": "outcome", "covariates": ["treatment"]}],
        }
    )
    federation = parse(
        Federation,
        {
            "federation": {"id": "illustration"},
            "party": [{"id": p, "jurisdiction": j, "roles": ["holder", "recipient"]} for p, j in parties.items()],
        },
        "federation.toml",
    )
    sites = {PartyId(p): parse(Site, _site(p, j, keys, names), f"sites/{p}/site.toml") for p, j in parties.items()}
    return StudyFolder(Path(), study, federation, sites, dict.fromkeys(sites, Path()))


def _site(party: str, where: str, keys: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    others = [name for name in names if name != party]
    column = {"type": "number", "bounds": [0.0, 1.0]}
    graded = dict(keys)
    if where == "SG":
        # the Singapore hospitals hold ordinary clinical data of the same kind: what is graded higher lies in Suzhou
        personal = keys["pi"] == "sensitive"
        graded = {**(_LEVEL4 if personal else keys), "sg_class": "personal" if personal else "none"}
    return {
        "site": {"party": party, "packs": [where.lower(), "biomed"], "cell_scope": "pooled"},
        "entity": {"ciio": False, "listed_partner_until": "2027-12-31"},
        "dataset": [
            {
                "id": "patients",
                "source": "patients.csv",
                "origin": where,
                "subjects": "person",
                "rows_max": 200,
                "rows_min": 100,
                **graded,
                "consent": {"purposes": ["outcome_research"], "recipients": others, "export": True},
                "columns": {"outcome": column, "treatment": column},
            }
        ],
        "evidence": [{"kind": kind, "from": "2026-03-01", "to": "2029-03-01"} for kind in _DOCUMENTS[where]],
        "approval": [
            {
                "study": "illustration",
                "purpose": "outcome_research",
                "from": "2026-06-01",
                "to": "2027-06-01",
                "outputs": ["aggregate"],
                "roles": ["DS", "DPO", "EC-IRB", "CP"],
            }
        ],
    }
