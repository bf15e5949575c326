"""The published trees and proofs of the RFC 6962 reference implementations, and every way to spoil a proof."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger import merkle

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "merkle_rfc6962.json").read_text())
LEAVES = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]
OTHER = bytes(range(32))


def nodes(leaves: list[bytes]) -> dict[tuple[int, int], bytes]:
    stored: dict[tuple[int, int], bytes] = {}
    frontier = merkle.Frontier()
    for leaf in leaves:
        frontier, created = frontier.append(leaf)
        stored.update({(node.level, node.number): node.hash for node in created})
    return stored


STORED = nodes(LEAVES)


def read(level: int, number: int) -> bytes:
    return STORED[level, number]


def unhex(proof: list[str]) -> list[bytes]:
    return [bytes.fromhex(step) for step in proof]


def test_roots_are_the_published_ones() -> None:
    frontier = merkle.Frontier()
    assert frontier.root() == merkle.EMPTY_ROOT == bytes.fromhex(VECTORS["empty_root"])
    for size, (leaf, root) in enumerate(zip(LEAVES, ROOTS, strict=True), start=1):
        frontier, _ = frontier.append(leaf)
        assert frontier.root() == root
        assert merkle.root_of(LEAVES[:size]) == root
        assert merkle.root_at(size, read) == root
    assert merkle.root_at(0, read) == merkle.EMPTY_ROOT


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']}-of-{case['size']}")
def test_inclusion_proofs_are_the_published_ones(case: dict[str, Any]) -> None:
    index, size, proof = case["index"], case["size"], unhex(case["proof"])
    assert list(merkle.inclusion_proof(index, size, read)) == proof
    merkle.verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size - 1])


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['first']}-to-{case['second']}")
def test_consistency_proofs_are_the_published_ones(case: dict[str, Any]) -> None:
    first, second, proof = case["first"], case["second"], unhex(case["proof"])
    assert list(merkle.consistency_proof(first, second, read)) == proof
    merkle.verify_consistency(first, second, ROOTS[first - 1], ROOTS[second - 1], proof)


def spoiled(proof: list[bytes], root: bytes) -> dict[str, list[bytes]]:
    ways = {
        "trailing nothing": [*proof, b""],
        "trailing root": [*proof, root],
        "preceding nothing": [b"", *proof],
        "preceding root": [root, *proof],
        "inserted": [*proof[:1], OTHER, *proof[1:]],
        "cut at the end": proof[:-1],
        "cut at the start": proof[1:],
        "reversed": proof[::-1],
    }
    for i, step in enumerate(proof):
        ways[f"bit in {i}"] = [*proof[:i], bytes([step[0] ^ 8]) + step[1:], *proof[i + 1 :]]
    return ways


@pytest.mark.parametrize("case", VECTORS["inclusion"][1:], ids=lambda case: f"{case['index']}-of-{case['size']}")
def test_no_spoiled_inclusion_proof_passes(case: dict[str, Any]) -> None:
    index, size, proof = case["index"], case["size"], unhex(case["proof"])
    leaf, root = LEAVES[index], ROOTS[size - 1]
    for wrong in spoiled(proof, root).values():
        if wrong != proof:
            with pytest.raises(IntegrityError):
                merkle.verify_inclusion(index, size, leaf, wrong, root)
    for i, n, h, r in [
        (index - 1, size, leaf, root),
        (index + 1, size, leaf, root),
        (index ^ 2, size, leaf, root),
        (index, size * 2, leaf, root),
        (index, size // 2, leaf, root),
        (index, size, OTHER, root),
        (index, size, b"leaf", root),
        (index, size, leaf, merkle.EMPTY_ROOT),
        (index, size, leaf, b""),
        (-1, size, leaf, root),
        (index, 0, leaf, root),
    ]:
        with pytest.raises(IntegrityError):
            merkle.verify_inclusion(i, n, h, proof, r)


@pytest.mark.parametrize("case", VECTORS["consistency"][1:], ids=lambda case: f"{case['first']}-to-{case['second']}")
def test_no_spoiled_consistency_proof_passes(case: dict[str, Any]) -> None:
    first, second, proof = case["first"], case["second"], unhex(case["proof"])
    old, new = ROOTS[first - 1], ROOTS[second - 1]
    for wrong in [*spoiled(proof, old).values(), *spoiled(proof, new).values(), []]:
        if wrong != proof:
            with pytest.raises(IntegrityError):
                merkle.verify_consistency(first, second, old, new, wrong)
    for m, n, a, b in [
        (first - 1, second, old, new),
        (first + 1, second, old, new),
        (first ^ 2, second, old, new),
        (first, second * 2, old, new),
        (first, second // 2, old, new),
        (second, first, old, new),
        (first, second, new, old),
        (first, second, b"root", new),
        (first, second, old, b"root"),
        (-1, second, old, new),
    ]:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(m, n, a, b, proof)


def test_equal_and_empty_trees() -> None:
    merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    merkle.verify_consistency(0, 5, merkle.EMPTY_ROOT, ROOTS[4], [])
    merkle.verify_consistency(5, 5, ROOTS[4], ROOTS[4], [])
    for first, second, old, new, proof in [
        (0, 5, ROOTS[0], ROOTS[4], []),
        (0, 0, merkle.EMPTY_ROOT, ROOTS[0], []),
        (5, 5, ROOTS[4], ROOTS[3], []),
        (5, 5, ROOTS[4], ROOTS[4], [OTHER]),
        (0, 5, merkle.EMPTY_ROOT, ROOTS[4], [OTHER]),
    ]:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(first, second, old, new, proof)


def test_what_is_not_in_the_tree_has_no_proof() -> None:
    for index, size in [(-1, 3), (3, 3), (0, 0)]:
        with pytest.raises(InputError, match="not in a tree"):
            merkle.inclusion_proof(index, size, read)
    for first, second in [(-1, 3), (4, 3)]:
        with pytest.raises(InputError, match="precedes"):
            merkle.consistency_proof(first, second, read)
    with pytest.raises(InputError, match="32 bytes"):
        merkle.Frontier().append(b"short")


def test_a_frontier_that_does_not_fit_is_refused() -> None:
    for size, peaks in [(1, ()), (2, (OTHER, OTHER)), (3, (OTHER, b"short")), (-1, ())]:
        with pytest.raises(IntegrityError, match="frontier"):
            merkle.Frontier(size, peaks)
