"""``xbcompute simulate``: decide, run, show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbcompute.cli.output import print_json
from xbcompute.cli.progress import live_progress
from xbcompute.cli.render import decision_view, make_console, run_view
from xbcompute.client.results import Run
from xbcompute.core.errors import HeldError, IntegrityError, RefusedError
from xbcompute.simulate import Simulation
from xbcompute.simulate.deciding import decide_folder
from xbcompute.specs.load import load_folder


def verdict_error(decision: dict[str, Any]) -> RefusedError | HeldError | None:
    """The error a verdict that opens no session stands for."""
    rules = ", ".join(decision["rules"])
    if decision["verdict"] == "DENY":
        return RefusedError("policy.deny", f"policy refuses this study (rules {rules}).", todo="See the reasons.")
    if decision["verdict"] == "HOLD":
        missing = [*decision["required_evidence"], *(f"signature of {role}" for role in decision["required_roles"])]
        return HeldError(
            "policy.hold",
            f"policy holds this study (rules {rules}).",
            todo=f"Missing: {', '.join(missing)}." if missing else "See the reasons.",
        )
    return None


def simulate_folder(folder: Path, *, as_json: bool, in_process: bool, known: dict[str, Any]) -> None:
    """Run the folder's study; ``known`` is filled as things become known, for the JSON of an error."""
    read = load_folder(folder)
    known.update({"study": read.study.id, "digest": read.study.digest})
    decision = decide_folder(read)
    known["decision"] = decision
    out = make_console()
    error = verdict_error(decision)
    if error is not None:
        if not as_json:
            out.print(decision_view(decision))
        raise error
    with Simulation(folder, in_process=in_process) as federation, live_progress(quiet=as_json) as progress:
        body = federation.run_json(progress=progress)
    known.update(body)
    wrong = [party for party, ledger in body["ledger"].items() if not ledger["verified"]]
    if not as_json:
        out.print(run_view(Run(body), out.width))
    if wrong:
        raise IntegrityError("ledger.unverified", f"the ledger of {', '.join(wrong)} does not verify.", todo="Keep it.")
    if as_json:
        print_json(body)
