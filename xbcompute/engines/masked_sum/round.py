"""One round, as seen by one participant (spec, section 5): mask, agree, and only then open.

Each step takes the state the step before it made, so the order cannot be had wrong: a seed comes out of
:func:`release` alone, which takes an :class:`Agreeing` that holds every participant's valid signature.
States are values, except that the accumulator inside is handed on and added to in place (it may be large):
a state that was passed to a step must not be used again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final, cast

import numpy as np

from xbcompute.core import fields as messages
from xbcompute.core.errors import IntegrityError
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.engines.contribution import blocks
from xbcompute.engines.masked_sum.context import PublicKeys, RoundContext
from xbcompute.engines.masked_sum.keys import SessionKeys, verify
from xbcompute.engines.masked_sum.masks import BLOCK, Words, commitment, key_streams, self_key

VECTOR_KIND: Final = "masked-sum.vector"
AGREE_KIND: Final = "masked-sum.agree"
SEED_KIND: Final = "masked-sum.seed"

_HEAD: Final = {"epoch": Expect("int"), "round": Expect("int"), "context": Expect("bytes", size=32)}


def vector_fields(context: RoundContext) -> Mapping[str, Expect]:
    """What a ``masked-sum.vector`` message holds."""
    vector = Expect("array", "uint64", (context.size,))
    return _HEAD | {"commitment": Expect("bytes", size=32), "vector": vector}


AGREE_FIELDS: Final[Mapping[str, Expect]] = _HEAD | {"signature": Expect("bytes", size=64)}
SEED_FIELDS: Final[Mapping[str, Expect]] = _HEAD | {"seed": Expect("bytes", size=32)}


@dataclass(frozen=True)
class Entry:
    """What a participant is held to: its seed's commitment, and SHA-256 of its vector."""

    commitment: bytes
    vector: bytes


@dataclass(frozen=True)
class Masking:
    """Own vector made; ``accumulator`` is the sum of the vectors seen, own self-mask left out."""

    context: RoundContext
    me: PartyId
    seed: Secret[bytes]
    entries: Mapping[PartyId, Entry]
    accumulator: Words


@dataclass(frozen=True)
class Agreeing:
    """All vectors seen; ``signed`` are those whose signature over this participant's own view was valid."""

    context: RoundContext
    me: PartyId
    seed: Secret[bytes]
    entries: Mapping[PartyId, Entry]
    accumulator: Words
    signed: frozenset[PartyId]


@dataclass(frozen=True)
class Opening:
    """Own seed released; ``seeds`` of the others fit their commitments."""

    context: RoundContext
    me: PartyId
    entries: Mapping[PartyId, Entry]
    accumulator: Words
    seeds: Mapping[PartyId, Secret[bytes]]


def mask(
    context: RoundContext,
    me: PartyId,
    pair_keys: Mapping[PartyId, Secret[bytes]],
    seed: Secret[bytes],
    encoded: Words,
) -> tuple[Masking, Fields]:
    """The vector message for all others, from an encoded contribution (which is overwritten).

    ``pair_keys`` has one key for each other participant; ``seed`` is 32 fresh random bytes.
    """
    others = _others(context, me)
    if set(pair_keys) != set(others) or encoded.shape != (context.size,):
        raise IntegrityError("masked_sum.order", "pair keys or vector do not belong to this round.")
    words = key_streams([*(pair_keys[other] for other in others), self_key(seed, context, me)])
    accumulator = np.empty_like(encoded)
    digest = sha256()
    for block in blocks(context.size, BLOCK):
        vector = encoded[block]
        for index, other in enumerate(others):
            pair_mask = words(index, vector.size)
            (np.add if me < other else np.subtract)(vector, pair_mask, out=vector)
        accumulator[block] = vector
        vector += words(len(others), vector.size)
        digest.update(_bytes(vector))
    entry = Entry(commitment(seed, context, me), digest.digest())
    fields = _head(context) | {"commitment": entry.commitment, "vector": encoded}
    return Masking(context, me, seed, {me: entry}, accumulator), fields


def receive_vector(state: Masking, sender: PartyId, message: Fields) -> Masking:
    """Take a peer's vector message.

    Raises:
        IntegrityError: naming the sender; wrong form, another round's context, or a second vector.
    """
    _check(state.context, sender, VECTOR_KIND, message, vector_fields(state.context))
    _check_expected(sender, VECTOR_KIND, set(state.context.participants) - set(state.entries))
    vector = cast(Words, message["vector"])
    digest = sha256()
    for block in blocks(state.context.size, BLOCK):
        part = vector[block]
        digest.update(_bytes(part))
        state.accumulator[block] += part
    entry = Entry(cast(bytes, message["commitment"]), digest.digest())
    return replace(state, entries={**state.entries, sender: entry})


