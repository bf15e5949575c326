"""One process a party, mutual TLS: the same answer as in one process, every byte in the list, and sudden ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.clinics import FOURTH, LEAD, LINEAR, PARTIES, SECOND, TABLE, THIRD, clinics
from tests.support.nodes import MARK, RelayedNodes, marked, parent_of, until
from xbcompute.core.errors import PeerError
from xbcompute.core.parties import PartyId
from xbcompute.simulate import Simulation

pytestmark = pytest.mark.processes

MANY: list[Mapping[str, Any]] = [LINEAR, *({**TABLE, "id": f"t{count}"} for count in range(16))]
"""Enough rounds that a process can be ended among them."""


@dataclass
class Fleet:
    """A federation in processes that carry a mark, over relays that count; ``body`` is its first run's."""

    folder: Path
    state: Path
    mark: str
    federation: Simulation
    body: dict[str, Any]
    seen: Mapping[tuple[str, str], int]

    @property
    def nodes(self) -> RelayedNodes:
        nodes = self.federation.nodes
        assert isinstance(nodes, RelayedNodes)
        return nodes

    def workers(self, party: str) -> list[int]:
        """Workers that a node started itself, as it does from its second session on."""
        node = self.nodes.pid(PartyId(party))
        return [pid for pid in marked(self.mark) if parent_of(pid) == node]

    def stopped_workers(self, party: str) -> list[int]:
        """The worker that has read the study at a node, frozen, so that its next round cannot end."""
        self.federation.explain()
        workers = self.workers(party)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        return workers


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    mark, root = secrets.token_hex(8), tmp_path_factory.mktemp("fleet")
    folder = clinics(*MANY).write(root / "folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARK, mark)
        patch.setattr("xbcompute.simulate.federation.ProcessNodes", RelayedNodes)
        with Simulation(folder, state=root / "state", peer_grace=5.0) as federation:
            made = Fleet(folder, root / "state", mark, federation, {}, {})
            federation.explain()
            before = Counter(made.nodes.counts)
            made.body = federation.run_json()
            made.seen = {way: count - before[way] for way, count in made.nodes.counts.items()}
            yield made
    until(lambda: not marked(mark), what="every process of the simulation has left")


def releases(state: Path) -> dict[str, int]:
    """How many releases each node's store holds."""
    counts = {}
    for party in PARTIES:
        with sqlite3.connect(f"file:{state / party / 'node.sqlite'}?mode=ro", uri=True) as store:
            (counts[party],) = store.execute("select count(*) from releases").fetchone()
        store.close()
    return counts


def test_processes_and_one_process_give_the_same_decision_and_results(fleet: Fleet) -> None:
    with Simulation(fleet.folder, in_process=True) as federation:
        together = federation.run_json()
    for name in ("study", "digest", "decision", "results", "privacy"):
        assert fleet.body[name] == together[name], name

    def frames(body: Mapping[str, Any]) -> dict[tuple[str, str, str], int]:
        return {(row["from"], row["to"], row["kind"]): row["frames"] for row in body["crossings"]}

    assert frames(fleet.body) == frames(together)


def test_the_list_of_crossings_has_every_byte_that_the_wire_saw(fleet: Fleet) -> None:
    listed: dict[tuple[str, str], int] = defaultdict(int)
    for row in fleet.body["crossings"]:
        listed[row["from"], row["to"]] += row["bytes"]
    assert set(listed) == {(one, other) for one in PARTIES for other in PARTIES if one != other}
    for way, count in listed.items():
        assert count <= fleet.seen[way] <= 1.03 * count + 65536, (way, count, fleet.seen[way])


def test_a_killed_worker_ends_its_session_and_not_its_node(fleet: Fleet) -> None:
    before = releases(fleet.state)
    stopped = fleet.stopped_workers(THIRD)
    killed: list[int] = []

    def kill(event: Mapping[str, Any]) -> None:
        if event["state"] == "running" and not killed:
            killed.extend(stopped)
            for pid in stopped:
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(PeerError) as caught:
        fleet.federation.run(progress=kill)
    assert killed and caught.value.code == "worker.gone" and caught.value.exit_code == 5
    assert releases(fleet.state) == before
    assert fleet.federation.run_json()["results"] == fleet.body["results"]


def test_a_killed_node_ends_the_session_at_the_others_and_takes_its_workers_with_it(fleet: Fleet) -> None:
    before = releases(fleet.state)
    node = fleet.nodes.pid(PartyId(SECOND))
    interrupted = {
        party: list(json.loads(caller.status())["sessions"].values()).count("interrupted")
        for party, caller in fleet.federation.nodes.callers.items()
    }
    stopped = fleet.stopped_workers(SECOND)
    killed: list[int] = []

    def kill(event: Mapping[str, Any]) -> None:
        if event["state"] == "running" and not killed:
            killed.extend([*stopped, node])
            fleet.nodes.kill(PartyId(SECOND))
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    with pytest.raises(PeerError) as caught:
        fleet.federation.run(progress=kill)
    assert caught.value.exit_code == 5 and len(killed) > 1
    until(lambda: not set(killed) & set(marked(fleet.mark)), seconds=10, what="the workers of the killed node leave")
    assert releases(fleet.state) == before
    for party in (LEAD, THIRD, FOURTH):

        def ended(party: str = party) -> bool:
            state = json.loads(fleet.federation.nodes.callers[PartyId(party)].status())
            ends = list(state["sessions"].values())
            return ends.count("interrupted") > interrupted[PartyId(party)] and state["links"][SECOND] is False

        until(ended, seconds=10, what=f"{party} notices")
    with pytest.raises(PeerError):
        fleet.federation.run()
    assert releases(fleet.state) == before


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["holder", "simulator"])
def test_from_the_command_line(tmp_path: Path, victim: str) -> None:
    mark = secrets.token_hex(8)
    folder = clinics(*MANY).write(tmp_path / "folder")
    place = tmp_path / "tmp"
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "xbcompute", "simulate", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, MARK: mark, "TMPDIR": str(place)},
    )
    try:
        until(lambda: node_of_store(mark, SECOND) or process.poll() is not None, what="the nodes start")
        node = node_of_store(mark, SECOND)
        until(lambda: rounds(place) or process.poll() is not None, what="the study runs")
        if victim == "simulator":
            process.kill()
            process.wait()
            until(lambda: not marked(mark), seconds=20, what="nodes and workers of a killed simulator leave")
            assert not any(released(store) for store in place.glob("*/*/node.sqlite"))
            return
        os.kill(node, signal.SIGKILL)
        out, errors = process.communicate(timeout=60)
        body = json.loads(out)
        assert process.returncode == 5, (body.get("error"), errors)
        assert body["error"]["exit"] == 5 and not body.get("results")
        until(lambda: not marked(mark), seconds=20, what="all processes leave")
        assert not list(place.glob("xbcompute-*")), "keys and stores of the simulation are gone"
    finally:
        process.kill()
        process.communicate()


def rounds(place: Path) -> int:
    """Rounds that the second hospital has begun."""
    for store in place.glob(f"*/{SECOND}/node.sqlite"):
        try:
            with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
                (count,) = connection.execute("select count(*) from rounds_begun").fetchone()
            connection.close()
        except sqlite3.Error:
            return 0
        return int(count)
    return 0


def released(store: Path) -> int:
    """Releases in one store."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection:
        (count,) = connection.execute("select count(*) from releases").fetchone()
    connection.close()
    return int(count)


def node_of_store(mark: str, party: str) -> int:
    """The process that has the store of ``party`` open, or 0."""
    for pid in marked(mark):
        try:
            links = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for link in links:
            try:
                if link.readlink().match(f"*/{party}/node.sqlite"):
                    return pid
            except OSError:
                continue
    return 0
