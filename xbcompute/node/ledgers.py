"""This node's ledger in a session: its checkpoint to each peer, its countersignature for each peer's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from xbcompute.core.errors import IntegrityError, PeerError
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Clock
from xbcompute.ledger.checkpoint import Checkpoint, origin_of, read_checkpoint
from xbcompute.ledger.cosign import read_countersignature
from xbcompute.node.config import NodeConfig
from xbcompute.node.conversation import AGAIN_MAX, Conversation
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
        self._witnessing = asyncio.Lock()

    @property
    def origin(self) -> str:
        """The name of this node's ledger."""
        return origin_of(self._federation, self._me)

    async def countersign(self, talk: Conversation, peers: Sequence[PartyId], *, within: float) -> None:
        """Exchange checkpoints and countersignatures with every peer, one ``within`` seconds for each answer.

        Sessions of the same two parties may do so at the same time. A checkpoint whose proof starts from a head that is
        no longer the last countersigned one is asked for again, from that one.

        Raises:
            IntegrityError: naming the peer whose ledger, signature or answer is wrong. PeerError: a peer is silent.
        """
        awaited = {peer: await self._seen(peer) for peer in peers}
        for peer, size in awaited.items():
            await talk.tell([peer], "ledger.seen", {"size": size})
        heard = await talk.hear_all(peers, "ledger.seen", within=within)
        unsigned: dict[PartyId, object] = {peer: body.get("size") for peer, body in heard.items()}
        for _ in range(AGAIN_MAX):
            checkpoint, messages = await asyncio.to_thread(self._announce, unsigned)
            for peer, message in messages.items():
                await talk.tell([peer], "ledger.checkpoint", message)
            theirs = await talk.hear_all(awaited, "ledger.checkpoint", within=within)
            moved: dict[PartyId, int] = {}
            for peer, body in theirs.items():
                answer = await self._witness(peer, body, seen=awaited[peer])
                await talk.tell([peer], "ledger.cosign", answer)
                if "size" in answer:
                    moved[peer] = answer["size"]
            answers = await talk.hear_all(unsigned, "ledger.cosign", within=within)
            unsigned = {peer: body["size"] for peer, body in answers.items() if "size" in body}
            for peer, body in answers.items():
                if peer not in unsigned:
                    await self._accept(peer, body, checkpoint)
            awaited = moved
            if not awaited and not unsigned:
                return
        raise PeerError(
            "ledger.busy",
            f"{self._me}: other sessions kept the ledgers moving, so that this one was not countersigned.",
            todo="Run fewer studies at once.",
        )

    async def _seen(self, peer: PartyId) -> int:
        """How much of a peer's ledger this party has countersigned: where the peer's next proof must start."""
        seen = await asyncio.to_thread(self._store.peers.seen, origin_of(self._federation, peer))
        return 0 if seen is None else seen.size

    def _announce(self, seen: Mapping[PartyId, object]) -> tuple[Checkpoint, dict[PartyId, dict[str, Any]]]:
        """The head as a signed checkpoint, and for each peer the message with the proof from the head it has ``seen``.

        Raises:
            IntegrityError: a peer claims to have seen more than this ledger has.
        """
        ledger = self._store.ledger
        made = ledger.checkpoint(self.origin, self._identity.sign, self._clock.now())
        messages: dict[PartyId, dict[str, Any]] = {}
        for peer, first in seen.items():
            if not isinstance(first, int) or not 0 <= first <= made.size:
                raise IntegrityError("ledger.seen", f"{peer} says it has seen more of this ledger than there is.")
            proof = ledger.consistency_proof(first, made.size) if first else ()
            messages[peer] = {"checkpoint": made.to_json(), "proof": [step.hex() for step in proof]}
        return made, messages

    async def _witness(self, peer: PartyId, body: Mapping[str, Any], *, seen: int) -> dict[str, Any]:
        """This party's countersignature under a peer's checkpoint, once it extends the ``seen`` records.

        Another session may have countersigned more of them meanwhile: then their ``size``, and nothing is signed.

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

        async with self._witnessing:
            now = await self._seen(peer)
            return {"size": now} if now != seen else await asyncio.to_thread(sign)

    async def _accept(self, peer: PartyId, body: Mapping[str, Any], checkpoint: Checkpoint) -> None:
        """Keep a peer's countersignature under the ``checkpoint`` it was sent.

        Raises:
            IntegrityError: it is not the peer's, or not under that checkpoint.
        """
        countersignature = read_countersignature(dict(body))
        if countersignature.witness != peer:
            raise IntegrityError("ledger.witness", f"{peer} sent a countersignature in another party's name.")
        keep = self._store.ledger.add_countersignature
        await asyncio.to_thread(keep, checkpoint, countersignature, self._keys[peer])
