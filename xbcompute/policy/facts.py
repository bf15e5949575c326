"""Grades from a dataset's keys (policy C2), and the facts that rules match on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbcompute.core.errors import InputError
from xbcompute.core.grades import Grade
from xbcompute.policy.request import People, Request
from xbcompute.policy.topology import Topology
from xbcompute.specs.pack import Fact
from xbcompute.specs.site import Dataset

_PI = {
    "none": Grade.G1,
    "anonymised": Grade.G2,
    "deidentified": Grade.G3,
    "personal": Grade.G4,
    "sensitive": Grade.G5,
    "unknown": Grade.G5,
}
_LEVEL: Mapping[Any, Grade] = {
    "none": Grade.G0,
    1: Grade.G0,
    2: Grade.G2,
    3: Grade.G3,
    4: Grade.G5,
    5: Grade.G5S,
    "unknown": Grade.G5,
}
_SG = {
    "none": Grade.G0,
    "anonymised": Grade.G2,
    "hbra_nonidentifiable": Grade.G3,
    "personal": Grade.G4,
    "hbra_identifiable": Grade.G5,
    "nehr": Grade.G5,
    "unknown": Grade.G5,
}
_ALWAYS = ("cn_grade", "pi")
_BIOMED = ("health_level", "hgr")
_AVIATION = ("important_source", "export_control")
_PERSONAL = ("important_source", "state_organ_data", "export_control")
_PERSONAL_BIOMED = ("minors_under14", "special_disease")
_STRICTER = ("none", "unknown", "listed")


@dataclass(frozen=True)
class Grading:
    """A dataset's grade and what made it.

    ``pi_grade`` is the grade by the personal-information keys alone; ``important`` is ``none``, ``suspected`` or
    ``confirmed``; ``export_control`` the stricter of the two countries' states.
    """

    grade: Grade
    pi_grade: Grade
    important: str
    export_control: str
    core: bool


def grade_dataset(dataset: Dataset, industry: str, party: str) -> Grading:
    """The grade of ``dataset`` from its keys.

    Which keys are needed depends on the industry, on the origin and on whether the data is personal. An explicit
    ``unknown`` lifts the dataset to G6.

    Raises:
        InputError: ``grade.absent``, naming party, dataset and key.
    """
    _need(dataset, party, _ALWAYS + {"biomed": _BIOMED, "aviation": _AVIATION}.get(industry, ()))
    if dataset.origin == "SG":
        _need(dataset, party, ("sg_class",))
    pi_grade = _pi_grade(dataset, industry)
    if pi_grade >= Grade.G3:
        _need(dataset, party, _PERSONAL + (_PERSONAL_BIOMED if industry == "biomed" else ()))
        if dataset.minors_under14 is True or dataset.special_disease is True:
            pi_grade = max(pi_grade, Grade.G5S)
    if dataset.cn_grade == "important":
        _need(dataset, party, ("important_source",))
    important = _important(dataset)
    export = dataset.export_control
    control = "none" if export is None else max(export.cn, export.sg, key=_STRICTER.index)
    core = dataset.cn_grade == "core" or dataset.state_secret
    parts = [pi_grade]
    if important != "none" or control == "unknown":
        parts.append(Grade.G6)
    if dataset.hgr in ("genetic_info", "wes_wgs"):
        parts.append(Grade.G7)
    if core or control == "listed":
        parts.append(Grade.G8)
    return Grading(Grade.join(parts), pi_grade, important, control, core)


def _need(dataset: Dataset, party: str, keys: tuple[str, ...]) -> None:
    for key in keys:
        if getattr(dataset, key) is None:
            raise InputError(
                "grade.absent",
                f"{party}: dataset '{dataset.id}': the grade key '{key}' is absent, and nothing is guessed.",
                todo=f"Write '{key}' in site.toml; 'unknown' is an answer and is treated as important data.",
            )


def _pi_grade(dataset: Dataset, industry: str) -> Grade:
    level = dataset.health_level if dataset.health_level is not None else "none"
    by_pi = _PI[dataset.pi or "unknown"]
    if dataset.pi == "none" and industry == "biomed" and level == 1:
        by_pi = Grade.G0
    by_sg = _SG[dataset.sg_class or "none"] if dataset.origin == "SG" else Grade.G0
    return Grade.join((by_pi, _LEVEL[level], by_sg))


def _important(dataset: Dataset) -> str:
    source = dataset.important_source or "none"
    if dataset.cn_grade == "important" and source in ("notified", "published"):
        return "confirmed"
    unknown = "unknown" in (
        dataset.cn_grade,
        dataset.pi,
        dataset.health_level,
        dataset.hgr,
        dataset.minors_under14,
        dataset.special_disease,
        dataset.state_organ_data,
        dataset.sg_class if dataset.origin == "SG" else None,
    )
    return "suspected" if unknown or source != "none" or dataset.cn_grade == "important" else "none"


def gather(
    request: Request, grading: Grading, topology: Topology, people: People, seen: Mapping[str, Fact]
) -> dict[str, Fact]:
    """The facts of one holder's dataset, without ``output``.

    ``people`` include this job where it counts; ``seen`` are the facts of
    :class:`~xbcompute.policy.circumstances.Circumstances`.
    """
    dataset, header, entity = request.dataset, request.study.study, request.site.entity
    level = dataset.health_level
    return {
        **seen,
        "ciio": entity.ciio if isinstance(entity.ciio, str) else str(entity.ciio).lower(),
        "cn_grade": dataset.cn_grade or "unknown",
        "core": grading.core,
        "cross_border": bool(topology.foreign_jurisdictions(request.party_spec.jurisdiction)),
        "export_control": grading.export_control,
        "flows_to_cn": "CN" in topology.foreign_jurisdictions(request.party_spec.jurisdiction),
        "flows_to_sg": "SG" in topology.foreign_jurisdictions(request.party_spec.jurisdiction),
        "grade": grading.grade,
        "has_pi": grading.pi_grade >= Grade.G3,
        "health_level": level if isinstance(level, int) else 0,
        "hgr": dataset.hgr or "none",
        "holders": len(topology.holders),
        "important": grading.important,
        "industry": header.industry,
        "jurisdiction": request.party_spec.jurisdiction,
        "minors_under14": dataset.minors_under14 is True,
        "operators": len({party.control_group for party in topology.holders}),
        "origin": dataset.origin,
        "people_non_sensitive": people.non_sensitive,
        "people_sensitive": people.sensitive,
        "pi": dataset.pi or "unknown",
        "pi_grade": grading.pi_grade,
        "purpose": header.purpose,
        "sandbox": header.sandbox,
        "sg_class": dataset.sg_class or "none",
        "special_disease": dataset.special_disease is True,
        "state_organ_data": dataset.state_organ_data is True,
        "zone": entity.zone,
    }


def without_importance(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """The same data were it not (suspected) important: rules for G6 add to what these facts already ask for."""
    return {
        **facts,
        "grade": facts["pi_grade"],
        "important": "none",
        "important_by_volume": False,
        "export_control": "none",
    }
