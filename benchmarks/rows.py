"""A generated study: four parties, one Parquet file each, ten covariates, a survival time and a binary outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PARTIES = {"sz-one": "CN", "sz-two": "CN", "sg-one": "SG", "sg-two": "SG"}
LEAD = "sz-one"
COVARIATES = tuple(f"x{index}" for index in range(10))
BOUND = 5.0
LAST_DAY = 700
CARDS = {"masked-sum": "masked", "clear-aggregate": "clear"}

_ANALYSES = {
    "cox": 'kind = "cox"\ntime = "day"\nevent = "event"\nties = "efron"\nbaseline = "site"',
    "logistic": 'kind = "logistic"\noutcome = "outcome"',
}


@dataclass(frozen=True)
class Pooled:
    """The rows of all parties, one array a column; ``party`` is the index of each row's holder."""

    covariates: NDArray[np.float64]
    day: NDArray[np.float64]
    event: NDArray[np.int64]
    outcome: NDArray[np.int64]
    party: NDArray[np.int64]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.day)


def made_rows(n: int) -> Pooled:
    """``n`` rows, in turn one for each party; repeatable."""
    random = np.random.default_rng(20261124)  # noqa: TID251
    x = random.normal(size=(n, len(COVARIATES))).clip(-BOUND, BOUND)
    slope = x @ np.linspace(-0.4, 0.5, len(COVARIATES))
    lifetime = random.exponential(400 * np.exp(-slope))
    leaving = random.uniform(100, LAST_DAY, n)
    return Pooled(
        covariates=x,
        day=np.ceil(np.minimum(lifetime, leaving)),
        event=(lifetime <= leaving).astype(np.int64),
        outcome=(random.uniform(size=n) < 1 / (1 + np.exp(0.5 - slope))).astype(np.int64),
        party=np.arange(n) % len(PARTIES),
    )


def study_id(analysis: str, card: str) -> str:
    """The id of the study that runs one analysis under one card."""
    return f"{analysis}-{CARDS[card]}"


def write_folder(folder: Path, rows: Pooled) -> None:
    """Write the study folder; ``study.toml`` is the first of the studies that :func:`study_text` makes."""
    (folder / "study.toml").write_text(study_text("cox", "masked-sum"), encoding="utf-8")
    parties = "".join(
        f'[[party]]\nid = "{party}"\njurisdiction = "{where}"\nroles = ["holder", "recipient"]\n'
        for party, where in PARTIES.items()
    )
    (folder / "federation.toml").write_text(f'[federation]\nid = "benchmark"\n{parties}', encoding="utf-8")
    for index, (party, where) in enumerate(PARTIES.items()):
        site = folder / "sites" / party
        site.mkdir(parents=True)
        count = _write_rows(site / "rows.parquet", rows, index)
        (site / "site.toml").write_text(_site_text(party, where, count), encoding="utf-8")


def study_text(analysis: str, card: str) -> str:
    """``study.toml`` of one analysis under one card."""
    return f"""[study]
id = "{study_id(analysis, card)}"
title = "Benchmark of {analysis} under {card}"
industry = "biomed"
purpose = "outcome_research"
lead = "{LEAD}"
recipients = ["{LEAD}"]
partition = "horizontal"
[study.data]
dataset = "rows"
[study.protocol]
prefer = ["{card}"]
[[analysis]]
id = "fit"
{_ANALYSES[analysis]}
covariates = [{", ".join(f'"{name}"' for name in COVARIATES)}]
"""


def _write_rows(path: Path, rows: Pooled, index: int) -> int:
    mine = rows.party == index
    columns: dict[str, Any] = {"row": np.flatnonzero(mine)}
    columns |= {name: rows.covariates[mine, at] for at, name in enumerate(COVARIATES)}
    columns |= {"day": rows.day[mine], "event": rows.event[mine], "outcome": rows.outcome[mine]}
    pq.write_table(pa.table(columns), path)
    return int(mine.sum())


def _site_text(party: str, where: str, count: int) -> str:
    number = '[dataset.columns.{0}]\ntype = "number"\nbounds = [{1}, {2}]\n'
    columns = [number.format(name, -BOUND, BOUND) for name in COVARIATES]
    columns += [number.format("day", 0, LAST_DAY), number.format("event", 0, 1), number.format("outcome", 0, 1)]
    approval = """[[approval]]
study = "{}"
purpose = "outcome_research"
from = 2026-06-01
to = 2027-06-01
outputs = ["aggregate"]
roles = ["DS", "DPO", "EC-IRB", "CP"]
"""
    approvals = [approval.format(study_id(analysis, card)) for analysis in _ANALYSES for card in CARDS]
    return f"""[site]
party = "{party}"
packs = ["{where.lower()}", "biomed"]
cell_scope = "pooled"
clock = 2026-11-24T10:00:00+08:00
[entity]
listed_partner_until = 2027-12-31
[[dataset]]
id = "rows"
source = "rows.parquet"
origin = "{where}"
collected_in = "{where}"
subjects = "row"
rows_per_subject = "one"
rows_min = {count}
rows_max = {count}
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
{"".join(columns)}{"".join(approvals)}"""
