"""Plays a test vector of ``protocols/<card>/vectors``: all participants in threads, in one process.

A vector scripts a whole session: public facts, each participant's inputs, the changes that a dishonest participant or
network makes to messages on their way, how each participant must end, and who may have released a seed; a good vector
also has every message and total. ``protocols/masked-sum/spec.md``, section 9, describes the format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import numpy as np

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.errors import IntegrityError, XbError
from xbcompute.core.fields import Expect, Fields, Value
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Channel, Summation
from xbcompute.core.schema import Limits
from xbcompute.engines.loopback import LoopbackChannel, loopback

Vector: TypeAlias = Mapping[str, Any]


class Script(Protocol):
    """How one card's vectors are played."""

    def engine(self, vector: Vector, admission: Admission, channel: Channel) -> Summation:
        """One participant's engine, every secret from the vector."""

    def sign(self, vector: Vector, admission: Admission, fields: Fields) -> Fields:
        """``fields`` of a changed message with the signature its (dishonest) sender would put under them."""


@dataclass
class Session:
    """What happened.

    ``messages`` by ``round/kind/sender``, as their sender made them; ``ends`` has ``total`` or an error's code;
    ``released`` has ``round/sender`` of every seed that was sent.
    """

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    totals: dict[PartyId, list[dict[str, list[Any]]]] = field(default_factory=dict)
    ends: dict[PartyId, str] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)


class ScriptedChannel:
    """A loopback end that records what its party sends, and applies the vector's changes on the way."""

    def __init__(self, inner: LoopbackChannel, vector: Vector, session: Session, script: Script) -> None:
        self._inner = inner
        self._vector = vector
        self._session = session
        self._script = script

    @property
    def me(self) -> PartyId:
        """The party at this end."""
        return self._inner.me

    @property
    def peers(self) -> Sequence[PartyId]:
        """Everyone else."""
        return self._inner.peers

    def recv(self, sender: PartyId, kind: str, expected: Mapping[str, Expect]) -> Fields:
        """As :meth:`LoopbackChannel.recv`."""
        return self._inner.recv(sender, kind, expected)

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        """Record ``fields`` and send what the vector makes of them."""
        short, number = kind.rpartition(".")[2], cast(int, fields.get("round", 0))
        self._session.messages[f"{number}/{short}/{self.me}"] = message_json(fields)
        if short == "seed":
            self._session.released.add(f"{number}/{self.me}")
        changed = fields
        for change in self._vector["changes"]:
            if (change["round"], change["kind"], change["from"]) == (number, short, self.me) and to in change["to"]:
                changed = _changed(change, changed)
                if change.get("sign"):
                    changed = self._script.sign(self._vector, admission_of(self._vector, self.me), changed)
        self._inner.send(to, kind, changed)


def play(vector: Vector, script: Script) -> Session:
    """Play the session of ``vector`` with the engine itself."""
    session = Session()
    parties = [PartyId(party) for party in vector["parties"]]
    channels = loopback(parties, timeout=60.0)

    def participate(party: PartyId) -> None:
        session.totals[party] = []
        try:
            channel = ScriptedChannel(channels[party], vector, session, script)
            engine = script.engine(vector, admission_of(vector, party), channel)
            for line in vector["rounds"]:
                local = line | line["at"].get(party, {})
                layout = layout_of(local["layout"])
                mine = contribution_of(layout, local["values"][party])
                total = engine.total(layout, mine, round=local["round"], state=bytes.fromhex(local["state"]))
                session.totals[party].append({name: array.reshape(-1).tolist() for name, array in total.items()})
            session.ends[party] = "total"
        except XbError as error:
            session.ends[party] = error.code
        finally:
            channels[party].close()

    with ThreadPoolExecutor(len(parties)) as pool:
        for done in [pool.submit(participate, party) for party in parties]:
            done.result()
    return session


def replay(vector: Vector, script: Script) -> None:
    """Check one vector.

    Raises:
        IntegrityError: naming the vector and what came out otherwise.
    """
    session, name, expect = play(vector, script), vector["name"], vector["expect"]
    if session.ends != expect["ends"]:
        raise IntegrityError("vector.ends", f"{name}: participants end as {session.ends}, not as {expect['ends']}.")
    if sorted(session.released) != expect["released"]:
        raise IntegrityError("vector.released", f"{name}: seeds released were {sorted(session.released)}.")
    if "messages" in expect and session.messages != expect["messages"]:
        wrong = [key for key, message in expect["messages"].items() if session.messages.get(key) != message]
        raise IntegrityError("vector.messages", f"{name}: other bytes in {', '.join(wrong) or 'further messages'}.")
    if "totals" in expect and any(totals != expect["totals"] for totals in session.totals.values()):
        raise IntegrityError("vector.totals", f"{name}: a participant opens another total.")


def admission_of(vector: Vector, party: PartyId) -> Admission:
    """A participant's own view of the session."""
    about = vector["session"] | vector["at"].get(party, {})
    return Admission(
        session=bytes.fromhex(about["session"]),
        federation=about["federation"],
        study=bytes.fromhex(about["study"]),
        plan=bytes.fromhex(about["plan"]),
        card=about["card"],
        me=party,
        participants=tuple(about["participants"]),
        epoch=about["epoch"],
        limits=Limits(),
    )


def layout_of(rows: Sequence[Sequence[Any]]) -> Layout:
    """A layout from its JSON form: [name, shape, bound, integer, role] each."""
    return {
        name: ArraySpec(tuple(shape), float(bound), integer=integer, role=role)
        for name, shape, bound, integer, role in rows
    }


def contribution_of(layout: Layout, values: Mapping[str, Sequence[Any]]) -> Contribution:
    """A contribution from flat lists; a text such as ``"nan"`` stands for what JSON cannot write."""
    contribution = {}
    for name, spec in layout.items():
        flat = values[name] if spec.integer else [float(value) for value in values[name]]
        contribution[name] = np.array(flat, dtype=np.int64 if spec.integer else np.float64).reshape(spec.shape)
    return contribution


def message_json(fields: Fields) -> dict[str, Any]:
    """A message as vectors write it: bytes, and arrays as little-endian bytes, in hex; integers as they are."""
    return {name: value if isinstance(value, int) else _raw(value).hex() for name, value in fields.items()}


def _changed(change: Mapping[str, Any], fields: Fields) -> Fields:
    changed = dict(fields)
    for name, value in change.get("set", {}).items():
        changed[name] = value if isinstance(value, int) else _as(bytes.fromhex(value), changed.get(name))
    for name, at in change.get("flip", {}).items():  # the lowest bit of byte ``at``
        raw = bytearray(_raw(changed[name]))
        raw[at] ^= 1
        changed[name] = _as(bytes(raw), changed[name])
    for name, more in change.get("append", {}).items():
        changed[name] = _as(_raw(changed[name]) + bytes.fromhex(more), changed[name])
    return changed


def _raw(value: Value) -> bytes:
    return value.astype(_little(value)).tobytes() if isinstance(value, np.ndarray) else cast(bytes, value)


def _as(raw: bytes, like: Value | None) -> Value:
    if not isinstance(like, np.ndarray):
        return raw
    array = np.frombuffer(raw, dtype=_little(like))
    return array.reshape(like.shape) if array.size == like.size else array


def _little(array: np.ndarray[Any, Any]) -> np.dtype[Any]:
    little: np.dtype[Any] = array.dtype.newbyteorder("<")
    return little
