"""The Merkle tree of RFC 9162, section 2.1: roots, inclusion proofs, consistency proofs, and their verification.

A *node* (level, number) is the hash of the complete subtree over leaves ``number·2^level`` up to
``(number + 1)·2^level``. Nodes never change once complete, so a log stores them and reads about log2(n) of them for a
proof. A :class:`Frontier` is all that appending and the root need: the complete subtrees from left to right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from xbcompute.core.errors import InputError, IntegrityError

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""

NodeReader: TypeAlias = Callable[[int, int], bytes]
"""(level, number) to the stored 32-byte hash of that complete subtree."""


class Node(NamedTuple):
    """A complete subtree, ``number`` of its ``level`` from the left; level 0 are the leaves."""

    level: int
    number: int
    hash: bytes


def leaf_hash(data: bytes) -> bytes:
    """SHA-256 of 0x00 and the leaf's data."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """The complete subtrees of a tree of ``size`` leaves, largest first: one peak for each bit set in ``size``."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count() or any(len(p) != HASH_SIZE for p in self.peaks):
            raise IntegrityError("merkle.frontier", "the stored frontier does not fit the size of its tree.")

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[Node, ...]]:
        """The frontier with one leaf hash more, and every node that became complete by it (the leaf first)."""
        if len(leaf) != HASH_SIZE:
            raise InputError("merkle.leaf", "a leaf hash has 32 bytes.")
        peaks, level, number, current = list(self.peaks), 0, self.size, leaf
        created = [Node(level, number, current)]
        while number & 1:
            current = node_hash(peaks.pop(), current)
            level, number = level + 1, number >> 1
            created.append(Node(level, number, current))
        peaks.append(current)
        return Frontier(self.size + 1, tuple(peaks)), tuple(created)

    def root(self) -> bytes:
        """Root hash of the tree."""
        if not self.peaks:
            return EMPTY_ROOT
        current = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            current = node_hash(peak, current)
        return current


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Root over leaf *hashes* in order."""
    frontier = Frontier()
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


def _split(width: int) -> int:
    """The largest power of two smaller than ``width``."""
    return 1 << ((width - 1).bit_length() - 1)


def _range_hash(start: int, end: int, node: NodeReader) -> bytes:
    """Hash over leaves [start, end); ``start`` is a multiple of the largest power of two in the width."""
    width = end - start
    if width & (width - 1) == 0:
        level = width.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(width)
    return node_hash(_range_hash(start, middle, node), _range_hash(middle, end, node))


def root_at(size: int, node: NodeReader) -> bytes:
    """Root of the first ``size`` leaves, from stored nodes."""
    return _range_hash(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> tuple[bytes, ...]:
    """PATH(index, D[size]) of RFC 9162, section 2.1.3.1.

    Raises:
        InputError: ``index`` is not a leaf of a tree of ``size`` leaves.
    """
    if not 0 <= index < size:
        raise InputError("merkle.range", f"leaf {index} is not in a tree of {size} leaves.")
    start, end, path = 0, size, list[bytes]()
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    return tuple(reversed(path))


def consistency_proof(first: int, second: int, node: NodeReader) -> tuple[bytes, ...]:
    """PROOF(first, D[second]) of RFC 9162, section 2.1.4.1; empty where ``first`` is 0 or equals ``second``.

    Raises:
        InputError: not 0 ≤ ``first`` ≤ ``second``.
    """
    if not 0 <= first <= second:
        raise InputError("merkle.range", f"no tree of {first} leaves precedes one of {second}.")
    if first in {0, second}:
        return ()
    start, end, path = 0, second, list[bytes]()
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range_hash(middle, end, node))
            end = middle
        else:
            path.append(_range_hash(start, middle, node))
            start = middle
    if start:
        path.append(_range_hash(start, end, node))
    return tuple(reversed(path))


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` (a hash) is number ``index`` of ``size`` under ``root``: RFC 9162, section 2.1.3.2.

    Raises:
        IntegrityError: it is not, or the proof is malformed.
    """
    _check_sizes((leaf, root, *proof), "merkle.inclusion")
    if not 0 <= index < size:
        raise IntegrityError("merkle.inclusion", f"inclusion proof: leaf {index} is not in a tree of {size} leaves.")
    fn, sn, current = index, size - 1, leaf
    for step in proof:
        if sn == 0:
            raise IntegrityError("merkle.inclusion", "inclusion proof: it is too long for its tree.")
        if fn & 1 or fn == sn:
            current = node_hash(step, current)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or current != root:
        raise IntegrityError("merkle.inclusion", f"inclusion proof: leaf {index} does not lead to the root.")


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of ``second`` leaves begins with the tree of ``first``: RFC 9162, section 2.1.4.2.

    A tree of 0 leaves begins every tree; equal sizes need equal roots; both need an empty proof.

    Raises:
        IntegrityError: it does not, or the proof is malformed.
    """
    _check_sizes((first_root, second_root, *proof), "merkle.consistency")
    if not 0 <= first <= second:
        raise IntegrityError("merkle.consistency", f"consistency proof: {second} leaves cannot follow {first}.")
    if first in {0, second}:
        known = (first or first_root == EMPTY_ROOT) and (first != second or first_root == second_root)
        if proof or not known:
            raise IntegrityError("merkle.consistency", "consistency proof: an empty or equal tree has another root.")
        return
    path = list(proof)
    if not path:
        raise IntegrityError("merkle.consistency", "consistency proof: it is empty.")
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for step in path[1:]:
        if sn == 0:
            raise IntegrityError("merkle.consistency", "consistency proof: it is too long for its tree.")
        if fn & 1 or fn == sn:
            old, new = node_hash(step, old), node_hash(step, new)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = node_hash(new, step)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or old != first_root or new != second_root:
        raise IntegrityError("merkle.consistency", f"consistency proof: {second} leaves do not extend {first}.")


def _check_sizes(hashes: Iterable[bytes], code: str) -> None:
    if any(len(item) != HASH_SIZE for item in hashes):
        raise IntegrityError(code, "proof: a hash does not have 32 bytes.")
