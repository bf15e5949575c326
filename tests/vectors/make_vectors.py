"""Writes ``protocols/{masked-sum,clear-aggregate}/vectors/v1`` anew: messages and totals by the slow implementation.

Run as ``python -m tests.vectors.make_vectors``; a test compares the files with what this module makes.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.vectors import slow_masked_sum as slow

PROTOCOLS = Path(__file__).parents[2] / "protocols"
ABC = ["a", "b", "c"]
LAYOUT = [["n", [2], 100.0, True, "cells"], ["x", [2, 2], 10.5, False, "sum"], ["s", [], 1.0, False, "model"]]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def vector(name: str, about: str, parties: list[str], rounds: list[Any], card: str = "masked-sum") -> dict[str, Any]:
    session = {
        "federation": "cn-sg-试点",
        "session": digest(f"session of {name}")[:32],
        "study": digest("study"),
        "plan": digest("plan"),
        "epoch": 1,
        "card": card,
        "participants": parties,
    }
    head = {"name": name, "version": 1, "about": about, "session": session, "parties": parties}
    return head | {"at": {}, "rounds": rounds, "changes": []}


def one_round(number: int, layout: list[Any], values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {"round": number, "state": digest(f"state {number}"), "layout": layout, "values": values, "at": {}}


def ordinary(number: int, parties: list[str]) -> dict[str, Any]:
    values = {
        party: {"n": [i + number, -i], "x": [0.1 * i, -10.5, 1 / 3, 2.5e-300], "s": [1.0 / (i + 1)]}
        for i, party in enumerate(parties)
    }
    return one_round(number, LAYOUT, values)


def expecting(
    made: dict[str, Any], codes: dict[str, str], released: list[str], changes: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return made | {"changes": changes or [], "expect": {"ends": codes, "released": released}}


def change(number: int, kind: str, to: str, **how: Any) -> dict[str, Any]:
    return {"round": number, "kind": kind, "from": "c", "to": list(to)} | how


def masked_sum_vectors() -> list[dict[str, Any]]:
    return [*_good(), *_bad_keys(), *_bad_vectors(), *_bad_agreements(), *_bad_inputs()]


def _good() -> list[dict[str, Any]]:
    extremes = [
        ["tiny", [3], 1e-12, False, "sum"],
        ["huge", [2], 2.0**58, False, "sum"],
        ["count", [2], 2.0**60, True, "cells"],
        ["none", [0, 4], 1.0, False, "sum"],
        ["zero", [1], 0.0, False, "sum"],
        ["half", [5], 2.0**57, False, "sum"],
    ]
    five = ["cn-1", "cn-2", "sg-1", "sg-2", "sg-3"]
    sign = dict(zip(five, (1, -1, 1, 1, -1), strict=True))
    values = {
        party: {
            "tiny": [1e-12 * s, 1e-13 * s, 5e-324],
            "huge": [2.0**58 * s, -0.0],
            "count": [2**60 * s, -(2**60)],
            "none": [],
            "zero": [0.0],
            "half": [0.25 * s, 0.125, 0.375 * s, -0.625, 0.875],
        }
        for party, s in sign.items()
    }
    made = [
        vector(
            "good_three_parties", "Two rounds, whole and measured numbers.", ABC, [ordinary(1, ABC), ordinary(3, ABC)]
        ),
        vector(
            "good_five_parties_extremes",
            "Values at their bounds, halves, nothing.",
            five,
            [one_round(1, extremes, values)],
        ),
    ]
    for good in made:
        messages, totals = slow.play(good)
        rounds = [script["round"] for script in good["rounds"]]
        released = sorted(f"{number}/{party}" for number in rounds for party in good["parties"])
        good["expect"] = {
            "ends": dict.fromkeys(good["parties"], "total"),
            "released": released,
            "messages": messages,
            "totals": totals,
        }
    return made


def _bad(name: str, about: str, parties: list[str] = ABC, rounds: int = 1) -> dict[str, Any]:
    return vector(f"bad_{name}", about, parties, [ordinary(number, parties) for number in range(1, rounds + 1)])


def _bad_keys() -> list[dict[str, Any]]:
    keys = {"a": "masked_sum.keys", "b": "masked_sum.keys", "c": "peer.silent"}
    swapped = _bad("keys_swapped", "On the way to b, c's key is exchanged for a's.")
    other_key = slow.play(swapped)[0]["0/keys/a"]["x25519"]
    plan = _bad("keys_other_plan", "c was admitted by another plan.")
    plan["at"] = {"c": {"plan": digest("another plan")}}
    epoch = _bad("keys_other_epoch", "c is in another epoch.")
    epoch["at"] = {"c": {"epoch": 2}}
    fewer = _bad("keys_other_participants", "c leaves d out.", ["a", "b", "c", "d"])
    fewer["at"] = {"c": {"participants": ABC}}
    every = dict.fromkeys(ABC, "masked_sum.keys")
    two = vector(
        "bad_two_participants", "Of a sum over two, each learns the other's.", ["a", "b"], [ordinary(1, ["a", "b"])]
    )
    return [
        expecting(
            _bad("keys_signature", "The signature under c's keys is wrong."),
            keys,
            [],
            [change(0, "keys", "ab", flip={"signature": 40})],
        ),
        expecting(
            swapped,
            {"a": "peer.silent", "b": "masked_sum.keys", "c": "peer.silent"},
            [],
            [change(0, "keys", "b", set={"x25519": other_key})],
        ),
        expecting(
            _bad("keys_low_order", "c signs a point of low order: every shared secret would be zero."),
            keys,
            [],
            [change(0, "keys", "ab", set={"x25519": "00" * 32}, sign=True)],
        ),
        expecting(
            _bad("keys_trailing", "c's key is one byte too long."),
            {"a": "message.field", "b": "message.field", "c": "peer.silent"},
            [],
            [change(0, "keys", "ab", append={"x25519": "00"})],
        ),
        expecting(plan, every, []),
        expecting(epoch, every, []),
        expecting(fewer, every | {"d": "peer.silent"}, []),
        expecting(two, dict.fromkeys(["a", "b"], "engine.participants"), []),
    ]


def _bad_vectors() -> list[dict[str, Any]]:
    def seen(code: str) -> dict[str, str]:
        return {"a": code, "b": code, "c": "peer.silent"}

    agreement = dict.fromkeys(ABC, "masked_sum.agreement")
    context = dict.fromkeys(ABC, "masked_sum.context")
    state = _bad("vector_other_state", "c computes on another state.")
    state["rounds"][0]["at"] = {"c": {"state": digest("another state")}}
    layout = _bad("vector_other_layout", "c declares another bound.")
    layout["rounds"][0]["at"] = {"c": {"layout": [[*LAYOUT[0][:2], 101.0, *LAYOUT[0][3:]], *LAYOUT[1:]]}}
    replayed = _bad("vector_replayed", "In round 2, c sends its message of round 1 again.", rounds=2)
    old = slow.play(replayed)[0]["1/vector/c"]
    return [
        expecting(
            _bad("vector_equivocation", "c sends a another vector than b."),
            agreement,
            [],
            [change(1, "vector", "a", flip={"vector": 9})],
        ),
        expecting(
            _bad("commitment_equivocation", "c sends a another commitment than b."),
            agreement,
            [],
            [change(1, "vector", "a", flip={"commitment": 0})],
        ),
        expecting(
            _bad("vector_shape", "c's vector is one word too long."),
            seen("message.field"),
            [],
            [change(1, "vector", "ab", append={"vector": "00" * 8})],
        ),
        expecting(state, context, []),
        expecting(layout, context, []),
        expecting(
            replayed,
            seen("masked_sum.context"),
            ["1/a", "1/b", "1/c"],
            [change(2, "vector", "ab", set={key: old[key] for key in sorted(old)})],
        ),
    ]


def _bad_agreements() -> list[dict[str, Any]]:
    def seen(code: str) -> dict[str, str]:
        return {"a": code, "b": code, "c": "peer.silent"}

    borrowed = _bad("agree_borrowed", "c shows b's signature for its own.")
    signature = slow.play(borrowed)[0]["1/agree/b"]["signature"]
    seed = {"a": "masked_sum.seed", "b": "masked_sum.seed", "c": "total"}
    everyone = ["1/a", "1/b", "1/c"]
    return [
        expecting(
            _bad("agree_signature", "c signs something else; having all signatures, it may release its own seed."),
            seen("masked_sum.agreement"),
            ["1/c"],
            [change(1, "agree", "ab", flip={"signature": 0})],
        ),
        expecting(
            borrowed,
            seen("masked_sum.agreement"),
            ["1/c"],
            [change(1, "agree", "ab", set={"signature": signature})],
        ),
        expecting(
            _bad("agree_extra_field", "c's message holds a field too many."),
            seen("message.fields"),
            ["1/c"],
            [change(1, "agree", "ab", set={"note": "00"})],
        ),
        expecting(
            _bad("seed_not_committed", "c releases another seed; it alone learns the total (no fairness)."),
            seed,
            everyone,
            [change(1, "seed", "ab", flip={"seed": 31})],
        ),
        expecting(
            _bad("seed_trailing", "c's seed is one byte too long."),
            {"a": "message.field", "b": "message.field", "c": "total"},
            everyone,
            [change(1, "seed", "ab", append={"seed": "00"})],
        ),
    ]


def _bad_inputs() -> list[dict[str, Any]]:
    made = []
    for name, about, array, values, code in (
        ("input_nan", "c's own value is no number.", "s", ["nan"], "contribution.not_finite"),
        (
            "input_out_of_bound",
            "c's own value exceeds its bound.",
            "x",
            [0, 0, 0, 10.500001],
            "contribution.out_of_bound",
        ),
        ("input_count_out_of_bound", "c's own count exceeds its bound.", "n", [0, -101], "contribution.out_of_bound"),
    ):
        bad = _bad(name, about)
        bad["rounds"][0]["values"]["c"][array] = values
        made.append(expecting(bad, {"a": "peer.silent", "b": "peer.silent", "c": code}, []))
    again = vector("bad_round_again", "A round is asked for twice.", ABC, [ordinary(1, ABC), ordinary(1, ABC)])
    huge = _bad("bound_too_large", "The sum of three such values does not fit.")
    huge["rounds"][0]["layout"] = [[*LAYOUT[0]], ["x", [2, 2], 2.0**61, False, "sum"], LAYOUT[2]]
    return [
        *made,
        expecting(again, dict.fromkeys(ABC, "masked_sum.round"), ["1/a", "1/b", "1/c"]),
        expecting(huge, dict.fromkeys(ABC, "fixed_point.bound"), []),
    ]


def clear_vectors() -> list[dict[str, Any]]:
    card = "clear-aggregate"
    good = vector(
        "good_three_parties", "Sums in the order of participants.", ABC, [ordinary(1, ABC), ordinary(2, ABC)], card
    )
    rows = [[name, shape, bound, integer, role] for name, shape, bound, integer, role in LAYOUT]
    layout_digest = hashlib.sha256(slow.canonical(["xbcompute/layout/v1", rows])).hexdigest()
    messages, totals = {}, []
    for script in good["rounds"]:
        for party in ABC:
            values = script["values"][party]
            messages[f"{script['round']}/values/{party}"] = {
                "epoch": 1,
                "round": script["round"],
                "state": script["state"],
                "layout": layout_digest,
                "values.n": struct.pack("<2q", *values["n"]).hex(),
                "values.x": struct.pack("<4d", *values["x"]).hex(),
                "values.s": struct.pack("<d", *values["s"]).hex(),
            }
        totals.append(
            {
                name: [sum(script["values"][party][name][i] for party in ABC) for i in range(size)]
                for name, size in (("n", 2), ("x", 4), ("s", 1))
            }
        )
    good["expect"] = {"ends": dict.fromkeys(ABC, "total"), "released": [], "messages": messages, "totals": totals}

    def bad(name: str, about: str) -> dict[str, Any]:
        return vector(f"bad_{name}", about, ABC, [ordinary(1, ABC)], card)

    state = bad("other_state", "c computes on another state.")
    state["rounds"][0]["at"] = {"c": {"state": digest("another state")}}
    nan = bad("input_nan", "c's own value is no number.")
    nan["rounds"][0]["values"]["c"]["s"] = ["nan"]
    # Only what c sent was changed: c itself has received good values and finishes.
    return [
        good,
        expecting(state, dict.fromkeys(ABC, "clear.context"), []),
        expecting(nan, {"a": "peer.silent", "b": "peer.silent", "c": "contribution.not_finite"}, []),
        expecting(
            bad("shape", "c's array is one element too long."),
            {"a": "message.field", "b": "message.field", "c": "total"},
            [],
            [change(1, "values", "ab", append={"values.n": "00" * 8})],
        ),
        expecting(
            bad("out_of_bound", "c sends a count beyond the bound."),
            {"a": "clear.values", "b": "clear.values", "c": "total"},
            [],
            [change(1, "values", "ab", set={"values.n": struct.pack("<2q", 101, 0).hex()})],
        ),
        expecting(
            bad("nan", "c sends what is no number."),
            {"a": "clear.values", "b": "clear.values", "c": "total"},
            [],
            [change(1, "values", "ab", set={"values.s": struct.pack("<d", float("nan")).hex()})],
        ),
    ]


def files() -> dict[Path, str]:
    """Every file this module makes, and its text."""
    made = {"masked-sum": masked_sum_vectors(), "clear-aggregate": clear_vectors()}
    return {
        PROTOCOLS / card / "vectors" / "v1" / f"{one['name']}.json": json.dumps(one, indent=1, ensure_ascii=False)
        + "\n"
        for card, vectors in made.items()
        for one in vectors
    }


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
