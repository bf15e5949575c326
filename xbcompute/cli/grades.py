"""``xbcompute demo grades``: one study, its data graded six ways, over two, three and four hospitals."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.table import Table as Grid
from rich.text import Text

from xbcompute.cli.output import print_json
from xbcompute.cli.render import VERDICT_STYLES, make_console
from xbcompute.policy.illustration import HOLDERS, PEOPLE, answers
from xbcompute.policy.reasons import permits, severity


def show_grades(*, as_json: bool) -> None:
    """Print which protocol, or which refusal, each grade and number of hospitals gets, and why."""
    found = answers()
    if as_json:
        print_json({"study": "illustration", "people_each": PEOPLE, "answers": found})
        return
    out = make_console()
    out.print("One linear model over hospitals in Suzhou and Singapore, documents and signatures in order.")
    out.print("同一个线性模型，苏州与新加坡的医院，文件与签署齐备；只改变数据的级别与医院的数目。\n")
    table = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), expand=False)
    table.add_column("data 数据")
    for number in HOLDERS:
        table.add_column(f"{number} hospitals 家")
    names = dict.fromkeys(one["data"] for one in found)
    for data in names:
        cells = [one for one in found if one["data"] == data]
        head = Text(f"{cells[0]['name']['en']} {cells[0]['name']['zh']}\n{cells[0]['grade']}")
        table.add_row(head, *(_cell(one) for one in cells))
    out.print(table)
    out.print("Why 理由 (the gravest reasons of each cell):", markup=False)
    shown: dict[str, dict[str, Any]] = {}
    for one in found:
        for reason in _main(one):
            shown.setdefault(reason["rule"], reason)
    for rule in sorted(shown):
        out.print(f"  {rule} [{shown[rule]['mark']}] {shown[rule]['en']}\n    {shown[rule]['zh']}", markup=False)


def _main(one: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a refusal or a hold what says most about it, else the rows that permit."""
    reasons: list[dict[str, Any]] = one["reasons"]
    if one["verdict"] in ("DENY", "HOLD"):
        telling = [reason for reason in reasons if _telling(reason["rule"]) < len(_ORDER)]
        return sorted(telling or reasons, key=lambda reason: _telling(reason["rule"]))[:3]
    return [reason for reason in reasons if permits(reason["rule"])][:3]


_ORDER = ("row", "C4.", "NOISE", "EVIDENCE", "CARD-ADVERSARY")
"""Rows that refuse or hold, then what stands against protocols, then what is missing."""


def _telling(rule: str) -> int:
    if severity(rule) in (0, 2):
        return 0
    return next((at for at, start in enumerate(_ORDER) if rule.startswith(start)), len(_ORDER))


def _cell(one: dict[str, Any]) -> Text:
    held = {"HOLD": "held 暂停", "DENY": "refused 拒绝"}.get(one["verdict"])
    what = held or one["protocol"]
    rules = ", ".join(dict.fromkeys(reason["rule"] for reason in _main(one)))
    return Text.assemble((f"{what}\n", VERDICT_STYLES[one["verdict"]]), (f"{one['tier']} · {rules}", "dim"))
