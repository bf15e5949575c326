"""Commands that read and check: study folders, JSON Schemas, ledgers, vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbcompute.cli.output import print_json
from xbcompute.cli.render import make_console
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.specs.base import Spec
from xbcompute.specs.card import Card
from xbcompute.specs.federation import Federation
from xbcompute.specs.load import load_folder
from xbcompute.specs.pack import Pack
from xbcompute.specs.site import Site
from xbcompute.specs.study import Study

_MODELS: dict[str, type[Spec]] = {"study": Study, "federation": Federation, "site": Site, "pack": Pack, "card": Card}


def json_schema(file: str) -> dict[str, Any]:
    """The JSON Schema of one of the files people write."""
    schema = _MODELS[file].model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def check_folder(folder: Path, *, as_json: bool) -> None:
    """Read a study folder and every holder's data, and set up its analyses; the first fault ends it."""
    from xbcompute.analyses import BUILT, build
    from xbcompute.simulate.deciding import count_all, joint_schema

    read = load_folder(folder)
    people = count_all(read)
    if read.study.study.partition == "horizontal":
        schema = joint_schema(read)
        for analysis in read.study.analysis:
            if analysis.kind in BUILT:
                build(analysis, schema)
    if as_json:
        print_json({"study": read.study.id, "digest": read.study.digest, "holders": sorted(people)})
        return
    holders = ", ".join(sorted(people))
    make_console().print(f"{read.study.id}: the folder and the data of {holders} can be read. Nothing was started.")


def verify_ledger(file: Path, keys: list[str], *, as_json: bool) -> None:
    """Verify a ledger file offline."""
    from xbcompute.ledger.verify import verify_file

    pinned: dict[str, str] = {}
    for entry in keys:
        party, equals, key = entry.partition("=")
        if not equals or not key.startswith("ed25519:"):
            raise InputError("option.key", "--key takes PARTY=ed25519:….", todo="Copy it from federation.toml.")
        pinned[party] = key
    report = verify_file(file, pinned or None)
    if as_json:
        print_json(report.to_json())
        return
    out = make_console()
    out.print(f"{file.name}: verified; {report.size} records, root {report.root}.")
    if not pinned:
        out.print("The keys are the file's own: name the pinned ones with --key to know whose ledger it is.")


def run_selftest(*, as_json: bool) -> None:
    """Replay all vectors; exit 6 if one fails."""
    from xbcompute.engines.selftest import selftest
    from xbcompute.specs.shipped import protocols

    outcomes = list(selftest(protocols()))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if as_json:
        print_json({"vectors": len(outcomes), "failed": [f"{o.card}/{o.name}" for o in failed]})
    else:
        out = make_console()
        for outcome in outcomes:
            out.print(
                f"{'ok    ' if outcome.passed else 'FAILED'} {outcome.card}/{outcome.name} {outcome.fault}".rstrip()
            )
    if failed:
        raise IntegrityError(
            "selftest.failed",
            f"{len(failed)} of {len(outcomes)} vectors failed on this machine.",
            todo="Do not compute with this installation.",
        )
