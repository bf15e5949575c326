"""Packs: what loads, what does not, what they say and never say, and who signed them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.policies import HEALTH, NOW, hospitals
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.grades import Grade
from xbcompute.core.parties import PartyId
from xbcompute.policy.circumstances import Circumstances
from xbcompute.policy.facts import gather, grade_dataset
from xbcompute.policy.folder import requests
from xbcompute.policy.request import People
from xbcompute.policy.topology import topology
from xbcompute.specs.federation import PackPin
from xbcompute.specs.pack import (
    FACTS,
    Facts,
    LoadedPack,
    Match,
    Rule,
    load_pack,
    pack_digest,
    pack_statement,
    shipped_pack_ids,
    verify_pack,
)
from xbcompute.specs.shipped import packs

PACKS: list[LoadedPack] = [load_pack(name) for name in shipped_pack_ids()]
RULES: list[Rule] = [rule for loaded in PACKS for rule in loaded.pack.rule]
NEVER = re.compile(
    r"complian|exempt|never leave|not leave the country|is lawful|is secure|guarantee|"
    r"合规|合法|免申报|豁免|不出境|绝对安全|已获批准",
    re.IGNORECASE,
)


def test_the_packs_of_the_first_release() -> None:
    assert shipped_pack_ids() == ("aviation", "biomed", "cn", "general", "sandbox", "sg", "suzhou-ftz")
    assert {loaded.pack.version for loaded in PACKS} == {"2026.11"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_cited_marked_and_bilingual(rule: Rule) -> None:
    assert rule.cites
    assert rule.mark in ("V", "V2", "M", "D")
    assert re.search(r"[\u4e00-\u9fff]", rule.text.zh)
    assert not re.search(r"[\u4e00-\u9fff]", rule.text.en)
    if rule.mark == "D":
        assert "project rule" in rule.cites


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_no_rule_claims_what_nobody_can_promise(rule: Rule) -> None:
    assert not NEVER.search(rule.text.zh)
    assert not NEVER.search(rule.text.en)


def test_rule_ids_are_unique_over_all_packs() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)


def test_the_rows_of_this_release_are_there() -> None:
    wanted = {"B01", "B02", "B03", "B08", "B09", "B12", "B16", "B17", "B18", "B20", "A04"}
    wanted |= {"X01", "X02", "X03", "X06", "X07", "X08", "C4.1", "C4.2", "C4.3", "C4.6", "C4.9", "C4.10"}
    assert wanted <= {rule.id for rule in RULES}


def test_citations_of_one_name_say_the_same_in_every_pack() -> None:
    titles: dict[str, set[str]] = {}
    for loaded in PACKS:
        for citation in loaded.pack.citation:
            titles.setdefault(citation.id, set()).add(citation.mark)
    assert {name: marks for name, marks in titles.items() if len(marks) > 1} == {}


def test_no_citation_is_left_unused() -> None:
    for loaded in PACKS:
        used = {name for rule in loaded.pack.rule for name in rule.cites}
        assert {citation.id for citation in loaded.pack.citation} <= used, loaded.pack.id


def test_digests_are_of_the_files_bytes() -> None:
    for loaded in PACKS:
        assert loaded.sha256 == pack_digest((packs() / f"{loaded.pack.id}.toml").read_bytes())


SMALL = """
id = "small"
version = "1"
title = { zh = "小", en = "small" }
status = "draft"
effective = 2026-01-01
[[citation]]
id = "LAW 1"
title = { zh = "法一", en = "Law 1" }
mark = "V"
[[rule]]
id = "S01"
text = { zh = "一", en = "one" }
mark = "V"
cites = ["LAW 1"]
match = [{ field = "grade", op = ">=", value = "G3" }]
verdict = "DENY"
"""


def write(tmp_path: Path, text: str) -> Path:
    (tmp_path / "small.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_small_pack_loads(tmp_path: Path) -> None:
    loaded = load_pack("small.toml", beside=write(tmp_path, SMALL))
    assert loaded.pack.find("S01") is not None
    assert loaded.pack.find("S02") is None
    assert not loaded.shipped


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('cites = ["LAW 1"]', "cites = []", "cites"),
        ('cites = ["LAW 1"]', "", "cites"),
        ('cites = ["LAW 1"]', 'cites = ["LAW 2"]', "LAW 2"),
        ('mark = "V"\ncites', "cites", "mark"),
        ('mark = "V"\ncites', 'mark = "W"\ncites', "mark"),
        ('text = { zh = "一", en = "one" }', 'text = { zh = "一" }', "en"),
        ('text = { zh = "一", en = "one" }', 'text = { zh = "", en = "one" }', "zh"),
        ('field = "grade"', 'field = "colour"', "colour"),
        ('op = ">="', 'op = "~"', "op"),
        ('value = "G3"', 'value = "G9"', "grades"),
        ('value = "G3"', "value = 3", "grade"),
        ('value = "G3"', 'value = ["G3"]', "one value"),
        ('field = "grade", op = ">=", value = "G3"', 'field = "grade", op = "in", value = "G3"', "list"),
        ('field = "grade", op = ">=", value = "G3"', 'field = "sandbox", op = "=", value = 1', "sandbox"),
        ('field = "grade", op = ">=", value = "G3"', 'field = "operators", op = ">", value = true', "operators"),
        ('field = "grade", op = ">=", value = "G3"', 'field = "origin", op = "<", value = "CN"', "no order"),
        ('verdict = "DENY"', 'verdict = "MAYBE"', "verdict"),
        ('verdict = "DENY"', 'verdict = "DENY"\ncovers = ["G3"]', "covers"),
        ('verdict = "DENY"', 'verdict = "PERMIT"\ncovers = ["G3"]', "families"),
        ('verdict = "DENY"', 'verdict = "DENY"\nuntil = ["PIA"]', "until"),
        ('verdict = "DENY"', 'verdict = "HOLD"\nuntil = ["LETTER"]', "LETTER"),
        ('verdict = "DENY"', '[rule.requires]\nevidence = ["PIA or NOTE"]', "NOTE"),
        ('verdict = "DENY"', '[rule.requires]\nroles = ["BOSS"]', "BOSS"),
        ('verdict = "DENY"', 'code = "1 + 1"', "code"),
        ('version = "1"', 'version = "1"\nformat = 2', "newer"),
        ('title = { zh = "小", en = "small" }', "", "title"),
    ],
)
def test_a_faulty_pack_does_not_load(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert before in SMALL
    with pytest.raises(InputError) as refused:
        load_pack("small.toml", beside=write(tmp_path, SMALL.replace(before, after)))
    assert words in refused.value.text
    assert "small.toml" in refused.value.text


def test_two_rules_of_one_name_do_not_load(tmp_path: Path) -> None:
    rule = SMALL[SMALL.index("[[rule]]") :]
    with pytest.raises(InputError, match="S01"):
        load_pack("small.toml", beside=write(tmp_path, SMALL + rule))


def test_a_pack_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no policy pack 'xx'"):
        load_pack("xx")


FACT: Facts = {"grade": Grade.G4, "origin": "CN", "sandbox": True, "operators": 3}


@pytest.mark.parametrize(
    ("field", "op", "value", "holds"),
    [
        ("grade", "=", "G4", True),
        ("grade", "!=", "G4", False),
        ("grade", "<", "G5s", True),
        ("grade", "<=", "G4", True),
        ("grade", ">", "G4", False),
        ("grade", ">=", "G4", True),
        ("grade", "in", ("G3", "G4"), True),
        ("grade", "not in", ("G3", "G4"), False),
        ("origin", "=", "SG", False),
        ("origin", "not in", ("SG", "MY"), True),
        ("sandbox", "=", True, True),
        ("operators", "<", 3, False),
        ("operators", "in", (1, 3), True),
    ],
)
def test_conditions(field: str, op: str, value: Any, holds: bool) -> None:
    assert Match.model_validate({"field": field, "op": op, "value": value}).holds(FACT) is holds


def test_rules_may_ask_exactly_what_is_gathered() -> None:
    folder = hospitals().folder()
    built = requests(folder, dict.fromkeys(map(PartyId, folder.sites), 1), dict.fromkeys(folder.sites, NOW))
    request = built[PartyId("su-a")]
    graded = grade_dataset(request.dataset, "biomed", "su-a")
    facts = gather(request, graded, topology(folder.study, folder.federation), People(), Circumstances().facts())
    assert set(facts) | {"output"} == set(FACTS)
    kinds = {"text": str, "flag": bool, "count": int, "grade": Grade}
    assert all(type(value) is kinds[FACTS[name]] for name, value in facts.items())
    assert HEALTH["pi"] == facts["pi"]


# ---- signatures ------------------------------------------------------------------------------------------------------

KEY = Ed25519PrivateKey.generate()
KEYS = {"a": "ed25519:" + base64.b64encode(KEY.public_key().public_bytes_raw()).decode()}
PACK = load_pack("cn")


def pin(**changes: Any) -> PackPin:
    signature = KEY.sign(pack_statement("cn", PACK.pack.version, PACK.sha256))
    body = {
        "id": "cn",
        "version": PACK.pack.version,
        "sha256": PACK.sha256.removeprefix("sha256:"),
        "signatures": {"a": base64.b64encode(signature).decode()},
    }
    return PackPin.model_validate({**body, **changes})


def test_a_signed_pack_names_its_signers() -> None:
    assert verify_pack(pin(), PACK, KEYS) == {"a"}
    assert verify_pack(pin(signatures={}), PACK, KEYS) == frozenset()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sha256": "0" * 64}, "pack.digest"),
        ({"version": "2026.12"}, "pack.signature"),
        ({"signatures": {"b": "AAAA"}}, "pack.signer"),
        ({"signatures": {"a": "AAAA"}}, "pack.signature"),
        ({"signatures": {"a": "not base64!"}}, "pack.signature"),
    ],
)
def test_wrong_signatures_are_found(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(IntegrityError) as refused:
        verify_pack(pin(**changes), PACK, KEYS)
    assert refused.value.code == code


def test_a_pack_is_signed_by_the_key_of_the_named_party() -> None:
    other = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with pytest.raises(IntegrityError):
        verify_pack(pin(), PACK, {"a": "ed25519:" + base64.b64encode(other).decode()})
