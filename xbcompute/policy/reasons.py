"""Reasons in both languages, found by rule id."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from xbcompute.specs.base import Spec
from xbcompute.specs.pack import PROJECT_RULE, Pack, Rule, load_pack, shipped_pack_ids
from xbcompute.specs.wording import Mark


class Note(NamedTuple):
    """A rule that applied, with local detail in both languages (may be empty)."""

    rule: str
    zh: str = ""
    en: str = ""


class Reason(Spec):
    """Why: the rule's own wording, local facts after it, its mark and what it cites."""

    rule: str
    zh: str
    en: str
    mark: Mark
    citations: tuple[str, ...]


def explain(notes: Iterable[Note], packs: Iterable[Pack]) -> tuple[Reason, ...]:
    """One reason for each note, in order, without repetitions; rules are looked up in ``packs`` and shipped packs."""
    rules = _index(packs)
    reasons: dict[Note, Reason] = {}
    for note in notes:
        rule = rules.get(note.rule)
        if rule is not None:
            reasons[note] = Reason(
                rule=rule.id,
                zh=rule.text.zh + (f"（{note.zh}）" if note.zh else ""),
                en=rule.text.en + (f" ({note.en})" if note.en else ""),
                mark=rule.mark,
                citations=rule.cites,
            )
    return tuple(reasons.values())


@functools.cache
def _shipped() -> Mapping[str, Rule]:
    return {rule.id: rule for name in shipped_pack_ids() for rule in load_pack(name).pack.rule}


def _index(packs: Iterable[Pack]) -> Mapping[str, Rule]:
    return {**_shipped(), **{rule.id: rule for pack in packs for rule in pack.rule}}


def citations(notes: Iterable[Note], packs: Iterable[Pack]) -> tuple[str, ...]:
    """What the notes' rules cite, sorted, the words ``project rule`` last."""
    found = {name for reason in explain(notes, packs) for name in reason.citations}
    return (*sorted(found - {PROJECT_RULE}), *sorted(found & {PROJECT_RULE}))


def permits(rule: str) -> bool:
    """Whether a shipped rule of this id is an answer that permits, outright or with conditions."""
    found = _shipped().get(rule)
    return found is not None and found.verdict in ("PERMIT", "PERMIT_WITH_CONDITIONS")


def severity(rule: str) -> int:
    """Where a reason stands: rows that refuse, what the code found wanting, rows that hold or permit, the rest."""
    found = _shipped().get(rule)
    if found is None or (found.verdict is None and not found.match and rule != "X08"):
        return 1
    order = {"DENY": 0, "HOLD": 2, "PERMIT_WITH_CONDITIONS": 3, "PERMIT": 3}
    return order.get(found.verdict or "", 4)
