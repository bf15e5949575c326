"""Dishonest nodes in a running federation: whatever one sends, the others stop, and nobody gets a result."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from tests.support.clinics import FOURTH, LEAD, PARTIES, SECOND, THIRD, Ending, clinics, run_against, started
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError, PeerError
from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.node import app, channel
from xbcompute.simulate import Simulation
from xbcompute.testing.faults import Act, Dishonest, Message, memory_nodes, node_of

HONEST = tuple(party for party in PARTIES if party != SECOND)
FOLLOWERS = tuple(party for party in PARTIES if party != LEAD)
Change = Callable[[Message], Message | list[Message]]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with ExitStack() as stack:
        yield started(clinics(), tmp_path_factory.mktemp("clinics"), stack)


def only(kind: str, change: Change, *, to: Iterable[str] = PARTIES, nth: int = 1) -> Act:
    """Change the ``nth`` message of ``kind`` to each of these receivers."""
    seen: dict[str, int] = {}

    def act(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind != kind or receiver not in to:
            return [message]
        seen[receiver] = seen.get(receiver, 0) + 1
        if seen[receiver] != nth:
            return [message]
        changed = change(message)
        return changed if isinstance(changed, list) else [changed]

    return act


def no_seed_left(ending: Ending, *parties: str) -> None:
    for party in parties:
        session = ending.sessions[party]
        assert "masked-sum.seed" not in ending.left(party), party
        released = session.node.store.journal.released_sets(dataset="rows")
        assert session.id.hex() not in {one.session for one in released}, party


def plus_one(message: Message) -> Message:
    vector = cast("np.ndarray[Any, Any]", message.fields["vector"]).copy()
    vector[0] += np.uint64(1)
    return message.changed(vector=vector)


# ---- session keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "to"), [("x25519", HONEST), ("ed25519", (THIRD,))], ids=["all", "one"])
def test_a_swapped_session_key_stops_everyone_before_anything_is_masked(
    federation: Simulation, field: str, to: tuple[str, ...]
) -> None:
    swap = only("masked-sum.keys", lambda message: message.changed(**{field: secrets.token_bytes(32)}), to=to)
    ending = run_against(federation, SECOND, swap)
    assert ending.codes() == {"masked_sum.keys"} and ending.exits() == {6}
    assert SECOND in ending.error.text
    no_seed_left(ending, *PARTIES)
    assert "masked-sum.vector" not in ending.left(THIRD)


def test_the_signed_keys_of_another_session_do_not_pass(federation: Simulation) -> None:
    kept: dict[str, bytes] = {}
    with Dishonest(federation, SECOND) as watched:
        federation.run()
        kept = {sent.to: sent.message.data for sent in watched.sent if sent.message.kind == "masked-sum.keys"}
    seen: list[str] = []

    def replay(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind == "masked-sum.keys":
            seen.append(receiver)
            return [message.with_data(kept[receiver])]
        return [message]

    ending = run_against(federation, SECOND, replay)
    assert set(seen) == set(HONEST)
    assert ending.codes(*HONEST) == {"masked_sum.keys"}
    no_seed_left(ending, *PARTIES)


# ---- one round -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [plus_one, lambda message: message.changed(commitment=bytes(32))],
    ids=["vector", "commitment"],
)
def test_different_vectors_to_different_peers_open_nothing(federation: Simulation, change: Change) -> None:
    ending = run_against(federation, SECOND, only("masked-sum.vector", change, to=(THIRD,)))
    assert ending.codes() == {"masked_sum.agreement"} and ending.exits() == {6}
    # The receiver of the odd vector stands against the others: not one of the honest has shown its seed.
    no_seed_left(ending, *HONEST)


def test_a_seed_shown_before_agreement_gets_no_seed_in_return(federation: Simulation) -> None:
    def hurry(message: Message) -> list[Message]:
        fields = message.fields
        head = {name: fields[name] for name in ("epoch", "round", "context")}
        seed = replace(message, kind="masked-sum.seed").with_fields({**head, "seed": bytes(32)})
        return [seed, message.changed(signature=bytes(64))]

    ending = run_against(federation, SECOND, only("masked-sum.agree", hurry))
    assert ending.codes(*HONEST) == {"masked_sum.agreement"}
    no_seed_left(ending, *HONEST)


def test_a_party_that_withholds_its_agreement_opens_nothing_and_is_not_waited_for_without_end(
    federation: Simulation,
) -> None:
    nodes = memory_nodes(federation).running
    configs = {party: node.config for party, node in nodes.items()}
    for node in nodes.values():
        node.config = replace(node.config, run_limit=2.0)
    try:
        ending = run_against(federation, SECOND, only("masked-sum.agree", lambda message: []))
    finally:
        for party, node in nodes.items():
            node.config = configs[party]
    assert isinstance(ending.error, PeerError)
    assert ending.exits() == {5}
    no_seed_left(ending, *HONEST)


def test_a_seed_that_was_not_committed_to_releases_nothing(federation: Simulation) -> None:
    ending = run_against(
        federation, SECOND, only("masked-sum.seed", lambda message: message.changed(seed=bytes(32)), to=(FOURTH,))
    )
    assert ending.codes() == {"masked_sum.seed"} and ending.exits() == {6}


@pytest.mark.parametrize("kind", ["masked-sum.vector", "masked-sum.agree"])
def test_messages_of_the_first_round_replayed_in_the_second_open_nothing_more(
    federation: Simulation, kind: str
) -> None:
    first: dict[str, bytes] = {}

    def replay(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind != kind:
            return [message]
        return [message.with_data(first.setdefault(receiver, message.data))]

    ending = run_against(federation, SECOND, replay)
    # Rounds of other lengths differ in form already.
    assert ending.codes() <= {"masked_sum.context", "message.field"} and ending.exits() == {6}
    for party in HONEST:
        session = ending.sessions[party]
        released = session.node.store.journal.released_sets(dataset="rows")
        assert {one.round for one in released if one.session == session.id.hex()} == {1}, party


VECTOR_CASES: dict[str, tuple[Change, str]] = {
    "dtype": (
        lambda m: m.changed(vector=cast("np.ndarray[Any, Any]", m.fields["vector"]).astype(np.float64)),
        "message.field",
    ),
    "shape": (
        lambda m: m.changed(vector=cast("np.ndarray[Any, Any]", m.fields["vector"])[:-1].copy()),
        "message.field",
    ),
    "long": (lambda m: m.changed(vector=np.zeros(1 << 18, dtype=np.uint64)), "message.field"),
    "missing": (
        lambda m: m.with_fields({k: v for k, v in m.fields.items() if k != "commitment"}),
        "message.fields",
    ),
    "extra": (lambda m: m.changed(more=1), "message.fields"),
    "type": (lambda m: m.changed(epoch="1"), "message.field"),
    "round": (lambda m: m.changed(round=7), "masked_sum.context"),
    "trailing": (lambda m: m.with_data(m.data + b"\0"), "wire."),
    "cut": (lambda m: m.with_data(m.data[:-1]), "wire."),
    "empty": (lambda m: m.with_data(b""), "wire."),
    "noise": (lambda m: m.with_data(secrets.token_bytes(64)), "wire."),
}


@pytest.mark.parametrize("case", sorted(VECTOR_CASES))
def test_a_vector_of_another_form_is_refused_by_name(federation: Simulation, case: str) -> None:
    change, code = VECTOR_CASES[case]
    ending = run_against(federation, SECOND, only("masked-sum.vector", change, to=(THIRD,)))
    assert ending.exits() == {6}
    assert len(ending.codes()) == 1
    assert all(found.startswith(code) for found in ending.codes()), ending.codes()
    no_seed_left(ending, *PARTIES)


def test_a_message_beyond_the_limit_is_cut_off_while_it_comes(
    federation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MESSAGE_MAX", 1 << 20)
    ending = run_against(federation, SECOND, only("masked-sum.vector", lambda m: m.with_data(bytes(3 << 20))))
    assert ending.codes() == {"frame.message"} and ending.exits() == {6}
    no_seed_left(ending, *PARTIES)


# ---- the lead's state ------------------------------------------------------------------------------------------------


def nudged(factor: float) -> Change:
    def change(message: Message) -> Message:
        text = message.fields["body"]
        assert isinstance(text, bytes)
        if not text.startswith(b"{"):
            from xbcompute.wire.codec import decode_fields, encode_fields

            state = decode_fields(text)
            moved = {
                k: v * factor if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v for k, v in state.items()
            }
            return message.changed(body=encode_fields(moved))
        return message.changed(body=dumps(scaled(json.loads(text), factor)))

    return change


def scaled(value: Any, factor: float) -> Any:
    if isinstance(value, dict):
        return {key: scaled(item, factor) for key, item in value.items()}
    if isinstance(value, list):
        return [scaled(item, factor) for item in value]
    return value * factor if isinstance(value, float) else value


STATE_CASES: dict[str, tuple[Change, int]] = {
    "result": (nudged(1.0 + 1e-6), 1),
    "state": (nudged(1.0 + 1e-6), 2),
    "last-result": (nudged(1.0 + 1e-6), 4),
    "step": (lambda m: m.changed(step=9), 1),
    "done": (lambda m: m.changed(done=1 - cast(int, m.fields["done"])), 1),
    "not-json": (lambda m: m.changed(body=b"{"), 1),
    "nan": (lambda m: m.changed(body=cast(bytes, m.fields["body"]).replace(b'"p":0.', b'"p":NaN,"q":0.', 1)), 1),
    "deep": (lambda m: m.changed(body=b"[" * 100_000), 1),
    "spaces": (lambda m: m.changed(body=cast(bytes, m.fields["body"]) + b" "), 1),
    "no-state": (lambda m: m.changed(body=b""), 2),
}


@pytest.mark.parametrize(
    ("case", "to"),
    [*((case, (FOURTH,)) for case in sorted(STATE_CASES)), ("result", FOLLOWERS), ("state", FOLLOWERS)],
)
def test_another_state_of_the_lead_is_taken_by_nobody(federation: Simulation, case: str, to: tuple[str, ...]) -> None:
    change, nth = STATE_CASES[case]
    if case == "nan":
        sent: list[bool] = []

        def checked(message: Message) -> Message:
            changed = cast(Message, STATE_CASES["nan"][0](message))
            sent.append(changed.data != message.data)
            return changed

        change = checked
    ending = run_against(federation, LEAD, only("step.state", change, to=to, nth=nth))
    assert ending.exits() == {6}
    assert all(code == "step.state" or code.startswith(("wire.", "state.")) for code in ending.codes()), ending.codes()
    if case == "nan":
        assert sent and all(sent)


def test_two_states_within_the_tolerance_to_different_holders_open_nothing_under_either(
    federation: Simulation,
) -> None:
    ending = run_against(federation, LEAD, only("step.state", nudged(1.0 + 1e-13), to=(FOURTH,), nth=2))
    assert ending.codes() == {"masked_sum.context"} and ending.exits() == {6}
    for party in FOLLOWERS:
        session = ending.sessions[party]
        released = session.node.store.journal.released_sets(dataset="rows")
        assert {one.round for one in released if one.session == session.id.hex()} == {1, 2}, party


def test_two_results_within_the_tolerance_are_no_release(federation: Simulation) -> None:
    ending = run_against(federation, LEAD, only("step.state", nudged(1.0 + 1e-13), to=(FOURTH,), nth=4))
    assert ending.codes() == {"release.differs"} and ending.exits() == {6}


def test_a_vote_for_another_release_releases_nothing(federation: Simulation) -> None:
    ending = run_against(
        federation, SECOND, only("session.vote", lambda m: m.with_body({"release": "sha256:" + "0" * 64}))
    )
    assert ending.codes() == {"release.differs"} and ending.exits() == {6}


# ---- proposal and plan -----------------------------------------------------------------------------------------------


def in_finding(**more: Any) -> Change:
    def change(message: Message) -> Message:
        body = message.body
        return message.with_body({**body, "finding": {**body["finding"], **more}})

    return change


def in_facts(**more: Any) -> Change:
    def change(message: Message) -> Message:
        body = message.body
        return message.with_body({**body, "facts": {**body["facts"], **more}})

    return change


def study_changed(message: Message) -> Message:
    body = message.body
    body["study"]["study"]["data"]["where"] = [{"column": "age", "op": ">=", "value": 30}]
    return message.with_body(body)


AGE = {"type": "number", "levels": [], "lower": 18.0, "upper": 100.0, "unit": None}
BEGINNINGS: dict[str, tuple[str, str, Change, set[str]]] = {
    "another study to one": (LEAD, "session.propose", study_changed, {"plan.finding"}),
    "run for some, explain for one": (
        LEAD,
        "session.propose",
        lambda m: m.with_body({**m.body, "execute": False}),
        {"session.propose"},
    ),
    "another plan": (LEAD, "session.plan", lambda m: m.with_body({**m.body, "plan": "sha256:" + "1" * 64}), set()),
    "another verdict to one": (SECOND, "session.finding", in_finding(verdict="PERMIT"), {"session.plan"}),
    "another party's finding": (SECOND, "session.finding", in_finding(party=FOURTH), set()),
    "looser cells to one": (
        SECOND,
        "session.finding",
        in_finding(rows_max=100_000),
        {"session.plan"},
    ),
    "no finding": (SECOND, "session.finding", lambda m: m.with_body({"finding": None, "facts": None}), set()),
    "no facts": (SECOND, "session.finding", lambda m: m.with_body({**m.body, "facts": None}), set()),
    "facts of no form": (SECOND, "session.finding", in_facts(columns=[1, 2]), set()),
    "bounds of no form": (SECOND, "session.finding", in_facts(columns={"age": {**AGE, "lower": "low"}}), set()),
    "bounds without end": (SECOND, "session.finding", in_facts(rows_max=10**400), set()),
    "no JSON": (SECOND, "session.finding", lambda m: m.with_fields({"body": b"{"}), {"session.message"}),
    "no object": (SECOND, "session.finding", lambda m: m.with_fields({"body": b"[]"}), {"session.message"}),
    "deep JSON": (SECOND, "session.finding", lambda m: m.with_fields({"body": b"[" * 100_000}), {"session.message"}),
    "no control message": (SECOND, "session.finding", lambda m: m.with_fields({"what": 1}), {"session.message"}),
    "approval of no form": (SECOND, "session.plan", lambda m: m.with_body({**m.body, "approval": [1]}), set()),
    "an unknown verdict": (
        SECOND,
        "session.plan",
        lambda m: m.with_body({**m.body, "approval": {"verdict": "YES", "unsigned": [], "rules": []}}),
        set(),
    ),
}


@pytest.mark.parametrize("case", sorted(BEGINNINGS))
def test_a_dishonest_beginning_ends_before_any_key_is_made(federation: Simulation, case: str) -> None:
    party, kind, change, codes = BEGINNINGS[case]
    ending = run_against(federation, party, only(kind, change, to=(THIRD,)))
    assert ending.exits() <= {2, 6} and 0 not in ending.exits()
    assert not codes or ending.codes() & codes, ending.codes()
    assert "node.fault" not in ending.codes()
    for name in PARTIES:
        assert "masked-sum.keys" not in ending.left(name) or name == party, name
    no_seed_left(ending, *PARTIES)


def test_a_lead_that_tells_one_party_nothing_is_given_up(federation: Simulation) -> None:
    nodes = memory_nodes(federation).running
    configs = {party: node.config for party, node in nodes.items()}
    for node in nodes.values():
        node.config = replace(node.config, prepare_limit=1.5)
    try:
        forget = only("session.propose", lambda message: [], to=(FOURTH,))
        ending = run_against(federation, LEAD, forget, runs=False)
    finally:
        for party, node in nodes.items():
            node.config = configs[party]
    assert set(ending.sessions) == {LEAD, SECOND, THIRD}
    assert ending.exits() == {5}


@pytest.mark.parametrize(
    ("body", "code", "exit_code"),
    [
        ({"code": "peer.tired", "exit": 5, "text": "no more", "todo": ""}, "peer.tired", 5),
        ({"code": "x" * 99, "exit": "abc", "text": "\x1b[2J" + "t" * 9999, "todo": None}, "peer.unknown", 6),
        ({}, "session.abort", 6),
    ],
    ids=["plain", "garbage", "empty"],
)
def test_an_abort_told_to_one_party_ends_all_and_is_fit_to_be_shown(
    federation: Simulation, body: dict[str, Any], code: str, exit_code: int
) -> None:
    def tell(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind != "masked-sum.vector":
            return [message]
        if receiver != THIRD:
            return []
        return [replace(message, channel="control", kind="session.abort").with_body(body)]

    ending = run_against(federation, SECOND, tell)
    assert ending.codes() == {code} and ending.exits() == {exit_code}
    assert "\x1b" not in ending.error.text and len(ending.error.text) <= 2000
    no_seed_left(ending, *PARTIES)


# ---- frames that belong nowhere --------------------------------------------------------------------------------------


def test_engine_messages_under_another_plan_or_in_an_explanation_end_the_session(federation: Simulation) -> None:
    other = only("masked-sum.keys", lambda m: replace(m, plan=bytes(range(32))))
    ending = run_against(federation, SECOND, other)
    assert ending.codes() == {"session.plan"} and ending.exits() == {6}
    no_seed_left(ending, *PARTIES)

    def meddle(message: Message) -> list[Message]:
        return [replace(message, channel="engine", kind="masked-sum.keys"), message]

    ending = run_against(federation, SECOND, only("session.finding", meddle), runs=False)
    assert ending.codes() == {"session.member"} and ending.exits() == {6}


def test_a_vote_that_does_not_carry_the_plan_ends_the_session(federation: Simulation) -> None:
    ending = run_against(federation, SECOND, only("session.vote", lambda m: replace(m, plan=bytes(32))))
    assert ending.codes() == {"session.plan"} and ending.exits() == {6}


def test_frames_of_an_ended_session_and_of_none_change_nothing(
    federation: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    run = federation.run_json()
    node = node_of(federation, THIRD)
    session = max(node.sessions, key=lambda key: list(node.sessions).index(key))
    size = node.store.ledger.head().size
    with Dishonest(federation, SECOND) as dishonest:
        for kind in ("session.vote", "session.abort", "masked-sum.seed"):
            frame = Frame(session, "control", 0, kind, bytes(32), b"")
            dishonest.send_frames(THIRD, [frame])
        strangers = [
            Frame(secrets.token_bytes(16), "control", 0, "session.finding", bytes(32), bytes(1 << 20))
            for _ in range(2 * (app.WAITING_BYTES >> 20))
        ]
        dishonest.send_frames(THIRD, strangers)
        small = [
            Frame(secrets.token_bytes(16), "control", 0, "session.finding", bytes(32), b"")
            for _ in range(2 * app.WAITING_FRAMES)
        ]
        dishonest.send_frames(THIRD, small)
        federation.explain()
    waiting = node._early[PartyId(SECOND)]
    assert len(waiting) <= app.WAITING_FRAMES
    assert sum(len(frame.payload) for frame in waiting) <= app.WAITING_BYTES
    assert "frame.replay" in caplog.text
    assert node.sessions[session].error is None
    assert node.store.ledger.head().size >= size
    assert federation.run_json()["results"] == run["results"]


def test_a_worker_gets_no_signature_for_anything_but_its_sessions_keys(federation: Simulation) -> None:
    federation.run()
    node = node_of(federation, THIRD)
    session = list(node.sessions.values())[-1]
    assert session.application is not None
    fitting = {
        "domain": "xbcompute/masked-sum/v1/session-keys",
        "session": session.id.hex(),
        "plan": session.application.plan_digest.hex(),
        "party": THIRD,
    }
    nodes = memory_nodes(federation)
    assert len(nodes.do(session.worker_call("sign", {}, dumps(fitting)))[1]) == 64
    for statement in (
        b"xbcompute ledger checkpoint",
        dumps([fitting]),
        *(dumps({**fitting, name: "00" * 16}) for name in fitting),
        *(dumps({k: v for k, v in fitting.items() if k != name}) for name in fitting),
    ):
        with pytest.raises(IntegrityError) as caught:
            nodes.do(session.worker_call("sign", {}, statement))
        assert caught.value.code == "worker.sign"
