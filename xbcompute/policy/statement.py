"""What a finding says: the public part that crosses the border, and the view that stays at home."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits
from xbcompute.policy.reasons import Reason
from xbcompute.policy.request import People
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.base import Spec
from xbcompute.specs.pack import PathName, Posture
from xbcompute.specs.wording import GradeName


class PackRef(Spec):
    """Which pack, to the byte."""

    id: str
    version: str
    sha256: str


class FindingLimits(Spec):
    """The limits of one finding; joined limits are the strictest of each."""

    cell_min: int
    cell_scope: Literal["holder", "pooled"]
    model_rules: bool
    epsilon_release: float | None
    epsilon_year: float | None
    retention_years: int | None

    def core(self) -> Limits:
        """As analyses and output checks read them."""
        return Limits(
            cell_min=self.cell_min,
            cell_scope=self.cell_scope,
            model_rules=self.model_rules,
            epsilon_release=self.epsilon_release,
            epsilon_year=self.epsilon_year,
            retention=self.retention,
        )

    @property
    def retention(self) -> str | None:
        """An ISO 8601 duration."""
        return None if self.retention_years is None else f"P{self.retention_years}Y"


class Finding(Spec):
    """What crosses the border of one party's finding.

    ``admitted``: card ids. ``refused``: for every other card the rules against it. ``missing_evidence``: what this
    party itself lacks; ``asks``: documents, by kind, that holders of other jurisdictions owe; ``holds``: kinds it has.
    ``malicious_from`` and ``committee_from`` wait for the sum of all holders' ``rows_max``. ``important``: graded G6,
    so that a card found wanting holds the study and does not end it. ``hold_roles``: whose ruling a HOLD waits for.
    """

    party: str
    jurisdiction: str
    study: str
    verdict: Verdict
    grade: GradeName | None
    origin: str | None
    rows_max: int | None
    admitted: tuple[str, ...]
    refused: dict[str, tuple[str, ...]]
    limits: FindingLimits
    required_roles: tuple[str, ...]
    hold_roles: tuple[str, ...]
    missing_evidence: tuple[str, ...]
    asks: tuple[str, ...]
    holds: tuple[str, ...]
    malicious_from: int | None
    committee_from: int | None
    important: bool
    cn_path: PathName
    export_posture: Posture
    rules: tuple[str, ...]
    citations: tuple[str, ...]
    packs: tuple[PackRef, ...]

    @property
    def tier(self) -> str:
        """The band of its verdict."""
        return self.verdict.tier


@dataclass(frozen=True)
class LocalView:
    """What stays at home: reasons with local facts, and the people counted before and after."""

    party: PartyId
    reasons: tuple[Reason, ...]
    count_before: People
    count_after: People


NO_LIMITS = FindingLimits(
    cell_min=1, cell_scope="pooled", model_rules=False, epsilon_release=None, epsilon_year=None, retention_years=None
)
