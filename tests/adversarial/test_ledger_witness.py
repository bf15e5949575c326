"""A peer that rolls its ledger back, forks it, or signs with another key is found out and named."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xbcompute.core.errors import IntegrityError
from xbcompute.ledger import merkle
from xbcompute.ledger.checkpoint import Checkpoint, sign_checkpoint
from xbcompute.ledger.cosign import Countersignature, Seen, countersign
from xbcompute.ledger.keys import Sign, key_text

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)
ORIGIN = "pilot/sz"
PEER, WITNESS, THIEF = (Ed25519PrivateKey.generate() for _ in range(3))


class Log:
    """A peer's ledger of plain leaves."""

    def __init__(self, *leaves: str) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.frontier = merkle.Frontier()
        for leaf in leaves:
            self.frontier, created = self.frontier.append(merkle.leaf_hash(leaf.encode()))
            self.nodes.update({(node.level, node.number): node.hash for node in created})

    def checkpoint(self, sign: Sign = PEER.sign, origin: str = ORIGIN) -> Checkpoint:
        return sign_checkpoint(sign, origin=origin, size=self.frontier.size, root=self.frontier.root(), at=NOW)

    def proof(self, first: int) -> tuple[bytes, ...]:
        return merkle.consistency_proof(first, self.frontier.size, lambda level, number: self.nodes[level, number])


HONEST = [f"record {i}" for i in range(9)]


def witness(seen: Seen | None, new: Checkpoint, proof: tuple[bytes, ...]) -> tuple[Seen, Countersignature]:
    return countersign(
        seen,
        new,
        proof,
        origin=ORIGIN,
        peer_key=key_text(PEER.public_key()),
        witness="sg",
        sign=WITNESS.sign,
        at=NOW,
    )


def test_growth_is_countersigned_step_by_step() -> None:
    seen: Seen | None = None
    for size in [0, 0, 1, 2, 3, 7, 7, 9]:
        log = Log(*HONEST[:size])
        seen, made = witness(seen, log.checkpoint(), log.proof(seen.size if seen else 0))
        made.verify(log.checkpoint(), key_text(WITNESS.public_key()))
        assert seen == Seen(ORIGIN, size, log.frontier.root())


def after(size: int) -> Seen:
    return witness(None, Log(*HONEST[:size]).checkpoint(), ())[0]


def test_rollback_is_named() -> None:
    log = Log(*HONEST[:4])
    with pytest.raises(IntegrityError, match="ledger of sz went back from 6 records to 4") as caught:
        witness(after(6), log.checkpoint(), ())
    assert caught.value.code == "ledger.rollback"
    assert "sz" in caught.value.todo


@pytest.mark.parametrize("changed", range(6))
def test_a_fork_is_named_whatever_record_was_changed(changed: int) -> None:
    leaves = list(HONEST)
    leaves[changed] = "another history"
    log = Log(*leaves)
    with pytest.raises(IntegrityError, match="ledger of sz at 9 records does not extend the 6") as caught:
        witness(after(6), log.checkpoint(), log.proof(6))
    assert caught.value.code == "ledger.fork"


def test_a_fork_of_equal_size_is_named() -> None:
    log = Log(*HONEST[:5], "another end")
    with pytest.raises(IntegrityError) as caught:
        witness(after(6), log.checkpoint(), ())
    assert caught.value.code == "ledger.fork"


def test_a_proof_from_another_place_does_not_help() -> None:
    log = Log(*HONEST)
    for proof in [(), log.proof(5), log.proof(6)[::-1], (*log.proof(6), bytes(32))]:
        with pytest.raises(IntegrityError) as caught:
            witness(after(6), log.checkpoint(), proof)
        assert caught.value.code == "ledger.fork"
    with pytest.raises(IntegrityError, match="first checkpoint of sz"):
        witness(None, log.checkpoint(), log.proof(6))


def test_another_key_or_another_party_is_refused() -> None:
    log = Log(*HONEST)
    with pytest.raises(IntegrityError, match="not by the key of sz"):
        witness(None, log.checkpoint(THIEF.sign), ())
    with pytest.raises(IntegrityError, match="pilot/sg came where one of pilot/sz"):
        witness(None, log.checkpoint(origin="pilot/sg"), ())
    with pytest.raises(IntegrityError, match="head of pilot/sg was taken for that of pilot/sz"):
        witness(Seen("pilot/sg", 1, bytes(32)), log.checkpoint(), ())


def test_a_countersignature_cannot_stand_for_a_checkpoint_signature() -> None:
    log = Log(*HONEST)
    head = log.checkpoint()
    _, made = witness(None, head, ())
    forged = Checkpoint(head.origin, head.size, head.root, head.at, made.signature)
    with pytest.raises(IntegrityError):
        forged.verify(key_text(WITNESS.public_key()))
