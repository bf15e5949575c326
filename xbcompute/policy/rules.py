"""Matching rules and joining what they ask for: requirements form a join-semilattice, the strictest of each wins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from xbcompute.core.grades import Grade
from xbcompute.policy.verdict import PATHS, POSTURES, Verdict, strictest
from xbcompute.specs.pack import Facts, Pack, PathName, Posture, Requires, Rule
from xbcompute.specs.wording import Family


def smallest(values: Iterable[float | int | None]) -> float | int | None:
    """The least of the values that are given; None when none is."""
    return min((value for value in values if value is not None), default=None)


def largest(values: Iterable[int | None]) -> int | None:
    """The greatest of the values that are given; None when none is."""
    return max((value for value in values if value is not None), default=None)


@dataclass(frozen=True)
class Needs:
    """The join of the requirements of several rules; fields as in :class:`~xbcompute.specs.pack.Requires`."""

    families: frozenset[Family] | None = None
    malicious_from: int | None = None
    committee_from: int | None = None
    operators_min: int = 0
    rows_per_contributor: int = 0
    noise: bool = False
    cell_min: int = 1
    holder_cells: bool = False
    epsilon_release: float | None = None
    epsilon_year: float | None = None
    retention_years: int | None = None
    roles: frozenset[str] = frozenset()
    evidence: frozenset[str] = frozenset()
    consent: str | None = None
    cn_path: PathName = "NONE"
    posture: Posture = "not_export"

    @staticmethod
    def of(requires: Requires) -> Needs:
        """One rule's requirements."""
        return Needs(
            families=None if requires.families is None else frozenset(requires.families),
            malicious_from=requires.malicious_from,
            committee_from=requires.committee_from,
            operators_min=requires.operators_min or 0,
            rows_per_contributor=requires.rows_per_contributor or 0,
            noise=requires.noise,
            cell_min=requires.cell_min or 1,
            holder_cells=requires.cell_scope == "holder",
            epsilon_release=requires.epsilon_release,
            epsilon_year=requires.epsilon_year,
            retention_years=requires.retention_years,
            roles=frozenset(requires.roles),
            evidence=frozenset(requires.evidence),
            consent=requires.consent,
            cn_path=requires.cn_path or "NONE",
            posture=requires.posture or "not_export",
        )

    @staticmethod
    def join(parts: Sequence[Needs]) -> Needs:
        """The strictest of everything; order and repetition change nothing."""
        families = [part.families for part in parts if part.families is not None]
        consents = {part.consent for part in parts}
        retention = smallest(part.retention_years for part in parts)
        return Needs(
            families=frozenset.intersection(*families) if families else None,
            malicious_from=_least(part.malicious_from for part in parts),
            committee_from=_least(part.committee_from for part in parts),
            operators_min=max((part.operators_min for part in parts), default=0),
            rows_per_contributor=max((part.rows_per_contributor for part in parts), default=0),
            noise=any(part.noise for part in parts),
            cell_min=max((part.cell_min for part in parts), default=1),
            holder_cells=any(part.holder_cells for part in parts),
            epsilon_release=smallest(part.epsilon_release for part in parts),
            epsilon_year=smallest(part.epsilon_year for part in parts),
            retention_years=None if retention is None else int(retention),
            roles=frozenset().union(*(part.roles for part in parts)),
            evidence=frozenset().union(*(part.evidence for part in parts)),
            consent="needed" if "needed" in consents else ("if_declared" if "if_declared" in consents else None),
            cn_path=strictest((part.cn_path for part in parts), PATHS),
            posture=strictest((part.posture for part in parts), POSTURES),
        )


def _least(values: Iterable[int | None]) -> int | None:
    found = smallest(values)
    return None if found is None else int(found)


@dataclass(frozen=True)
class Judgement:
    """What the matching rules say together about one dataset and a set of outputs.

    ``needs`` is of all matching rules except HOLD rows of an active hold; ``held`` are the HOLD rows, lifted or not,
    ``waiting`` the active ones. ``uncovered`` are outputs for whose grade no matching rule is an answer.
    """

    verdict: Verdict
    needs: Needs
    matched: tuple[Rule, ...]
    waiting: tuple[Rule, ...]
    uncovered: tuple[str, ...]
    denied: bool = field(default=False)


def judge(packs: Iterable[Pack], facts: Facts, outputs: Iterable[str], evidence: frozenset[str]) -> Judgement:
    """Every rule of every pack that matches the facts with one of the outputs, joined.

    A verdict is the strictest of the rows; a HOLD row whose ``until`` documents are all held counts as permitted with
    conditions. Where no matching row covers the grade, the answer is DENY: nothing is permitted by silence.
    """
    matched: dict[str, Rule] = {}
    uncovered: list[str] = []
    grade = facts["grade"]
    rules = [rule for pack in packs if _applies(pack, facts) for rule in pack.rule if rule.match]
    for output in outputs:
        here = [rule for rule in rules if rule.matches({**facts, "output": output})]
        matched.update((rule.id, rule) for rule in here)
        if not any(Grade(name) == grade for rule in here for name in rule.covers):
            uncovered.append(output)
    found = tuple(matched.values())
    waiting = tuple(
        rule for rule in found if rule.verdict == "HOLD" and not (rule.until and set(rule.until) <= evidence)
    )
    verdict = max((_said(rule, waiting) for rule in found), default=Verdict.PERMIT)
    denied = verdict is Verdict.DENY
    if uncovered:
        verdict = Verdict.DENY
    needs = Needs.join([Needs.of(rule.requires) for rule in found])
    return Judgement(verdict, needs, found, waiting, tuple(uncovered), denied)


def _applies(pack: Pack, facts: Facts) -> bool:
    """Jurisdiction, zone and industry fit; medical data of crews is judged by the rows of biomedicine too (A10)."""
    here: Mapping[str, object] = {"jurisdiction": pack.jurisdiction, "zone": pack.zone}
    fits = pack.industry in (None, facts["industry"]) or (pack.industry == "biomed" and facts["crew_medical"] is True)
    return fits and all(wanted is None or wanted == facts[name] for name, wanted in here.items())


def _said(rule: Rule, waiting: tuple[Rule, ...]) -> Verdict:
    if rule.verdict is None:
        return Verdict.PERMIT
    if rule.verdict == "HOLD" and rule not in waiting:
        return Verdict.PERMIT_WITH_CONDITIONS
    return Verdict(rule.verdict)
