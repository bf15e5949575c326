"""This node's ledger in a session: its checkpoint to each peer, its countersignature for each peer's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from xbcompute.core.errors import IntegrityError
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Clock
from xbcompute.ledger.checkpoint import Checkpoint, origin_of, read_checkpoint
from xbcompute.ledger.cosign import read_countersignature
from xbcompute.node.config import NodeConfig
from xbcompute.node.store import Store

PROOF_MAX = 64


class NodeLedger:
    """Checkpoints and countersignatures of one node; storage work happens in a thread."""

    def __init__(self, store: Store, config: NodeConfig, clock: Clock) -> None:
        self._store = store
        self._identity = config.identity
        self._federation = config.federation.id
        self._me = config.me
        self._keys = config.signing_keys
        self._clock = clock
        self._sent: dict[PartyId, Checkpoint] = {}

    @property
    def origin(self) -> str:
        """The name of this node's ledger."""
        return origin_of(self._federation, self._me)

    async def seen(self, peer: PartyId) -> dict[str, Any]:
        """How much of a peer's ledger this party has countersigned: where the peer's next proof must start."""
        seen = await asyncio.to_thread(self._store.peers.seen, origin_of(self._federation, peer))
        return {"size": 0 if seen is None else seen.size}

    async def announce(self, seen: Mapping[PartyId, Mapping[str, Any]]) -> dict[PartyId, dict[str, Any]]:
        """The head as a signed checkpoint, for each peer with the proof from the head it has ``seen``.

        Raises:
            IntegrityError: a peer claims to have seen more than this ledger has.
        """
        return await asyncio.to_thread(self._announce, seen)

    def _announce(self, seen: Mapping[PartyId, Mapping[str, Any]]) -> dict[PartyId, dict[str, Any]]:
        ledger = self._store.ledger
        made = ledger.checkpoint(self.origin, self._identity.sign, self._clock.now())
        messages: dict[PartyId, dict[str, Any]] = {}
        for peer, body in seen.items():
            first = body.get("size")
            if not isinstance(first, int) or not 0 <= first <= made.size:
                raise IntegrityError("ledger.seen", f"{peer} says it has seen more of this ledger than there is.")
            proof = ledger.consistency_proof(first, made.size) if first else ()
            messages[peer] = {"checkpoint": made.to_json(), "proof": [step.hex() for step in proof]}
            self._sent[peer] = made
        return messages

    async def witness(self, peer: PartyId, body: Mapping[str, Any]) -> dict[str, Any]:
        """This party's countersignature under a peer's checkpoint, once it extends what was seen before.

        Raises:
            IntegrityError: naming the peer: wrong signature, rollback or fork.
        """
        proof = body.get("proof")
        if not isinstance(proof, list) or len(proof) > PROOF_MAX or not all(isinstance(p, str) for p in proof):
            raise IntegrityError("ledger.proof", f"{peer} sent a checkpoint whose proof cannot be read.")
        try:
            steps = [bytes.fromhex(step) for step in proof]
        except ValueError:
            raise IntegrityError("ledger.proof", f"{peer} sent a checkpoint whose proof cannot be read.") from None
        checkpoint = read_checkpoint(body.get("checkpoint"))

        def sign() -> dict[str, Any]:
            return self._store.peers.countersign(
                checkpoint,
                steps,
                origin=origin_of(self._federation, peer),
                peer_key=self._keys[peer],
                witness=self._me,
                sign=self._identity.sign,
                at=self._clock.now(),
            ).to_json()

        return await asyncio.to_thread(sign)

    async def accept(self, peer: PartyId, body: Mapping[str, Any]) -> None:
        """Keep a peer's countersignature under the checkpoint it was sent.

        Raises:
            IntegrityError: it is not the peer's, or not under that checkpoint.
        """
        countersignature = read_countersignature(dict(body))
        if countersignature.witness != peer:
            raise IntegrityError("ledger.witness", f"{peer} sent a countersignature in another party's name.")
        keep = self._store.ledger.add_countersignature
        await asyncio.to_thread(keep, self._sent[peer], countersignature, self._keys[peer])
