"""docs/policy made from the packs and ``mechanisms.toml``: the city paper's mechanisms, and each law with its rules."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from xbcompute.specs.pack import PROJECT_RULE, Citation, Rule, load_pack, shipped_pack_ids

Language = Literal["zh", "en"]
MECHANISMS = Path(__file__).with_name("mechanisms.toml")
NOTE = "<!-- Written by tools/generate_docs.py --write from the source; not edited. -->"


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of the paper; ``files`` is empty where nothing embodies it yet."""

    number: int
    zh: str
    en: str
    files: tuple[str, ...]
    command: str
    note_zh: str
    note_en: str


def mechanisms() -> tuple[Mechanism, ...]:
    """All mechanisms in their order."""
    table = tomllib.loads(MECHANISMS.read_text(encoding="utf-8"))["mechanism"]
    return tuple(
        Mechanism(number, zh, en, tuple(files.split()), command, note_zh, note_en)
        for number, zh, en, files, command, note_zh, note_en in table
    )


def laws() -> Mapping[str, tuple[Citation, tuple[Rule, ...]]]:
    """Each citation with the rules that cite it, in the order of its name."""
    packs = [load_pack(name).pack for name in shipped_pack_ids()]
    found: dict[str, tuple[Citation, tuple[Rule, ...]]] = {}
    for citation in (citation for pack in packs for citation in pack.citation):
        rules = {rule.id: rule for pack in packs for rule in pack.rule if citation.id in rule.cites}
        found[citation.id] = citation, tuple(rules[name] for name in sorted(rules))
    return {name: found[name] for name in sorted(found)}


def project_rules() -> tuple[str, ...]:
    """Ids of rules that are this project's choice in whole or in part."""
    packs = [load_pack(name).pack for name in shipped_pack_ids()]
    return tuple(sorted(rule.id for pack in packs for rule in pack.rule if PROJECT_RULE in rule.cites))


def words() -> Mapping[str, Mapping[str, str]]:
    """The page's own words in both languages."""
    found: Mapping[str, Mapping[str, str]] = tomllib.loads(MECHANISMS.read_text(encoding="utf-8"))["words"]
    return found


def page(language: Language) -> str:
    """docs/policy/README.md or README.zh.md."""
    said = words()

    def word(key: str) -> str:
        return said[key][language]

    every = mechanisms()
    built = sum(bool(one.files) for one in every)
    lines = [
        f"# {word('title')}",
        "",
        word("other"),
        "",
        NOTE,
        "",
        word("lead"),
        "",
        word("table"),
        "",
        f"## {word('mechanisms')}",
        "",
        word("count").format(built=built, open=len(every) - built),
        "",
        word("mechanisms_head"),
        "|---|---|---|---|---|",
        *_mechanism_rows(every, language, word("nothing")),
        "",
        f"## {word('laws')}",
        "",
        word("marks"),
        "",
        word("laws_head"),
        "|---|---|---|---|---|",
        *_law_rows(language),
        "",
        f"{word('project')}: {', '.join(project_rules())}",
    ]
    return "\n".join(lines) + "\n"


def _mechanism_rows(every: tuple[Mechanism, ...], language: Language, nothing: str) -> Iterator[str]:
    for one in every:
        files = "<br>".join(f"[`{name}`](../../{name})" for name in one.files) or nothing
        command = f"`xbcompute {one.command}`" if one.command else "–"
        name, note = (one.zh, one.note_zh) if language == "zh" else (f"{one.en}<br>{one.zh}", one.note_en)
        yield f"| {one.number} | {name} | {files} | {command} | {note} |"


def _law_rows(language: Language) -> Iterator[str]:
    for name, (citation, rules) in laws().items():
        title = citation.title.zh if language == "zh" else citation.title.en
        since = citation.in_force.isoformat() if citation.in_force else "–"
        yield f"| {name} | {title} | {since} | {citation.mark} | {', '.join(rule.id for rule in rules)} |"
