"""Sessions at once, frames before their time, and messages nobody asked for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support.clinics import FOURTH, LEAD, PARTIES, SECOND, TABLE, THIRD, clinics, run_against, started
from xbcompute.cli.app import app as cli
from xbcompute.core.errors import PeerError
from xbcompute.core.parties import PartyId
from xbcompute.node import app
from xbcompute.simulate import Simulation
from xbcompute.testing.faults import Message, node_of


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulation]:
    with ExitStack() as stack:
        yield started(clinics(TABLE), tmp_path_factory.mktemp("clinics"), stack)


def test_studies_at_once_are_all_countersigned(federation: Simulation) -> None:
    ended: list[Any] = []

    def work() -> None:
        try:
            ended.append(federation.run_json())
        except BaseException as error:
            ended.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(body, dict) for body in ended), ended
    assert len({str(body["results"]) for body in ended}) == 1
    assert all(ledger["verified"] for ledger in federation.run_json()["ledger"].values())
    for party in PARTIES:
        states = [s.events.state for s in node_of(federation, party).sessions.values() if s.execute]
        assert states == ["closed"] * 5


def test_an_engine_message_before_the_plan_ends_the_session(federation: Simulation) -> None:
    def early(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind != "session.finding" or receiver != THIRD:
            return [message]
        return [replace(message, channel="engine", kind="masked-sum.keys"), message]

    ending = run_against(federation, SECOND, early)
    assert ending.codes() == {"session.plan"} and ending.exits() == {6}
    assert all("masked-sum.keys" not in ending.left(party) for party in (LEAD, THIRD, FOURTH))


@pytest.mark.parametrize("kind", ["session.finding", "session.vote", "session.chat"])
def test_messages_nobody_asked_for_are_not_kept(federation: Simulation, kind: str) -> None:
    def chatter(receiver: PartyId, message: Message) -> list[Message]:
        if message.kind != "session.finding":
            return [message]
        return [message, replace(message, kind=kind), replace(message, kind=kind)]

    ending = run_against(federation, SECOND, chatter)
    assert ending.exits() == {6}
    assert ending.codes() & {"session.message", "session.plan"}
    for party in (LEAD, THIRD, FOURTH):
        inbox = ending.sessions[party].talk._inbox
        assert all(queue.qsize() <= 1 for queue in inbox.values())


def test_a_lead_has_a_bounded_number_of_sessions_at_a_node(
    federation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "LED_MAX", 0)
    ending = run_against(federation, LEAD, None)
    assert ending.codes() == {"node.busy"} and ending.exits() == {5}
    assert all("session.finding" not in ending.left(party) for party in (SECOND, THIRD, FOURTH))


@pytest.mark.parametrize("kind", ["session.finding", "masked-sum.keys"], ids=["before the plan", "under the plan"])
def test_what_left_before_a_session_broke_off_is_in_the_ledger(federation: Simulation, kind: str) -> None:
    def other_plan(receiver: PartyId, message: Message) -> list[Message]:
        return [replace(message, plan=bytes(range(32))) if message.kind == kind else message]

    ending = run_against(federation, SECOND, other_plan)
    assert ending.codes() == {"session.plan"}
    for party in (LEAD, THIRD, FOURTH):
        session = ending.sessions[party]
        ledger = session.node.store.ledger
        records = [ledger.record(number) for number in range(ledger.head().size)]
        mine = {record.kind: record.body for record in records if record.session == session.id.hex()}
        assert mine["refusal"]["code"] == "session.plan"
        assert mine["crossings"]["crossings"] == session.crossings != []
        assert "session.abort" in {row["kind"] for row in session.crossings}


# ---- what a simulation says at its end -------------------------------------------------------------------------------


def test_a_study_that_ended_badly_at_another_party_is_no_success(
    federation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = federation.nodes.callers[PartyId(THIRD)]
    real = caller.results
    error = PeerError("peer.lost", f"{FOURTH} is gone.").public()
    monkeypatch.setattr(caller, "results", lambda session: json.dumps({**json.loads(real(session)), "error": error}))
    with pytest.raises(PeerError, match=FOURTH):
        federation.run_json()


def test_a_ledger_that_does_not_verify_is_an_integrity_failure(
    federation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Simulation, "_ledger", lambda self, party: {"size": 0, "root": "", "verified": party != THIRD})
    done = CliRunner().invoke(cli, ["simulate", str(federation.folder.root), "--in-process", "--json"])
    assert done.exit_code == 6, done.output
    body = json.loads(done.stdout)
    assert body["error"]["code"] == "ledger.unverified" and THIRD in body["error"]["text"]
    assert body["ledger"][THIRD]["verified"] is False
