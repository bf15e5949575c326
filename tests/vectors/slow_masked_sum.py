"""The masked sum again, slowly: integers, hashlib, hmac, and single calls of X25519, Ed25519 and the AES block.

Written from ``protocols/masked-sum/spec.md`` and sharing no code with the package, so that the two can disagree.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

MODULUS = 1 << 64
DOMAIN = "xbcompute/masked-sum/v1/"


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, no salt, 32 bytes: one block of output."""
    extracted = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def mask_words(key: bytes, count: int) -> list[int]:
    """AES-256 of the big-endian block numbers 0, 1, 2 …; each block is two little-endian words."""
    words: list[int] = []
    for number in range((count + 1) // 2):
        block = Cipher(AES(key), ECB()).encryptor().update(number.to_bytes(16, "big"))
        words += [int.from_bytes(block[:8], "little"), int.from_bytes(block[8:], "little")]
    return words[:count]


def fraction_bits(bound: float, integer: bool, n: int) -> int:
    if integer:
        return 0
    f = 1000
    while n * Fraction(bound) * Fraction(2) ** f >= 2**62:
        f -= 1
    assert f >= 0
    return f


def encode(layout: Sequence[Sequence[Any]], values: Mapping[str, Sequence[Any]], n: int) -> list[int]:
    words = []
    for name, _shape, bound, integer, _role in layout:
        scale = 2 ** fraction_bits(bound, integer, n)
        words += [round(Fraction(value) * scale) % MODULUS for value in values[name]]
    return words


def decode(layout: Sequence[Sequence[Any]], words: Sequence[int], n: int) -> dict[str, list[Any]]:
    total: dict[str, list[Any]] = {}
    rest = [word - MODULUS if word >= MODULUS // 2 else word for word in words]
    for name, shape, bound, integer, _role in layout:
        size = 1
        for length in shape:
            size *= length
        part, rest = rest[:size], rest[size:]
        scale = 2 ** fraction_bits(bound, integer, n)
        total[name] = part if integer else [float(Fraction(word, scale)) for word in part]
    return total


def vector_bytes(words: Sequence[int]) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


class Participant:
    """One participant, honest."""

    def __init__(self, session: Mapping[str, Any], name: str, secrets: Mapping[str, bytes]) -> None:
        self.session = {key: session[key] for key in ("federation", "session", "study", "plan", "epoch", "card")}
        self.session["participants"] = list(session["participants"])
        self.name = name
        self.others = [other for other in session["participants"] if other != name]
        self.long_term = Ed25519PrivateKey.from_private_bytes(secrets["long-term"])
        self.x25519 = X25519PrivateKey.from_private_bytes(secrets["x25519"])
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(secrets["ed25519"])

    def keys(self) -> dict[str, Any]:
        x = self.x25519.public_key().public_bytes_raw().hex()
        ed = self.ed25519.public_key().public_bytes_raw().hex()
        statement = self.session | {"domain": DOMAIN + "session-keys", "party": self.name, "x25519": x, "ed25519": ed}
        return {"x25519": x, "ed25519": ed, "signature": self.long_term.sign(canonical(statement)).hex()}

    def accept(self, keys: Mapping[str, Mapping[str, Any]]) -> None:
        self.public = [[keys[party]["x25519"], keys[party]["ed25519"]] for party in self.session["participants"]]
        self.shared = {
            other: self.x25519.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(keys[other]["x25519"])))
            for other in self.others
        }

    def begin(self, round: int, state: str, layout: Sequence[Sequence[Any]], encoded: Sequence[int]) -> None:
        rows = [[name, list(shape), float(bound), integer, role] for name, shape, bound, integer, role in layout]
        body = self.session | {
            "domain": DOMAIN + "round",
            "round": round,
            "state": state,
            "layout": sha256(canonical(["xbcompute/layout/v1", rows])).hex(),
            "size": len(encoded),
            "keys": self.public,
        }
        self.context = sha256(canonical(body))
        self.head = {"epoch": self.session["epoch"], "round": round, "context": self.context.hex()}
        self.encoded = list(encoded)

    def bind(self, purpose: str, **more: Any) -> bytes:
        return canonical({"domain": DOMAIN + purpose, "context": self.context.hex(), **more})

    def vector(self, seed: bytes) -> dict[str, Any]:
        self.seed = seed
        words = list(self.encoded)
        for other in self.others:
            key = hkdf(self.shared[other], self.bind("pair-mask", pair=sorted([self.name, other])))
            sign = 1 if self.name < other else -1
            words = [word + sign * mask for word, mask in zip(words, mask_words(key, len(words)), strict=True)]
        masks = self.self_mask(self.name, seed)
        words = [(word + mask) % MODULUS for word, mask in zip(words, masks, strict=True)]
        commitment = self.commitment(self.name, seed)
        return self.head | {"commitment": commitment.hex(), "vector": vector_bytes(words).hex()}

    def commitment(self, party: str, seed: bytes) -> bytes:
        prefix = self.bind("seed-commitment", party=party)
        return sha256(len(prefix).to_bytes(4, "big") + prefix + seed)

    def self_mask(self, party: str, seed: bytes) -> list[int]:
        return mask_words(hkdf(seed, self.bind("self-mask", party=party)), len(self.encoded))

    def agree(self, vectors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        self.vectors = vectors
        entries = [
            [party, vectors[party]["commitment"], sha256(bytes.fromhex(vectors[party]["vector"])).hex()]
            for party in self.session["participants"]
        ]
        signature = self.ed25519.sign(self.bind("agree", party=self.name, entries=entries))
        return self.head | {"signature": signature.hex()}

    def release(self) -> dict[str, Any]:
        return self.head | {"seed": self.seed.hex()}

    def open(self, seeds: Mapping[str, Mapping[str, Any]]) -> list[int]:
        total = [0] * len(self.encoded)
        for party in self.session["participants"]:
            raw = bytes.fromhex(self.vectors[party]["vector"])
            seed = bytes.fromhex(seeds[party]["seed"])
            assert self.commitment(party, seed).hex() == self.vectors[party]["commitment"]
            for i, mask in enumerate(self.self_mask(party, seed)):
                total[i] = (total[i] + int.from_bytes(raw[8 * i : 8 * i + 8], "little") - mask) % MODULUS
        return total


def secret(vector: str, party: str, purpose: str) -> bytes:
    return sha256(f"xbcompute/vectors/masked-sum/{vector}/{party}/{purpose}".encode())


def play(vector: Mapping[str, Any]) -> tuple[dict[str, dict[str, Any]], list[dict[str, list[Any]]]]:
    """All messages by ``round/kind/sender`` and the totals of an honest session."""
    parties = vector["session"]["participants"]
    n = len(parties)
    people = {
        party: Participant(
            vector["session"],
            party,
            {purpose: secret(vector["name"], party, purpose) for purpose in ("long-term", "x25519", "ed25519")},
        )
        for party in parties
    }
    keys = {party: person.keys() for party, person in people.items()}
    messages = {f"0/keys/{party}": keys[party] for party in parties}
    totals = []
    for index, script in enumerate(vector["rounds"], start=1):
        layout, number = script["layout"], script["round"]
        for party, person in people.items():
            person.accept(keys)
            person.begin(number, script["state"], layout, encode(layout, script["values"][party], n))
        vectors = {p: person.vector(secret(vector["name"], p, f"seed-{index}")) for p, person in people.items()}
        agreements = {p: person.agree(vectors) for p, person in people.items()}
        seeds = {p: person.release() for p, person in people.items()}
        opened = [person.open(seeds) for person in people.values()]
        assert all(words == opened[0] for words in opened)
        totals.append(decode(layout, opened[0], n))
        for kind, sent in (("vector", vectors), ("agree", agreements), ("seed", seeds)):
            messages |= {f"{number}/{kind}/{party}": sent[party] for party in parties}
    return messages, totals
