"""Every protocol card of the design is shipped, reads, and says in both languages what it does not protect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xbcompute.core.canonical import digest_bytes
from xbcompute.core.errors import InputError
from xbcompute.core.grades import Grade
from xbcompute.policy.carrying import carries, outputs
from xbcompute.policy.cost import STEPS, Channel, estimate
from xbcompute.specs.card import Card, card_digest, find_card, load_card, shipped_cards
from xbcompute.specs.shipped import PACKAGE, demo, packs, protocols, shipped
from xbcompute.specs.study import Study, parse_study

EXPECTED = {
    "clear-aggregate": ("P0", "open", "G2"),
    "federated": ("P2", "sum", "G7"),
    "federated-plain": ("P1", "open", "G1"),
    "masked-sum": ("P2", "sum", "G7"),
    "psi": ("P5", "pair", "G5"),
    "ring-dealer": ("P4", "all_or_dealer", "G7"),
    "shamir": ("P3", "majority", "G7"),
    "two-party": ("P4", "all", "G7"),
}

STUDY = parse_study(
    {
        "study": {
            "id": "s",
            "title": "t",
            "industry": "biomed",
            "purpose": "outcome_research",
            "lead": "a",
            "recipients": ["a"],
            "data": {"dataset": "d"},
        },
        "analysis": [{"id": "m", "kind": "linear", "outcome": "y", "covariates": ["x"]}],
    }
)


def test_the_eight_cards_are_there() -> None:
    found = {card.id: (card.family, card.threshold, card.grade_max) for card in shipped_cards()}
    assert found == EXPECTED


@pytest.mark.parametrize("card", shipped_cards(), ids=lambda card: card.id)
def test_what_a_card_does_not_protect_stands_first(card: Card) -> None:
    text = (protocols() / card.id / "card.toml").read_text(encoding="utf-8")
    keys = [line.split(" ")[0] for line in text.splitlines() if " = " in line and not line.startswith((" ", "#"))]
    assert keys[0] == "does_not_protect"
    assert card.does_not_protect
    assert card_digest(card.id) == digest_bytes(text.encode("utf-8"))


def test_clear_aggregates_are_the_cheapest_and_sums_cheaper_than_shares() -> None:
    by_cost = sorted(shipped_cards(), key=lambda card: estimate(card, STUDY, 4).milliseconds)
    assert by_cost[0].id == "clear-aggregate"
    order = [card.id for card in by_cost if "horizontal" in card.carries or "pooled" in card.carries]
    assert order == ["clear-aggregate", "masked-sum", "ring-dealer", "shamir", "two-party"]


def test_a_slow_link_and_a_thin_one_cost_what_they_should() -> None:
    card = find_card("masked-sum")
    usual = estimate(card, STUDY, 4)
    slow = estimate(card, STUDY, 4, Channel(rtt_ms=700.0, goodput_mbit=100.0))
    thin = estimate(card, STUDY, 4, Channel(rtt_ms=70.0, goodput_mbit=0.001))
    assert usual.rounds == slow.rounds == STEPS["linear"] * card.cost.rounds
    assert slow.milliseconds - usual.milliseconds == pytest.approx(usual.rounds * 630, abs=1)
    assert (thin.bytes, thin.measured, usual.measured) == (usual.bytes, True, False)
    assert thin.milliseconds > usual.milliseconds
    assert estimate(card, STUDY, 2).bytes * 6 == usual.bytes


def test_only_sums_and_the_authenticated_ring_withstand_malicious_parties() -> None:
    assert {card.id for card in shipped_cards() if card.strongest == "malicious"} == {
        "masked-sum", "federated", "ring-dealer",
    }  # fmt: skip
    assert {card.id for card in shipped_cards() if card.on_shares} == {"shamir", "ring-dealer", "two-party"}


def test_unknown_cards_are_refused() -> None:
    with pytest.raises(InputError, match="no-such"):
        find_card("no-such")


def changed(tmp_path: Path, before: str, after: str, folder: str = "masked-sum") -> Path:
    text = (protocols() / "masked-sum" / "card.toml").read_text(encoding="utf-8")
    assert before in text
    target = tmp_path / folder
    target.mkdir()
    (target / "card.toml").write_text(text.replace(before, after), encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('family = "P2"', 'family = "P9"', "family"),
        ('threshold = "sum"', 'treshold = "sum"', "threshold"),
        ('version = "1.0.0"', 'version = "1.0.0"\nformat = 2', "newer"),
        ('adversary = "malicious"', "", "adversary"),
        ("rounds = 3", "rounds = 0", "rounds"),
    ],
)
def test_a_malformed_card_does_not_load(tmp_path: Path, before: str, after: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_card(changed(tmp_path, before, after))


def test_a_card_lies_in_the_folder_of_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="other"):
        load_card(changed(tmp_path, "rounds = 3", "rounds = 4", "other"))
    (tmp_path / "again").mkdir()
    assert load_card(changed(tmp_path / "again", "rounds = 3", "rounds = 4")).cost.rounds == 4


def test_shipped_folders_are_found_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert protocols().is_dir()
    assert packs() == PACKAGE / "policy" / "packs"
    assert demo("biomed", "gbsg2").parts[-3:] == ("examples", "biomed", "gbsg2")
    assert shipped("protocols") == PACKAGE.parent / "protocols"
    (tmp_path / "_shipped").mkdir()
    monkeypatch.setattr("xbcompute.specs.shipped.PACKAGE", tmp_path)
    assert protocols() == tmp_path / "_shipped" / "protocols"


def study(*analyses: dict[str, Any], **header: Any) -> Study:
    base: dict[str, Any] = {
        "id": "s",
        "title": "t",
        "industry": "biomed",
        "purpose": "p",
        "lead": "a",
        "recipients": ["a"],
    }
    return parse_study({"study": {**base, "data": {"dataset": "d"}, **header}, "analysis": list(analyses)})


LOGISTIC: dict[str, Any] = {"id": "l", "kind": "logistic", "outcome": "y", "covariates": ["x"]}
DESCRIBE: dict[str, Any] = {"id": "d", "kind": "describe", "columns": ["y"]}
OVERLAP: dict[str, Any] = {"id": "o", "kind": "overlap"}
TRAIN: dict[str, Any] = {"id": "t", "kind": "train", "operator": "op"}
CORRELATION: dict[str, Any] = {"id": "c", "kind": "correlation", "columns": ["x", "y"]}
EXTRACT: dict[str, Any] = {"id": "x", "kind": "extract", "columns": ["y"]}
VERTICAL: dict[str, Any] = {"partition": "vertical", "link": {"on": {"a": "k", "b": "k"}}}
SUMS = {"clear-aggregate", "masked-sum"}
SHARES = {"ring-dealer", "shamir", "two-party"}


@pytest.mark.parametrize(
    ("asked", "cards"),
    [
        (study(LOGISTIC), SUMS | SHARES),
        (study(DESCRIBE), SUMS),
        (study(LOGISTIC, DESCRIBE), SUMS),
        (study(CORRELATION), SHARES),
        (study(CORRELATION, DESCRIBE), set()),
        (study(LOGISTIC, **VERTICAL), SHARES),
        (study(DESCRIBE, **VERTICAL), set()),
        (study(TRAIN), {"federated", "federated-plain"}),
        (study(TRAIN, LOGISTIC), set()),
        (study(OVERLAP), {"psi"}),
        (study(EXTRACT), set()),
    ],
)
def test_who_carries_what(asked: Study, cards: set[str]) -> None:
    assert {card.id for card in shipped_cards() if carries(card, asked)} == cards


@pytest.mark.parametrize(
    ("asked", "family", "types"),
    [
        (study(LOGISTIC, DESCRIBE), "P2", ("aggregate",)),
        (study(LOGISTIC, privacy={"epsilon": 1.0}), "P2", ("dp_aggregate",)),
        (study(TRAIN), "P2", ("model_secagg",)),
        (study(TRAIN), "P1", ("model_plain_rounds",)),
        (study(TRAIN, privacy={"epsilon": 1.0}), "P2", ("model_dp",)),
        (study(TRAIN, privacy={"epsilon": 1.0}), "P1", ("model_plain_rounds",)),
        (study(OVERLAP, EXTRACT), "P5", ("psi_cardinality", "record_extract")),
    ],
)
def test_what_a_study_outputs(asked: Study, family: str, types: tuple[str, ...]) -> None:
    assert outputs(asked, next(card.family for card in shipped_cards() if card.family == family)) == types


def test_grades_of_cards_are_grades() -> None:
    assert all(Grade(card.grade_max) for card in shipped_cards())
