"""Runs a study's analyses at one holder: check, contribute, open, check, combine, agree; until done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from xbcompute.analyses import build
from xbcompute.core.admission import Admission
from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import Expect, Value
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Summation
from xbcompute.core.schema import Limits, Schema
from xbcompute.disclosure.linked import audit_study
from xbcompute.disclosure.release import SessionChecks, audit_result
from xbcompute.engines.base import Done, Iterative
from xbcompute.engines.clear import Clear
from xbcompute.engines.masked_sum import MaskedSum
from xbcompute.node.channel import NodeLink, WorkerChannel
from xbcompute.node.sources import Prepared
from xbcompute.specs.analysis import AnalysisSpec
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.schema import join_schema
from xbcompute.specs.study import Study
from xbcompute.wire.states import decode_state, encode_state, states_close

STEP_KIND = "step.state"
TOLERANCE = 1e-9
RESULT_MAX = 1 << 26


class NodePorts:
    """Signer and journal of an engine, served by the node process."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link

    def sign_session_keys(self, statement: bytes) -> bytes:
        """The node's signature, made with the party's long-term key."""
        return self._link.call("sign", {}, statement)[1]

    def begin_round(self, epoch: int, round: int) -> None:
        """On the node's disk before anything of this round is sent."""
        self._link.call("begin_round", {"epoch": epoch, "round": round})

    def seed_released(self, epoch: int, round: int) -> None:
        """On the node's disk before the seed is sent."""
        self._link.call("seed_released", {"epoch": epoch, "round": round})


class Agreement:
    """One party (the stepper) sends each step's outcome; the others recompute it, compare, and adopt its bytes."""

    def __init__(self, channel: WorkerChannel, stepper: PartyId) -> None:
        self._channel = channel
        self._stepper = stepper

    def settle(self, program: Iterative[Any], step: int, outcome: Any) -> Any:
        """The agreed outcome: the stepper's, if it is within 1e-9 (relative) of this party's own.

        Raises:
            IntegrityError: the stepper sent something else.
        """
        done = isinstance(outcome, Done)
        body = dumps(outcome.result) if isinstance(outcome, Done) else encode_state(outcome)
        if self._channel.me == self._stepper:
            message: dict[str, Value] = {"step": step, "done": int(done), "body": body}
            for peer in self._channel.peers:
                self._channel.send(peer, STEP_KIND, message)
            return Done(json.loads(body)) if done else decode_state(program.state_type, body)
        expected = {"step": Expect("int"), "done": Expect("int"), "body": Expect("bytes")}
        theirs = self._channel.recv(self._stepper, STEP_KIND, expected)
        wrong = IntegrityError("step.state", f"{self._stepper} sent another state than this node computed; stopped.")
        if theirs["step"] != step or theirs["done"] != int(done):
            raise wrong
        sent = theirs["body"]
        if not isinstance(sent, bytes) or len(sent) > RESULT_MAX:
            raise wrong
        if done:
            try:
                result = json.loads(sent)
                same = dumps(result) == sent and _json_close(json.loads(body), result)
            except (InputError, ValueError, RecursionError):
                same = False
            if not same:
                raise wrong
            return Done(result)
        state = decode_state(program.state_type, sent)
        if not states_close(outcome, state, TOLERANCE):
            raise wrong
        return state


def _json_close(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_json_close(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_json_close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        # p-values and tiny differences of large numbers need an absolute floor as well.
        return abs(a - b) <= TOLERANCE * max(abs(a), abs(b), 1e-3)
    return type(a) is type(b) and bool(a == b)


def engine(admission: Admission, channel: WorkerChannel, ports: NodePorts, keys: Mapping[PartyId, bytes]) -> Summation:
    """The engine of the admitted card.

    Raises:
        InputError: the card has no engine in this installation.
    """
    if admission.card == "clear-aggregate":
        return Clear(channel, admission)
    if admission.card == "masked-sum":
        return MaskedSum(channel, admission, signer=ports, journal=ports, signing_keys=keys)
    raise InputError(
        "engine.missing",
        f"protocol '{admission.card}' has no engine for this study in this installation.",
        todo="Install the engine or prefer another protocol that policy admits.",
    )


class _Opened:
    """What was opened to this party: bytes and a digest of all totals."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._bytes = 0

    def add(self, total: Contribution, layout: Layout) -> None:
        for name in layout:
            self._hash.update(total[name].tobytes())
            self._bytes += total[name].nbytes

    def report(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "sha256": self._hash.hexdigest()}


class StudyRun:
    """All analyses of one study at one holder, in the study's order."""

    def __init__(self, study: Study, prepared: Prepared, body: Mapping[str, Any], link: NodeLink) -> None:
        me = PartyId(body["me"])
        self._admission = admission_from(body)
        self._study = study
        self._prepared = prepared
        self._link = link
        holders = parse(Federation, body["federation_file"], "federation").holders()
        self._schema: Schema = join_schema(study, body["facts"], holders, self._admission.limits)
        channel = WorkerChannel(link, me, [party for party in self._admission.participants if party != me])
        keys = {PartyId(party): bytes.fromhex(key) for party, key in body["signing_keys"].items()}
        self._summation = engine(self._admission, channel, NodePorts(link), keys)
        self._agreement = Agreement(channel, PartyId(body["stepper"]))
        self._checks = SessionChecks(self._schema, me, prepared.n)
        self._opened = _Opened()
        self._rounds = 0

    def run(self) -> dict[str, Any]:
        """The results by analysis id, the rounds used and what was opened to this party."""
        # Every analysis is built before the first one runs: a fault in the last must not open the first.
        programs = {spec.id: build(spec, self._schema) for spec in self._study.analysis}
        results: dict[str, Any] = {}
        for spec in self._study.analysis:
            result = self._one(programs[spec.id], spec)
            audit_result(result, spec.kind, self._admission.limits)
            results[spec.id] = result
        audit_study(self._study, results, self._admission.limits)
        return {"results": results, "rounds": self._rounds, "opened": self._opened.report()}

    def _one(self, program: Iterative[Any], spec: AnalysisSpec) -> dict[str, Any]:
        rows = self._prepared.rows(spec.columns_used())
        state = program.start(self._schema)
        while True:
            self._rounds += 1
            self._link.call("round", {"analysis": spec.id, "round": self._rounds})
            layout = program.layout(state)
            mine = program.local(rows, state)
            self._checks.contribution(spec.id, layout, mine)
            digest = hashlib.sha256(encode_state(state)).digest()
            total = self._summation.total(layout, mine, round=self._rounds, state=digest)
            self._opened.add(total, layout)
            self._checks.total(spec.id, layout, total)
            outcome = self._agreement.settle(program, self._rounds, program.combine(total, state))
            if isinstance(outcome, Done):
                return dict(outcome.result)
            state = outcome


def admission_from(body: Mapping[str, Any]) -> Admission:
    """The admission in a ``run`` command, as :func:`xbcompute.node.session.Session` writes it."""
    return Admission(
        session=bytes.fromhex(body["session"]),
        federation=body["federation"],
        study=bytes.fromhex(body["study_digest"]),
        plan=bytes.fromhex(body["plan"]),
        card=body["card"],
        me=PartyId(body["me"]),
        participants=tuple(PartyId(p) for p in body["participants"]),
        epoch=int(body["epoch"]),
        limits=Limits(**body["limits"]),
    )
