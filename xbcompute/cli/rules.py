"""``xbcompute policy table``, ``diff``, ``check`` and ``yes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from xbcompute.cli.output import print_json
from xbcompute.cli.render import make_console
from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy import comparing, remedy, survey, table
from xbcompute.policy.edits import Case
from xbcompute.policy.verdict import Verdict
from xbcompute.simulate.deciding import clocks, count_all
from xbcompute.specs.load import StudyFolder, load_folder
from xbcompute.specs.pack import LoadedPack, load_pack, shipped_pack_ids

EXIT = {Verdict.PERMIT: 0, Verdict.PERMIT_WITH_CONDITIONS: 0, Verdict.HOLD: 4, Verdict.DENY: 3}


def _packs(names: Sequence[str]) -> list[LoadedPack]:
    return [load_pack(name) for name in names or shipped_pack_ids()]


def _out() -> Console:
    return make_console()


def show_table(names: Sequence[str], *, lang: table.Language, as_json: bool) -> None:
    """Print the rules of the packs as one table each."""
    packs = [loaded.pack for loaded in _packs(names)]
    if as_json:
        print_json({"packs": [f"{pack.id} {pack.version}" for pack in packs], "rules": table.rows(packs)})
        return
    out = _out()
    out.print(table.markdown(packs, lang), markup=False, soft_wrap=True)


def show_survey(names: Sequence[str], *, as_json: bool) -> None:
    """Print what the packs together leave open and what they ask for in vain."""
    loaded = _packs(names)
    if all(one.pack.id != "general" for one in loaded):
        loaded.insert(0, load_pack("general"))
    found = survey.survey([one.pack for one in loaded])
    open_cells = survey.ranges(found["uncovered"])
    in_vain = survey.ranges(found["contradictory"])
    if as_json:
        print_json({**found, "uncovered": open_cells, "contradictory": in_vain})
        return
    out = _out()
    counted = ", ".join(f"{name} {number}" for name, number in found["verdicts"].items())
    out.print(f"{found['cells']} cells: {counted}", markup=False)
    for title, cells in (
        ("Rows that can never be met together", in_vain),
        ("Answered by no row, and so refused (NO-RULE)", open_cells),
    ):
        out.print(f"\n{title}: {'none' if not cells else ''}", markup=False)
        for cell in cells:
            crossing = "across the border" if cell["cross_border"] else "at home"
            where = f"{cell['industry']} · {cell['jurisdiction']} · {cell['regime']} · {crossing}"
            why = f" ({cell['why']})" if cell["why"] else ""
            out.print(f"  {where} · {' '.join(cell['grades'])}: {', '.join(cell['outputs'])}{why}", markup=False)
    beyond = ", ".join(found["beyond"]) or "none"
    out.print(f"\nRules that depend on facts not varied here: {beyond}", markup=False)


def corpus_folders(corpus: Path) -> list[StudyFolder]:
    """Every study folder under ``corpus``, in the order of their paths.

    Raises:
        InputError: there is none, or one is malformed.
    """
    found = [load_folder(file.parent) for file in sorted(corpus.rglob("study.toml"))]
    if not found:
        raise InputError(
            "corpus.empty", f"{corpus.name}: no study folder lies in it.", todo="Name a folder with study folders."
        )
    return found


def people_of_past(folder: StudyFolder) -> dict[PartyId, int]:
    """People at each holder: counted where its data still lies beside it, else its public bound on rows."""
    try:
        return count_all(folder)
    except InputError:
        return {holder.id: folder.dataset(holder.id).rows_max for holder in folder.federation.holders()}


def show_difference(before: str, after: str, *, corpus: Path | None, as_json: bool) -> None:
    """Print which rules differ and which past applications would be decided otherwise."""
    old, new = load_pack(before), load_pack(after)
    comparing.check_pair(old, new)
    rules = comparing.rules(old.pack, new.pack)
    found = [
        comparing.difference(folder, people_of_past(folder), clocks(folder), before=old, after=new)
        for folder in ([] if corpus is None else corpus_folders(corpus))
    ]
    body = {
        "pack": old.pack.id,
        "before": {"version": old.pack.version, "sha256": old.sha256},
        "after": {"version": new.pack.version, "sha256": new.sha256},
        "rules": rules,
        "applications": found,
    }
    if as_json:
        print_json(body)
        return
    out = _out()
    out.print(f"{old.pack.id}: {old.pack.version} → {new.pack.version}", markup=False)
    for kind, names in rules.items():
        out.print(f"  {kind}: {', '.join(names) or 'none'}", markup=False)
    for one in found:
        out.print(f"{one['study']}: {_changes(one['changes'])}", markup=False)


def _changes(changes: Mapping[str, Any]) -> str:
    parts = [
        f"rules gone {', '.join(change['gone']) or '–'}, come {', '.join(change['come']) or '–'}"
        if key == "rules"
        else f"{key} {change['before']} → {change['after']}"
        for key, change in changes.items()
    ]
    return "; ".join(parts) or "no change"


_WORDS: Mapping[str, tuple[str, str]] = {
    "runs": ("可以运行，无需改变。", "It may run as it is."),
    "none": (
        "没有找到至多两处改变就能通过的办法；只有规则改变或有记录的人工裁定才能改变结果。",
        "No set of up to two changes was found; only another rule or a recorded human ruling would alter the answer.",
    ),
    "way": ("办法", "Way"),
    "by": ("协议", "by"),
    "documents": ("文件", "documents"),
    "signatures": ("签署", "signatures"),
    "note": (
        "这些是需要由人去做的事；系统不取得文件，也不代为签署。",
        "People would have to do these things; the system obtains no document and signs nothing.",
    ),
}


def show_remedies(path: Path, *, lang: table.Language, as_json: bool) -> int:
    """Print the smallest changes after which the study may run; the exit code of the decision as it stands."""
    folder = load_folder(path)
    search = remedy.Search(clocks(folder))
    decision, answers = remedy.what_would_make_it_yes(Case(folder, count_all(folder)), search)
    verdict = Verdict(decision["verdict"])
    if as_json:
        print_json(
            {
                "study": folder.study.id,
                "verdict": verdict.value,
                "rules": decision["rules"],
                "ways": [answer.plain() for answer in answers],
            }
        )
        return EXIT[verdict]
    at = 0 if lang == "zh" else 1
    out = _out()
    out.print(f"{folder.study.id}: {verdict.tier} · {verdict.value}", markup=False)
    if verdict.runs:
        out.print(_WORDS["runs"][at], markup=False)
    elif not answers:
        out.print(_WORDS["none"][at], markup=False)
    else:
        for number, answer in enumerate(answers, 1):
            out.print(f"{_WORDS['way'][at]} {number} ({_WORDS['by'][at]} {answer.protocol}):", markup=False)
            for edit in answer.changes:
                out.print(f"  - {edit.text.zh if lang == 'zh' else edit.text.en}", markup=False)
            for key, pairs in (("documents", answer.documents), ("signatures", answer.signatures)):
                if pairs:
                    listed = ", ".join(f"{party}: {name}" for party, name in pairs)
                    out.print(f"  - {_WORDS[key][at]}: {listed}", markup=False)
        out.print(_WORDS["note"][at], markup=False)
    return EXIT[verdict]
