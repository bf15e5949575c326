"""The decision table as the packs state it: one row a rule, in Chinese or English."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from xbcompute.specs.pack import Match, Pack, Rule
from xbcompute.specs.wording import Wording

Language = Literal["zh", "en"]

HEADS: dict[Language, tuple[str, ...]] = {
    "zh": ("规则", "条件", "结论", "协议类别", "要求", "角色与文件", "依据", "标记"),
    "en": ("rule", "condition", "verdict", "families", "asks for", "roles and documents", "cites", "mark"),
}


def rows(packs: Iterable[Pack]) -> list[dict[str, Any]]:
    """Every rule with its pack, conditions, verdict, requirements, citations, mark and both wordings."""
    return [_row(pack, rule) for pack in packs for rule in pack.rule]


def _row(pack: Pack, rule: Rule) -> dict[str, Any]:
    requires = rule.requires.model_dump(mode="json", exclude_defaults=True)
    return {
        "rule": rule.id,
        "pack": pack.id,
        "jurisdiction": pack.jurisdiction,
        "zone": pack.zone,
        "industry": pack.industry,
        "match": [condition(match) for match in rule.match],
        "verdict": rule.verdict,
        "covers": list(rule.covers),
        "until": list(rule.until),
        "requires": requires,
        "cites": list(rule.cites),
        "mark": rule.mark,
        "text": rule.text.plain(),
    }


def condition(match: Match) -> str:
    """One condition as text."""
    value = match.value
    shown = "{" + ", ".join(map(str, value)) + "}" if isinstance(value, tuple) else str(value)
    sign = {"in": "∈", "not in": "∉", ">=": "≥", "<=": "≤", "!=": "≠"}.get(match.op, match.op)
    return f"{match.field} {sign} {shown.replace('True', 'true').replace('False', 'false')}"


def markdown(packs: Iterable[Pack], lang: Language) -> str:
    """The table as markdown, one section a pack, each rule's wording under it."""
    lines: list[str] = []
    for pack in packs:
        lines += [f"## {pack.id} {pack.version} · {_of(pack.title, lang)}", ""]
        lines += ["| " + " | ".join(HEADS[lang]) + " |", "|" + "---|" * len(HEADS[lang])]
        lines += ["| " + " | ".join(_cells(_row(pack, rule), lang)) + " |" for rule in pack.rule]
        lines.append("")
    return "\n".join(lines)


def _of(text: Wording, lang: Language) -> str:
    return text.zh if lang == "zh" else text.en


def _cells(row: dict[str, Any], lang: Language) -> tuple[str, ...]:
    requires = dict(row["requires"])
    families = requires.pop("families", [])
    people = [*requires.pop("roles", []), *requires.pop("evidence", [])]
    until = f" → {' + '.join(row['until'])}" if row["until"] else ""
    by_name = "按名引用" if lang == "zh" else "by name"
    asked = ", ".join(f"{name} {_shown(value)}" for name, value in requires.items())
    cells = (
        f"**{row['rule']}** {row['text'][lang]}",
        " ∧ ".join(row["match"]) or by_name,
        (row["verdict"] or "–") + until,
        ", ".join(families) or "–",
        asked or "–",
        ", ".join(people) or "–",
        " · ".join(row["cites"]),
        row["mark"],
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
