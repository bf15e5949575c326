"""The grade of a dataset from its keys."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.policies import FLEET, HEALTH, PUBLIC
from xbcompute.core.errors import InputError
from xbcompute.core.grades import Grade
from xbcompute.policy.facts import grade_dataset, without_importance
from xbcompute.specs.pack import Fact
from xbcompute.specs.site import Dataset


def dataset(keys: dict[str, Any], origin: str = "CN", **more: Any) -> Dataset:
    body = {"id": "d", "source": "d.csv", "origin": origin, "subjects": "pid", "rows_max": 9}
    return Dataset.model_validate({**body, "columns": {"y": {"type": "number"}}, **keys, **more})


@pytest.mark.parametrize(
    ("more", "grade"),
    [
        ({}, "G5"),
        ({"health_level": 5}, "G5s"),
        ({"health_level": 3}, "G5"),
        ({"health_level": 3, "pi": "deidentified"}, "G3"),
        ({"health_level": 2, "pi": "deidentified"}, "G3"),
        ({"health_level": 4, "pi": "deidentified"}, "G5"),
        ({"health_level": 3, "pi": "personal"}, "G4"),
        ({"health_level": 2, "pi": "anonymised"}, "G2"),
        ({"health_level": 1, "pi": "anonymised"}, "G2"),
        ({"health_level": 1, "pi": "none"}, "G0"),
        ({"health_level": "none", "pi": "none"}, "G1"),
        ({"health_level": 2, "pi": "none"}, "G2"),
        ({"special_disease": True}, "G5s"),
        ({"minors_under14": True}, "G5s"),
        ({"minors_under14": True, "pi": "anonymised", "health_level": 2}, "G2"),
        ({"hgr": "clinical_only"}, "G5"),
        ({"hgr": "genetic_info"}, "G7"),
        ({"hgr": "wes_wgs"}, "G7"),
        ({"cn_grade": "important", "important_source": "notified"}, "G6"),
        ({"important_source": "suspected"}, "G6"),
        ({"cn_grade": "core"}, "G8"),
        ({"state_secret": True}, "G8"),
        ({"export_control": {"cn": "none", "sg": "listed"}}, "G8"),
        ({"export_control": {"cn": "listed", "sg": "none"}}, "G8"),
        ({"hgr": "wes_wgs", "cn_grade": "core"}, "G8"),
    ],
)
def test_the_grade_is_the_greatest_that_a_key_asks_for(more: dict[str, Any], grade: str) -> None:
    assert grade_dataset(dataset(HEALTH, **more), "biomed", "p").grade.value == grade


@pytest.mark.parametrize(
    "more",
    [
        {"cn_grade": "unknown"},
        {"pi": "unknown"},
        {"health_level": "unknown"},
        {"hgr": "unknown"},
        {"minors_under14": "unknown"},
        {"special_disease": "unknown"},
        {"state_organ_data": "unknown"},
        {"export_control": {"cn": "unknown", "sg": "none"}},
        {"export_control": {"cn": "none", "sg": "unknown"}},
    ],
)
@pytest.mark.parametrize("base", [HEALTH, PUBLIC])
def test_an_explicit_unknown_is_g6(base: dict[str, Any], more: dict[str, Any]) -> None:
    assert grade_dataset(dataset(base, **more), "biomed", "p").grade is Grade.G6


@pytest.mark.parametrize(
    ("sg_class", "grade"),
    [
        ("none", "G0"),
        ("anonymised", "G2"),
        ("hbra_nonidentifiable", "G3"),
        ("personal", "G4"),
        ("hbra_identifiable", "G5"),
        ("nehr", "G5"),
        ("unknown", "G6"),
    ],
)
def test_singapore_classes_lift_data_of_singapore_origin_only(sg_class: str, grade: str) -> None:
    assert grade_dataset(dataset(PUBLIC, "SG", sg_class=sg_class), "biomed", "p").grade.value == grade
    assert grade_dataset(dataset(PUBLIC, "CN", sg_class=sg_class), "biomed", "p").grade is Grade.G0


@pytest.mark.parametrize(
    ("base", "industry", "origin", "key"),
    [
        (HEALTH, "biomed", "CN", "cn_grade"),
        (HEALTH, "biomed", "CN", "pi"),
        (HEALTH, "biomed", "CN", "health_level"),
        (HEALTH, "biomed", "CN", "hgr"),
        (HEALTH, "biomed", "CN", "important_source"),
        (HEALTH, "biomed", "CN", "minors_under14"),
        (HEALTH, "biomed", "CN", "special_disease"),
        (HEALTH, "biomed", "CN", "state_organ_data"),
        (HEALTH, "biomed", "CN", "export_control"),
        (PUBLIC, "biomed", "CN", "health_level"),
        (PUBLIC, "biomed", "CN", "hgr"),
        (PUBLIC, "biomed", "SG", "sg_class"),
        (FLEET, "aviation", "CN", "export_control"),
        (FLEET, "aviation", "CN", "important_source"),
    ],
)
def test_an_absent_key_that_is_needed_is_refused_by_name(
    base: dict[str, Any], industry: str, origin: str, key: str
) -> None:
    keys = {name: value for name, value in base.items() if name != key}
    with pytest.raises(InputError) as refused:
        grade_dataset(dataset(keys, origin), industry, "su-a")
    assert refused.value.code == "grade.absent"
    assert all(word in refused.value.text for word in ("su-a", "'d'", f"'{key}'"))


@pytest.mark.parametrize("key", ["important_source", "minors_under14", "special_disease", "state_organ_data"])
def test_public_data_does_not_need_the_keys_of_personal_data(key: str) -> None:
    keys = {name: value for name, value in PUBLIC.items() if name != key}
    assert grade_dataset(dataset(keys), "biomed", "p").grade is Grade.G0


def test_important_needs_its_source_even_where_nothing_is_personal() -> None:
    keys = {**PUBLIC, "cn_grade": "important"}
    del keys["important_source"]
    with pytest.raises(InputError, match="important_source"):
        grade_dataset(dataset(keys), "biomed", "p")


@pytest.mark.parametrize(
    ("source", "important"),
    [
        ("notified", "confirmed"),
        ("published", "confirmed"),
        ("self_identified", "suspected"),
        ("suspected", "suspected"),
        ("none", "suspected"),
    ],
)
def test_only_notified_or_published_important_data_is_confirmed(source: str, important: str) -> None:
    graded = grade_dataset(dataset(HEALTH, cn_grade="important", important_source=source), "biomed", "p")
    assert graded.important == important


@pytest.mark.parametrize("source", ["notified", "suspected"])
def test_a_source_without_the_grade_is_only_a_suspicion(source: str) -> None:
    assert grade_dataset(dataset(HEALTH, important_source=source), "biomed", "p").important == "suspected"


def test_maintenance_data_without_people_is_g1() -> None:
    assert grade_dataset(dataset(FLEET), "aviation", "p").grade is Grade.G1


def test_the_same_data_were_it_not_important() -> None:
    facts: dict[str, Fact] = {
        "grade": Grade.G6,
        "pi_grade": Grade.G4,
        "important": "suspected",
        "export_control": "unknown",
        "pi": "x",
    }
    assert without_importance(facts) == {
        "grade": Grade.G4,
        "pi_grade": Grade.G4,
        "important": "none",
        "important_by_volume": False,
        "export_control": "none",
        "pi": "x",
    }
