"""The shipped vectors of both sums: replayed, complete, and still what the slow implementation writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.vectors import make_vectors
from xbcompute.engines.selftest import replay_file

CARDS = ("masked-sum", "clear-aggregate")
FILES = sorted(path for card in CARDS for path in (make_vectors.PROTOCOLS / card / "vectors" / "v1").iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[2].name}-{path.stem}")
def test_replay(path: Path) -> None:
    outcome = replay_file(path)
    assert outcome.passed, outcome.fault


def test_the_files_are_those_that_the_slow_implementation_makes() -> None:
    made = make_vectors.files()
    assert sorted(made) == FILES
    for path, text in made.items():
        assert path.read_text(encoding="utf-8") == text, path.name


def test_every_bad_vector_ends_badly_for_somebody_and_every_good_one_for_nobody() -> None:
    for path in FILES:
        vector = json.loads(path.read_text(encoding="utf-8"))
        failed = [party for party, end in vector["expect"]["ends"].items() if end != "total"]
        assert bool(failed) == path.stem.startswith("bad_"), path.name
        assert path.stem.startswith(("good_", "bad_"))
        assert ("messages" in vector["expect"]) == ("totals" in vector["expect"]) == path.stem.startswith("good_")


def test_no_seed_of_a_party_is_released_in_a_round_that_it_did_not_see_agreed() -> None:
    for path in FILES:
        expect = json.loads(path.read_text(encoding="utf-8"))["expect"]
        for party, end in expect["ends"].items():
            if re.match(r"masked_sum\.(keys|agreement)|engine\.|contribution\.", end):
                assert not any(released.endswith(f"/{party}") for released in expect["released"]), path.name


def test_every_error_of_the_protocol_has_a_vector() -> None:
    package = Path(make_vectors.PROTOCOLS).parent / "xbcompute" / "engines" / "masked_sum"
    source = "".join((package / name).read_text(encoding="utf-8") for name in ("keys.py", "round.py", "engine.py"))
    codes = set(re.findall(r'"(masked_sum\.\w+)"', source))
    codes -= {
        "masked_sum.order",
        "masked_sum.spent",
        "masked_sum.state",
        "masked_sum.signing_key",
    }  # a caller's mistakes
    seen = {end for path in FILES for end in json.loads(path.read_text(encoding="utf-8"))["expect"]["ends"].values()}
    assert codes <= seen
