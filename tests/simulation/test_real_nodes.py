"""Real nodes, from making keys to verifying a ledger, with the commands an operator has; nothing of the simulation."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import xbcompute as xb
from xbcompute.cli.app import app

PARTIES = {"suzhou-lab": "CN", "sip-lab": "CN", "sg-lab": "SG"}
ROWS = {"suzhou-lab": range(0, 40), "sip-lab": range(100, 170), "sg-lab": range(30, 95)}
PACKS = ("cn", "sg", "biomed")

STUDY = """
[study]
id = "open-heights"
title = "Mean of an open measurement"
industry = "biomed"
purpose = "outcome_research"
lead = "suzhou-lab"
recipients = ["suzhou-lab"]
[study.data]
dataset = "open"
[[analysis]]
id = "d"
kind = "describe"
columns = ["x"]
"""

SITE = """
[site]
party = "{party}"
packs = ["{law}", "biomed"]
cell_scope = "pooled"
[entity]
ciio = false
zone = "none"
listed_partner_until = 2099-01-01
[[user]]
id = "ana"
certificate = "ana.crt"
signing_key = "{user_key}"
roles = ["AP", "DS"]
[[user]]
id = "bo"
certificate = "bo.crt"
signing_key = "{second_key}"
roles = ["DPO"]
[[dataset]]
id = "open"
source = "open.csv"
origin = "{origin}"
subjects = "id"
rows_per_subject = "one"
rows_max = 100
rows_min = 30
cn_grade = "general"
important_source = "none"
pi = "none"
health_level = 1
hgr = "none"
minors_under14 = false
special_disease = false
state_organ_data = false
export_control = {{ cn = "none", sg = "none" }}
sg_class = "none"
[dataset.columns.x]
type = "number"
bounds = [0, 400]
"""


def xbc(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """A command, run in this process to save its start; the nodes are processes of their own."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, (arguments, done.output)
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def lay_out(root: Path) -> dict[str, int]:
    """Every party's folder, as an operator would fill it; the ports they listen on."""
    federation = ['[federation]\nid = "open-pilot"\n']
    signatures: dict[str, dict[str, Any]] = {}
    ports = {party: free_port() for party in PARTIES}
    for party, law in PARTIES.items():
        home = root / party
        (home / "certs").mkdir(parents=True)
        made = xbc("keys", "new", home / "identity.pem", "--federation", "open-pilot", "--name", party)
        user = xbc("keys", "new", home / "ana.pem", "--federation", "open-pilot", "--name", f"{party}.ana")
        second = xbc("keys", "new", home / "bo.pem", "--federation", "open-pilot", "--name", f"{party}.bo")
        federation.append(
            f'[[party]]\nid = "{party}"\njurisdiction = "{law}"\nroles = ["holder", "recipient"]\n'
            f'address = "127.0.0.1:{ports[party]}"\ncertificate = "certs/{party}.crt"\n'
            f'signing_key = "{made["signing_key"]}"\n'
        )
        head, dataset = SITE.format(
            party=party, law=law.lower(), origin=law, user_key=user["signing_key"], second_key=second["signing_key"]
        ).split("[[dataset]]")
        coded = (
            dataset.replace('"open"', '"coded"').replace('pi = "none"', 'pi = "anonymised"').replace("= 1\n", "= 2\n")
        )
        (home / "site.toml").write_text("[[dataset]]".join([head, dataset, coded]))
        (home / "open.csv").write_text("id,x\n" + "".join(f"p{i},{i * 1.5}\n" for i in ROWS[party]))
        signed = xbc("policy", "sign", *PACKS, "--identity", home / "identity.pem", "--party", party)
        for entry in signed["pack"]:
            kept = signatures.setdefault(entry["id"], {**entry, "signatures": {}})
            kept["signatures"].update(entry["signatures"])
    for entry in signatures.values():
        pairs = ", ".join(f'"{party}" = "{value}"' for party, value in entry["signatures"].items())
        federation.append(
            f'[[pack]]\nid = "{entry["id"]}"\nversion = "{entry["version"]}"\nsha256 = "{entry["sha256"]}"\n'
            f"signatures = {{ {pairs} }}\n"
        )
    for party in PARTIES:
        (root / party / "federation.toml").write_text("\n".join(federation))
        for other in PARTIES:
            (root / party / "certs" / f"{other}.crt").write_bytes((root / other / "identity.crt").read_bytes())
    (root / "study.toml").write_text(STUDY)
    return ports


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    root = tmp_path_factory.mktemp("real")
    ports = lay_out(root)
    with ExitStack() as stack:
        processes = []
        for party, port in ports.items():
            command = [sys.executable, "-m", "xbcompute", "node", "serve", str(root / party)]
            process = subprocess.Popen(
                [*command, "--listen", f"127.0.0.1:{port}", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            processes.append(process)
        for party, process in zip(ports, processes, strict=True):
            assert process.stdout is not None
            assert json.loads(process.stdout.readline()) == {"party": party, "port": ports[party]}
            stack.callback(process.stdout.close)
        yield root, ports


def wait_linked(root: Path, ports: dict[str, int]) -> None:
    """Return once every node has a link to every other."""
    for party, port in ports.items():
        home = root / party
        certificate = home / "certs" / f"{party}.crt"
        with xb.connect(f"127.0.0.1:{port}", identity=home / "ana.pem", certificate=certificate) as node:
            for _ in range(600):
                if all(node.status()["links"].values()):
                    break
                time.sleep(0.05)
            else:
                raise AssertionError(f"the node of {party} did not link")


@pytest.mark.processes
def test_a_study_through_real_nodes(nodes: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    root, ports = nodes
    wait_linked(root, ports)
    home = root / "suzhou-lab"
    ask: list[str | Path] = ["--identity", home / "ana.pem", "--certificate", home / "certs" / "suzhou-lab.crt"]
    address = f"127.0.0.1:{ports['suzhou-lab']}"
    body = xbc("study", "run", root / "study.toml", "--node", address, *ask)
    values = [i * 1.5 for rows in ROWS.values() for i in rows]
    described = body["results"]["d"]["all"]["x"]
    assert body["decision"]["protocol"] == "clear-aggregate"
    assert described["n"] == len(values)
    assert described["mean"] == pytest.approx(sum(values) / len(values), rel=1e-12)
    assert xbc("node", "status", address, *ask)["ledger"]["size"] >= 3
    with xb.connect(address, identity=home / "ana.pem", certificate=home / "certs" / "suzhou-lab.crt") as node:
        file = node.export_ledger(tmp_path / "suzhou.ledger")
    pinned = tomllib.loads((home / "federation.toml").read_text())["party"]
    keys = [word for party in pinned for word in ("--key", f"{party['id']}={party['signing_key']}")]
    verified = xbc("ledger", "verify", file, *keys)
    assert verified["verified"] and verified["pinned"]
    assert set(verified["witnessed"]) == {"sip-lab", "sg-lab"}


@pytest.mark.processes
def test_a_study_is_held_until_every_site_has_signed(nodes: tuple[Path, dict[str, int]]) -> None:
    root, ports = nodes
    wait_linked(root, ports)
    text = STUDY.replace('dataset = "open"', 'dataset = "coded"').replace("open-heights", "coded-heights")
    (root / "coded.toml").write_text(text)

    def at(party: str, user: str) -> list[str | Path]:
        home = root / party
        address = f"127.0.0.1:{ports[party]}"
        return ["--node", address, "--identity", home / f"{user}.pem", "--certificate", home / "certs" / f"{party}.crt"]

    held = xbc("study", "run", root / "coded.toml", *at("suzhou-lab", "ana"), code=4)
    assert held["error"]["code"] == "policy.hold"
    decision = xbc("study", "explain", root / "coded.toml", *at("suzhou-lab", "ana"), code=4)
    assert decision["required_roles"] == ["DPO", "DS"]
    window = ["--from", "2020-01-01", "--to", "2090-01-01"]
    for party in PARTIES:
        for user, role in (("ana", "DS"), ("bo", "DPO")):
            words = [decision["application"], *at(party, user), "--user", user, "--role", role]
            assert xbc("approve", *words, *window)["role"] == role
    refused = xbc(
        "approve", decision["application"], *at("sg-lab", "bo"), "--user", "bo", "--role", "DS", *window, code=6
    )
    assert refused["error"]["code"] == "approval.role"
    body = xbc("study", "run", root / "coded.toml", *at("suzhou-lab", "ana"))
    assert body["results"]["d"]["all"]["x"]["n"] == sum(map(len, ROWS.values()))


@pytest.mark.processes
def test_a_party_that_is_no_recipient_gets_the_status_only(nodes: tuple[Path, dict[str, int]]) -> None:
    root, ports = nodes
    wait_linked(root, ports)
    text = STUDY.replace('lead = "suzhou-lab"', 'lead = "sg-lab"').replace("open-heights", "open-heights-2")
    (root / "second.toml").write_text(text)
    home = root / "sg-lab"
    command = [sys.executable, "-m", "xbcompute", "study", "run", str(root / "second.toml"), "--json"]
    command += ["--node", f"127.0.0.1:{ports['sg-lab']}", "--identity", str(home / "ana.pem")]
    command += ["--certificate", str(home / "certs" / "sg-lab.crt")]
    done = subprocess.run(
        command,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert json.loads(done.stdout)["error"]["code"] == "release.recipient"


@pytest.mark.processes
def test_a_real_node_refuses_what_is_for_simulation(nodes: tuple[Path, dict[str, int]], tmp_path: Path) -> None:
    root, _ = nodes
    home = tmp_path / "node"
    home.mkdir()
    for name in ("identity.pem", "federation.toml", "ana.crt", "bo.crt", "site.toml"):
        (home / name).write_bytes((root / "sg-lab" / name).read_bytes())
    (home / "identity.pem").chmod(0o600)
    (home / "certs").symlink_to(root / "sg-lab" / "certs")
    site = (home / "site.toml").read_text()
    (home / "site.toml").write_text(site.replace("[entity]", "clock = 2026-11-24T10:00:00+08:00\n[entity]"))
    done = subprocess.run(
        [sys.executable, "-m", "xbcompute", "node", "serve", str(home), "--json"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "site.simulation"
