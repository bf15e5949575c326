"""The self-test: passes on what is shipped, and notices every way in which a vector can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbcompute.core.errors import InputError
from xbcompute.engines.selftest import Outcome, replay_file, selftest

PROTOCOLS = Path(__file__).parents[2] / "protocols"
GOOD = PROTOCOLS / "masked-sum/vectors/v1/good_three_parties.json"
BAD = PROTOCOLS / "masked-sum/vectors/v1/bad_agree_signature.json"


def spoilt(
    tmp_path: Path, source: Path, spoil: Callable[[dict[str, Any]], object], card: str = "masked-sum"
) -> Outcome:
    vector = json.loads(source.read_text(encoding="utf-8"))
    spoil(vector)
    path = tmp_path / card / "vectors" / "v1" / source.name
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(vector), encoding="utf-8")
    (outcome,) = selftest(tmp_path)
    assert outcome.card == card
    assert not outcome.passed
    return outcome


def expect(vector: dict[str, Any]) -> Any:
    return vector["expect"]


@pytest.mark.parametrize(
    ("source", "spoil", "fault"),
    [
        (GOOD, lambda v: expect(v)["messages"]["1/vector/b"].update(commitment="00" * 32), "1/vector/b"),
        (GOOD, lambda v: expect(v)["messages"].pop("3/seed/c"), "further messages"),
        (GOOD, lambda v: expect(v)["totals"][1]["n"].__setitem__(0, 1), "another total"),
        (GOOD, lambda v: expect(v)["released"].pop(), "released"),
        (GOOD, lambda v: v["session"].update(plan="00" * 32), "other bytes in 0/keys/a"),
        (BAD, lambda v: expect(v)["ends"].update(a="total"), "end as"),
        (BAD, lambda v: v["changes"].clear(), "end as"),
        (BAD, lambda v: expect(v).update(released=[]), "released"),
        (BAD, lambda v: v.update(version=2), "version"),
        (BAD, lambda v: v.update(name="other"), "name"),
        (BAD, lambda v: v.pop("rounds"), "KeyError"),
        (BAD, lambda v: v["session"].update(study="zz"), "ValueError"),
    ],
)
def test_a_spoilt_vector_is_found(
    tmp_path: Path, source: Path, spoil: Callable[[dict[str, Any]], object], fault: str
) -> None:
    assert fault in spoilt(tmp_path, source, spoil).fault


def test_vectors_of_a_card_without_an_engine_do_not_pass(tmp_path: Path) -> None:
    assert "no engine" in spoilt(tmp_path, GOOD, lambda v: None, card="unknown-card").fault


def test_what_is_not_json_does_not_pass(tmp_path: Path) -> None:
    path = tmp_path / "masked-sum" / "vectors" / "v1" / "good_x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    assert not replay_file(path).passed


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no test vectors"):
        list(selftest(tmp_path))
