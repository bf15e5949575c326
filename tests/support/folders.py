"""Study folders on disk, built from a pandas frame as somebody who has only read the file reference would."""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

import xbcompute as xb

CLOCK = dt.datetime.fromisoformat("2026-11-24T10:00:00+08:00")
FOUR = {"sz-hospital-1": "CN", "sz-hospital-2": "CN", "sg-centre-1": "SG", "sg-centre-2": "SG"}
ROLES = ["DS", "DPO", "EC-IRB", "CP"]
LEVEL4: dict[str, Any] = {
    "cn_grade": "general",
    "important_source": "none",
    "pi": "sensitive",
    "health_level": 4,
    "hgr": "none",
    "minors_under14": False,
    "state_organ_data": False,
    "export_control": {"cn": "none", "sg": "none"},
    "special_disease": False,
    "sg_class": "none",
}
PUBLIC: dict[str, Any] = {**LEVEL4, "pi": "none", "health_level": 1}
ANONYMISED: dict[str, Any] = {**LEVEL4, "pi": "anonymised", "health_level": 2}
FLEET: dict[str, Any] = {
    "cn_grade": "general",
    "important_source": "none",
    "pi": "none",
    "export_control": {"cn": "none", "sg": "none"},
    "sg_class": "none",
}
EVIDENCE = {"CN": ("PIA", "SC_FILING", "IRB_CN"), "SG": ("IRB_SG", "SG_TRANSFER_BASIS")}


class Draft:
    """A study folder under construction: plain tables to change, then :meth:`write`.

    ``parties`` are the holders and their jurisdictions; ``owner`` says which holder each row of ``frame`` belongs to
    (default: in turn). Everything else starts as the example of the file reference has it.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        columns: Mapping[str, Mapping[str, Any]],
        *analyses: Mapping[str, Any],
        parties: Mapping[str, str] | None = None,
        owner: Sequence[int] | np.ndarray[Any, Any] | None = None,
        grade: Mapping[str, Any] | None = None,
        industry: str = "biomed",
        purpose: str | None = None,
        study: str = "unseen",
        subjects: str | None = None,
        kind: str = "csv",
        **data: Any,
    ) -> None:
        parties = dict(parties or FOUR)
        grade = dict(LEVEL4 if grade is None else grade)
        self.kind = kind
        purpose = purpose or ("outcome_research" if industry == "biomed" else "reliability_stats")
        holders = list(parties)
        owners = np.arange(len(frame)) % len(holders) if owner is None else np.asarray(owner)
        if subjects is None:
            subjects = "pid"
            frame = frame.assign(pid=[f"p{row:06d}" for row in range(len(frame))])
        self.frames = {party: frame[owners == place].reset_index(drop=True) for place, party in enumerate(holders)}
        self.study: dict[str, Any] = {
            "study": {
                "id": study,
                "title": "A study of somebody else",
                "industry": industry,
                "purpose": purpose,
                "lead": holders[0],
                "recipients": [holders[0], holders[-1]],
                "partition": "horizontal",
                "data": {"dataset": "rows", **data},
            },
            "analysis": [dict(analysis) for analysis in analyses],
        }
        self.federation: dict[str, Any] = {
            "federation": {"id": "unseen-federation"},
            "party": [
                {"id": party, "jurisdiction": where, "roles": ["holder", "recipient"]}
                for party, where in parties.items()
            ],
        }
        self.sites: dict[str, dict[str, Any]] = {}
        for party, where in parties.items():
            dataset = {
                "id": "rows",
                "source": {"csv": "rows.csv", "parquet": "rows.parquet"}.get(kind, "duckdb://rows.duckdb?table=rows"),
                "origin": where,
                "subjects": subjects,
                "rows_per_subject": "one",
                "rows_max": len(self.frames[party]) + 20,
                "rows_min": max(len(self.frames[party]), 1),
                **copy.deepcopy(grade),
                "columns": {name: dict(column) for name, column in columns.items()},
            }
            if where == "SG" and grade["pi"] == "sensitive":
                dataset["sg_class"] = "personal"
            if grade["pi"] not in ("none", "anonymised"):
                others = [other for other in holders if other != party]
                dataset["consent"] = {"purposes": [purpose], "recipients": others, "export": True}
            self.sites[party] = {
                "site": {"party": party, "packs": [where.lower(), industry], "cell_scope": "pooled", "clock": CLOCK},
                "entity": {
                    "ciio": False,
                    "zone": "suzhou-ftz" if where == "CN" else "none",
                    "listed_partner_until": dt.date(2027, 12, 31),
                    "pipl42_listed": False,
                    "counted_this_year": {"sensitive": 0, "non_sensitive": 0},
                },
                "dataset": [dataset],
                "evidence": [
                    {"kind": kind, "number": f"no-{kind}", "from": dt.date(2026, 3, 1), "to": dt.date(2029, 3, 1)}
                    for kind in EVIDENCE.get(where, ())
                ],
                "approval": [
                    {
                        "study": study,
                        "purpose": purpose,
                        "from": dt.date(2026, 6, 1),
                        "to": dt.date(2027, 6, 1),
                        "outputs": ["aggregate", "dp_aggregate", "model_dp", "psi_cardinality"],
                        "roles": list(ROLES),
                    }
                ],
            }

    # ---- changes -------------------------------------------------------------------------------------------------

    def dataset(self, party: str) -> dict[str, Any]:
        """One party's dataset table."""
        found: dict[str, Any] = self.sites[party]["dataset"][0]
        return found

    def every(self, **keys: Any) -> Draft:
        """Set keys of every dataset."""
        for site in self.sites.values():
            for dataset in site.get("dataset", []):
                dataset.update(copy.deepcopy(keys))
        return self

    def header(self, **keys: Any) -> Draft:
        """Set keys of ``[study]``."""
        self.study["study"].update(keys)
        return self

    def entity(self, party: str, **keys: Any) -> Draft:
        """Set keys of one party's ``[entity]``."""
        self.sites[party].setdefault("entity", {}).update(keys)
        return self

    def clock(self, moment: str) -> Draft:
        """Set every site's clock."""
        for site in self.sites.values():
            site["site"]["clock"] = dt.datetime.fromisoformat(moment)
        return self

    def without_evidence(self, kind: str, party: str | None = None) -> Draft:
        """Take one kind of document away, at one party or at all."""
        for name, site in self.sites.items():
            if party in (None, name):
                site["evidence"] = [entry for entry in site.get("evidence", []) if entry["kind"] != kind]
        return self

    def add_party(self, name: str, where: str, *roles: str, **entity: Any) -> Draft:
        """A party without data, with a site.toml if it has entity facts."""
        self.federation["party"].append({"id": name, "jurisdiction": where, "roles": list(roles)})
        if entity:
            self.sites[name] = {"site": {"party": name, "clock": CLOCK}, "entity": entity}
        return self

    # ---- out -----------------------------------------------------------------------------------------------------

    def write(self, root: Path) -> Path:
        """The folder on disk."""
        root.mkdir(parents=True, exist_ok=True)
        (root / "study.toml").write_text(toml(self.study), encoding="utf-8")
        (root / "federation.toml").write_text(toml(self.federation), encoding="utf-8")
        for party, site in self.sites.items():
            place = root / "sites" / party
            place.mkdir(parents=True, exist_ok=True)
            (place / "site.toml").write_text(toml(site), encoding="utf-8")
            if party in self.frames:
                store(self.frames[party], place, self.kind)
        return root


