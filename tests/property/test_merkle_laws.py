"""The tree against its recursive definition in RFC 9162, for every size and pair up to a bound."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbcompute.core.errors import IntegrityError
from xbcompute.ledger import merkle

N = 70
DATA = [f"leaf {i}".encode() for i in range(N)]


def defined(data: list[bytes]) -> bytes:
    """MTH(D[n]) as section 2.1.1 writes it."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1
    while 2 * k < len(data):
        k *= 2
    return hashlib.sha256(b"\x01" + defined(data[:k]) + defined(data[k:])).digest()


ROOTS = [defined(DATA[:n]) for n in range(N + 1)]
LEAVES = [merkle.leaf_hash(item) for item in DATA]
STORED: dict[tuple[int, int], bytes] = {}
_frontier = merkle.Frontier()
for _leaf in LEAVES:
    _frontier, _created = _frontier.append(_leaf)
    for _node in _created:
        STORED[_node.level, _node.number] = _node.hash


class Reader:
    """Counts how many stored nodes a proof reads."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, level: int, number: int) -> bytes:
        self.count += 1
        return STORED[level, number]


def test_every_root_is_the_defined_one() -> None:
    frontier = merkle.Frontier()
    for n, leaf in enumerate(LEAVES):
        assert frontier.root() == ROOTS[n] == merkle.root_at(n, Reader())
        frontier, created = frontier.append(leaf)
        assert len(created) <= 1 + n.bit_length()
    assert frontier.root() == ROOTS[N]


def test_every_leaf_of_every_tree_is_proved_with_few_reads() -> None:
    for size in range(1, N + 1):
        for index in range(size):
            reader = Reader()
            proof = merkle.inclusion_proof(index, size, reader)
            assert len(proof) <= (size - 1).bit_length()
            assert reader.count <= 2 * size.bit_length()
            merkle.verify_inclusion(index, size, LEAVES[index], proof, ROOTS[size])


def test_every_pair_of_trees_is_consistent() -> None:
    for second in range(N + 1):
        for first in range(second + 1):
            proof = merkle.consistency_proof(first, second, Reader())
            assert len(proof) <= second.bit_length() + 1
            merkle.verify_consistency(first, second, ROOTS[first], ROOTS[second], proof)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_proof_holds_for_one_leaf_and_place_only(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, N))
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1).filter(lambda i: i != index))
    proof = merkle.inclusion_proof(index, size, Reader())
    with pytest.raises(IntegrityError):
        merkle.verify_inclusion(index, size, LEAVES[other], proof, ROOTS[size])
    with pytest.raises(IntegrityError):
        merkle.verify_inclusion(other, size, LEAVES[index], proof, ROOTS[size])


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_a_changed_past_is_never_consistent(data: st.DataObject) -> None:
    second = data.draw(st.integers(2, N))
    first = data.draw(st.integers(1, second - 1))
    changed = data.draw(st.integers(0, first - 1))
    leaves = list(LEAVES[:first])
    leaves[changed] = merkle.leaf_hash(b"another past")
    proof = merkle.consistency_proof(first, second, Reader())
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(first, second, merkle.root_of(leaves), ROOTS[second], proof)
