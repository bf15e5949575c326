"""Lists, catalogues, partners, templates and pilots of packs: they load whole or not at all, and bind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.policies import NOW, Draft, hospitals, with_rules
from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy.folder import decide_folder
from xbcompute.policy.request import load_site_packs
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.pack import load_pack

BASE = """
id = "local"
version = "1"
title = { zh = "本地", en = "Local" }
status = "in_force"
effective = 2026-01-01
[[citation]]
id = "LIST 1"
title = { zh = "清单", en = "List" }
mark = "V2"
[[rule]]
id = "L01"
text = { zh = "见清单", en = "See the list" }
mark = "V2"
cites = ["LIST 1"]
"""
NEGATIVE = """
[[negative_list]]
zone = "suzhou-ftz"
authority = "some authority"
number = "2027-1"
industries = ["biomed"]
listed = ["genome", "track"]
cites = "LIST 1"
to = 2026-12-31
"""
CATALOGUE = """
[[catalogue]]
id = "c1"
source = "SOURCE"
authority = "some authority"
date = 2026-05-01
industry = "biomed"
tags = ["special"]
text = { zh = "特殊", en = "special" }
cites = "LIST 1"
"""
PARTNER = """
[[partner]]
party = "PARTY"
jurisdiction = "SG"
status = "STATUS"
to = TO
"""
TEMPLATE = """
[[template]]
id = "cn-sg"
title = { zh = "双边模板", en = "Bilateral template" }
principles = [{ zh = "最小必要", en = "No more than is needed" }]
jurisdictions = ["CN", "SG"]
industry = "biomed"
purposes = ["PURPOSE"]
outputs = ["OUTPUT"]
protocols = ["PROTOCOL"]
fields = [FIELDS]
retention_years = 2
clauses = [{ zh = "不得再识别", en = "No re-identification" }]
"""
POSITIVE = """
[[positive_list]]
id = "p1"
industry = "biomed"
purpose = "outcome_research"
tags = ["lab"]
outputs = ["aggregate"]
text = { zh = "检验值汇总", en = "Aggregates of laboratory values" }
cites = "LIST 1"
[[pilot]]
id = "one"
participants_max = 4
metrics = [{ zh = "数", en = "Number" }]
"""


class Folder(Draft):
    """A draft whose sites also list a pack file, signed by everybody where ``signed``."""

    def with_pack(self, root: Path, text: str, *, signed: bool = True) -> dict[str, Any]:
        (root / "local.toml").write_text(text, encoding="utf-8")
        for site in self.sites.values():
            if site.get("dataset"):
                site["site"]["packs"].append("local.toml")
        plain = self.folder()
        folder = StudyFolder(root, plain.study, plain.federation, plain.sites, dict.fromkeys(plain.sites, root))
        people = {PartyId(party): count for party, count in self.people.items()}
        now = dict.fromkeys(folder.sites, NOW)
        return decide_folder(folder, people, now, agreed=frozenset({"local"}) if signed else frozenset())


def draft(**keys: Any) -> Folder:
    made = Folder.__new__(Folder)
    made.__dict__.update(hospitals().__dict__)
    made.all_datasets(**keys)
    return made


def tag(folder: Folder, *tags: str) -> Folder:
    for site in folder.sites.values():
        for column in site["dataset"][0]["columns"].values():
            column["tags"] = list(tags)
    return folder


def test_everything_loads(tmp_path: Path) -> None:
    text = (
        BASE
        + NEGATIVE
        + CATALOGUE.replace("SOURCE", "published")
        + PARTNER.replace("STATUS", "listed").replace("TO", "2027-01-01").replace("PARTY", "sg-a")
    )
    template = TEMPLATE.replace("PURPOSE", "x").replace("OUTPUT", "aggregate").replace("PROTOCOL", "masked-sum")
    (tmp_path / "local.toml").write_text(text + template.replace("FIELDS", "") + POSITIVE, encoding="utf-8")
    pack = load_pack("local.toml", beside=tmp_path).pack
    assert pack.negative_list[0].listed == ("genome", "track")
    assert (pack.catalogue[0].state, pack.catalogue[0].date.isoformat()) == ("confirmed", "2026-05-01")
    assert (pack.partner[0].party, pack.positive_list[0].id, pack.pilot[0].participants_max) == ("sg-a", "p1", 4)
    assert pack.template[0].jurisdictions == ("CN", "SG")
    with pytest.raises(Exception, match="frozen"):
        pack.template[0].retention_years = 9


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('cites = "LIST 1"\nto', 'cites = "LIST 9"\nto', "LIST 9"),
        ('cites = "LIST 1"\nto', "to", "cites"),
        ('listed = ["genome", "track"]', "listed = []", "listed"),
        ('authority = "some authority"', "", "authority"),
        ("to = 2026-12-31", 'colour = "red"', "colour"),
    ],
)
def test_a_list_without_source_does_not_load(tmp_path: Path, before: str, after: str, words: str) -> None:
    assert before in NEGATIVE
    (tmp_path / "local.toml").write_text(BASE + NEGATIVE.replace(before, after), encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_pack("local.toml", beside=tmp_path)


def test_nothing_is_listed_in_the_shipped_packs() -> None:
    for name in ("cn", "sg", "suzhou-ftz", "biomed", "aviation", "general"):
        pack = load_pack(name).pack
        assert (pack.negative_list, pack.positive_list, pack.catalogue, pack.partner, pack.template) == ((),) * 5


@pytest.mark.parametrize(
    ("tags", "zone", "signed", "path"),
    [
        (["lab"], "suzhou-ftz", True, "NONE"),
        (["lab", "genome"], "suzhou-ftz", True, "SC_FILING"),
        ([], "suzhou-ftz", True, "SC_FILING"),
        (["lab"], "elsewhere", True, "SC_FILING"),
        (["lab"], "suzhou-ftz", False, "SC_FILING"),
    ],
)
def test_a_loaded_zone_list(tmp_path: Path, tags: list[str], zone: str, path: str, *, signed: bool) -> None:
    folder = tag(draft(), *tags)
    for party in ("su-a", "su-b"):
        folder.sites[party]["entity"]["zone"] = zone
    decision = folder.with_pack(tmp_path, BASE + NEGATIVE, signed=signed)
    assert decision["cn_path"] == path


def test_a_document_does_not_take_listed_data_off_the_list(tmp_path: Path) -> None:
    folder = tag(draft(), "genome")
    folder.sites["su-a"]["entity"]["zone"] = "suzhou-ftz"
    folder.sites["su-a"]["evidence"].append({"kind": "FTZ_LIST"})
    assert folder.with_pack(tmp_path, BASE + NEGATIVE)["by_party"]["su-a"]["cn_path"] == "SC_FILING"


@pytest.mark.parametrize(("source", "rule"), [("notified", "B18"), ("published", "B18"), ("self_identified", "B19")])
@pytest.mark.parametrize("signed", [True, False])
def test_a_catalogue_hit_makes_data_important(tmp_path: Path, source: str, rule: str, *, signed: bool) -> None:
    folder = tag(draft(), "special")
    decision = folder.with_pack(tmp_path, BASE + CATALOGUE.replace("SOURCE", source), signed=signed)
    assert decision["by_party"]["su-a"]["grade"] == "G6"
    assert (decision["verdict"], rule in with_rules(decision)) == ("HOLD", True)


def test_data_without_the_tag_is_as_it_was(tmp_path: Path) -> None:
    decision = draft().with_pack(tmp_path, BASE + CATALOGUE.replace("SOURCE", "notified"))
    assert decision["by_party"]["su-a"]["grade"] == "G5"


@pytest.mark.parametrize(
    ("status", "to", "refused"),
    [
        ("listed", "2026-11-24T10:00:01+08:00", False),
        ("listed", "2026-11-24T10:00:00+08:00", True),
        ("suspended", "2027-01-01", True),
    ],
)
def test_a_partner_list_binds(tmp_path: Path, status: str, to: str, *, refused: bool) -> None:
    parties = {"su-a": "CN", "su-b": "CN", "sg-a": "SG", "sg-b": "SG"}
    text = "".join(
        PARTNER.replace("PARTY", party)
        .replace('"SG"', f'"{where}"')
        .replace("STATUS", status if party == "sg-a" else "listed")
        .replace("TO", to if party == "sg-a" else "2027-01-01")
        for party, where in parties.items()
    )
    decision = draft().with_pack(tmp_path, BASE + text)
    assert ("X03" in with_rules(decision)) is refused
    assert (decision["verdict"] == "DENY") is refused


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"PURPOSE": "trial_analytics"}, True),
        ({"OUTPUT": "dp_aggregate"}, True),
        ({"PROTOCOL": "two-party"}, True),
        ({"FIELDS": '"y", "x"'}, False),
        ({"FIELDS": '"y"'}, True),
    ],
)
def test_a_template_bounds_purpose_output_protocol_and_fields(
    tmp_path: Path, changes: dict[str, str], *, refused: bool
) -> None:
    text = TEMPLATE
    usual = {"PURPOSE": "outcome_research", "OUTPUT": "aggregate", "PROTOCOL": "masked-sum", "FIELDS": ""}
    for word, value in {**usual, **changes}.items():
        text = text.replace(word, value)
    decision = draft().with_pack(tmp_path, BASE + text)
    assert ("TEMPLATE" in with_rules(decision), decision["verdict"] == "DENY") == (refused, refused)
    if not refused:
        assert decision["limits"]["retention"] == "P2Y"


def test_packs_by_path_are_found(tmp_path: Path) -> None:
    (tmp_path / "local.toml").write_text(BASE, encoding="utf-8")
    made = draft()
    made.sites["su-a"]["site"]["packs"].append("local.toml")
    loaded, missing = load_site_packs(made.folder().sites[PartyId("su-a")], tmp_path)
    assert ([pack.pack.id for pack in loaded], missing) == (["cn", "biomed", "local"], ())