def store(frame: pd.DataFrame, place: Path, kind: str) -> None:
    """The frame as ``rows.csv``, ``rows.parquet`` or the table ``rows`` of ``rows.duckdb``."""
    if kind == "csv":
        frame.to_csv(place / "rows.csv", index=False)
    elif kind == "parquet":
        frame.to_parquet(place / "rows.parquet", index=False)
    else:
        (place / "rows.duckdb").unlink(missing_ok=True)
        with duckdb.connect(str(place / "rows.duckdb")) as connection:
            connection.register("frame", frame)
            connection.execute("CREATE TABLE rows AS SELECT * FROM frame")


def number(low: float, high: float, **more: Any) -> dict[str, Any]:
    """A number with bounds."""
    return {"type": "number", "bounds": [low, high], **more}


def category(*levels: str, **more: Any) -> dict[str, Any]:
    """A category."""
    return {"type": "category", "levels": list(levels), **more}


def results(draft: Draft, root: Path) -> dict[str, Any]:
    """The results of a study run in this process."""
    return whole(draft, root)["results"]  # type: ignore[no-any-return]


def whole(draft: Draft, root: Path) -> dict[str, Any]:
    """Everything that ``simulate --json`` prints, of a study run in this process."""
    with xb.simulate(draft.write(root), in_process=True) as federation:
        return federation.run_json()


def decide(draft: Draft, root: Path) -> dict[str, Any]:
    """What ``policy decide --json`` prints."""
    from xbcompute.simulate.deciding import decide_folder
    from xbcompute.specs.load import load_folder

    return decide_folder(load_folder(draft.write(root)))


def command(*arguments: str | Path, timeout: float = 120) -> tuple[int, dict[str, Any], str]:
    """``xbcompute ARGUMENTS`` as a process of its own: exit code, the one object of its standard output, its errors."""
    done = subprocess.run(
        [sys.executable, "-m", "xbcompute", *map(str, arguments)],
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "80"},
    )
    out = done.stdout.decode("utf-8")
    assert out.count("\n") == 1 and out.endswith("\n"), (out, done.stderr.decode())
    body = json.loads(out)
    assert isinstance(body, dict)
    return done.returncode, body, done.stderr.decode("utf-8")


# ---- TOML ------------------------------------------------------------------------------------------------------------


def toml(tables: Mapping[str, Any]) -> str:
    """Tables as TOML: top-level tables and arrays of tables with headers, everything below in line."""
    lines = []
    for name, value in tables.items():
        if isinstance(value, Mapping):
            lines += [f"[{name}]", *_lines(value), ""]
        elif isinstance(value, list):
            for entry in value:
                lines += [f"[[{name}]]", *_lines(entry), ""]
        else:
            lines.insert(0, f"{name} = {_value(value)}")
    return "\n".join(lines)


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(name)} = {_value(value)}" for name, value in table.items()]


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