def transcript(context: RoundContext, entries: Mapping[PartyId, Entry], signer: PartyId) -> bytes:
    """What ``signer`` signs: everything this round's opening depends on, in the order of participants."""
    seen = [[party, entries[party].commitment.hex(), entries[party].vector.hex()] for party in context.participants]
    return context.bind("agree", party=signer, entries=seen)


def agree(state: Masking, keys: SessionKeys) -> tuple[Agreeing, Fields]:
    """The agreement message for all others, once every vector has come. A participant signs once a round."""
    if set(state.entries) != set(state.context.participants):
        raise IntegrityError("masked_sum.order", "not every vector has come.")
    signature = keys.signing.expose().sign(transcript(state.context, state.entries, state.me))
    agreeing = Agreeing(state.context, state.me, state.seed, state.entries, state.accumulator, frozenset({state.me}))
    return agreeing, _head(state.context) | {"signature": signature}


def receive_agreement(state: Agreeing, sender: PartyId, keys: PublicKeys, message: Fields) -> Agreeing:
    """Take a peer's signature over what must be this participant's own view of the round.

    Raises:
        IntegrityError: naming the sender; it saw something else (someone equivocates), or it lies.
    """
    _check(state.context, sender, AGREE_KIND, message, AGREE_FIELDS)
    _check_expected(sender, AGREE_KIND, set(state.context.participants) - state.signed)
    signature = cast(bytes, message["signature"])
    if not verify(keys.ed25519, signature, transcript(state.context, state.entries, sender)):
        raise IntegrityError(
            "masked_sum.agreement",
            f"{sender} did not sign the vectors and commitments that {state.me} received.",
            todo="Some participant sent different messages to different peers. No seed was released.",
        )
    return replace(state, signed=state.signed | {sender})


def release(state: Agreeing) -> tuple[Opening, Fields]:
    """The seed message for all others. The one place where a seed leaves.

    Raises:
        IntegrityError: not every participant has signed.
    """
    if state.signed != set(state.context.participants):
        raise IntegrityError("masked_sum.order", "not every participant has signed this round.")
    opening = Opening(state.context, state.me, state.entries, state.accumulator, {})
    return opening, _head(state.context) | {"seed": state.seed.expose()}


def receive_seed(state: Opening, sender: PartyId, message: Fields) -> Opening:
    """Take a peer's seed.

    Raises:
        IntegrityError: naming the sender; the seed is not the one it committed to.
    """
    _check(state.context, sender, SEED_KIND, message, SEED_FIELDS)
    _check_expected(sender, SEED_KIND, set(state.context.participants) - set(state.seeds) - {state.me})
    seed = Secret(cast(bytes, message["seed"]))
    if commitment(seed, state.context, sender) != state.entries[sender].commitment:
        raise IntegrityError("masked_sum.seed", f"{sender} released a seed that it had not committed to.")
    return replace(state, seeds={**state.seeds, sender: seed})


def open_total(state: Opening) -> Words:
    """The sum of all encoded contributions modulo 2^64, once every seed has come."""
    others = _others(state.context, state.me)
    if set(state.seeds) != set(others):
        raise IntegrityError("masked_sum.order", "not every seed has come.")
    words = key_streams([self_key(state.seeds[other], state.context, other) for other in others])
    for block in blocks(state.context.size, BLOCK):
        total = state.accumulator[block]
        for index in range(len(others)):
            total -= words(index, total.size)
    return state.accumulator


def _others(context: RoundContext, me: PartyId) -> list[PartyId]:
    return [party for party in context.participants if party != me]


def _head(context: RoundContext) -> dict[str, Any]:
    return {"epoch": context.epoch, "round": context.round, "context": context.digest}


def _bytes(words: Words) -> memoryview:
    return np.ascontiguousarray(words, dtype="<u8").data.cast("B") if words.size else memoryview(b"")


def _check(context: RoundContext, sender: PartyId, kind: str, message: Fields, fields: Mapping[str, Expect]) -> None:
    messages.check(message, fields, what=f"{kind} of {sender}")
    for name, value in _head(context).items():
        if message[name] != value:
            raise IntegrityError(
                "masked_sum.context",
                f"{sender} is in another round than {context.epoch}.{context.round}, or means another state, "
                "layout, plan or set of participants or keys by it.",
            )


def _check_expected(sender: PartyId, kind: str, expected: set[PartyId]) -> None:
    if sender not in expected:
        raise IntegrityError("masked_sum.order", f"a {kind} of {sender} is not expected (again) in this round.")
