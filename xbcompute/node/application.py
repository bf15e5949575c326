"""A study on its way through one node: findings come in, a plan is joined, approvals settle it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from xbcompute.core.canonical import digest
from xbcompute.core.errors import HeldError, IntegrityError, RefusedError
from xbcompute.core.grades import Grade
from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits, Schema
from xbcompute.node.findings import Findings
from xbcompute.policy.approvals import ApprovalResult
from xbcompute.policy.decide import Plan, application_digest, join
from xbcompute.policy.finding import Finding, LocalView, find
from xbcompute.policy.reasons import Note
from xbcompute.policy.request import Request
from xbcompute.policy.verdict import Verdict
from xbcompute.policy.view import decision_json
from xbcompute.specs.schema import column_facts, join_schema
from xbcompute.specs.study import Study


class Application:
    """What this node knows of one study: its own finding and facts, its peers', and what they join to."""

    def __init__(self, findings: Findings, request: Request) -> None:
        self._findings = findings
        self.request = request
        self.study: Study = request.study
        self.me = request.party
        own, self._view = find(request)
        self._found: dict[PartyId, Finding] = {self.me: own}
        self._facts: dict[PartyId, dict[str, Any]] = {}
        if request.is_holder:
            self._facts[self.me] = column_facts(request.dataset, self.study.source_columns())
        self._plan: Plan | None = None
        self._schema: Schema | None = None
        self._approvals: dict[str, ApprovalResult] = {}

    # ---- findings ------------------------------------------------------------------------------------------------

    def mine(self) -> dict[str, Any]:
        """What crosses: this party's finding, and the public facts of its columns if it holds data."""
        return {"finding": self._found[self.me].plain(), "facts": self._facts.get(self.me)}

    def add(self, party: PartyId, body: Mapping[str, Any]) -> None:
        """Take in a peer's finding.

        Raises:
            IntegrityError: it cannot be read.
        """
        try:
            self._found[party] = Finding.model_validate(body.get("finding"))
        except ValidationError:
            raise IntegrityError("session.finding", f"{party} sent a finding that cannot be read.") from None
        facts = body.get("facts")
        if isinstance(facts, dict):
            self._facts[party] = facts

    def join(self) -> None:
        """Join the findings and the holders' column facts; the same at every node.

        Raises:
            InputError: the holders' columns do not fit together. IntegrityError: a finding is of another study.
        """
        federation = self.request.federation
        self._plan = join(self.study, federation, self._found)
        self._schema = join_schema(self.study, self._facts, federation.holders(), self.limits)

    # ---- the plan ------------------------------------------------------------------------------------------------

    @property
    def joined(self) -> bool:
        """Whether the findings have been joined to a plan."""
        return self._plan is not None

    @property
    def plan(self) -> Plan:
        """The joined plan."""
        if self._plan is None:
            raise IntegrityError("session.order", "the plan is not joined yet.")
        return self._plan

    @property
    def limits(self) -> Limits:
        """The joined limits, as analyses and output checks read them."""
        return self.plan.limits.core()

    @cached_property
    def plan_name(self) -> str:
        """``sha256:…`` of the plan and of the public facts it runs on; rides every frame as 32 bytes."""
        facts = {party: self._facts[party] for party in sorted(self._facts)}
        return digest({"facts": facts, "plan": self.plan.digest})

    @property
    def plan_digest(self) -> bytes:
        """The 32 bytes of :attr:`plan_name`."""
        return bytes.fromhex(self.plan_name.removeprefix("sha256:"))

    @cached_property
    def digest(self) -> str:
        """``sha256:…`` of the application, which approvals sign."""
        return application_digest(self.plan)

    @property
    def card(self) -> str:
        """The chosen protocol card."""
        if self.plan.protocol is None:
            raise RefusedError("policy.deny", "policy chose no protocol for this study.", todo="See the reasons.")
        return self.plan.protocol

    @property
    def grade(self) -> Grade:
        """The highest grade of the data that enters."""
        return Grade.join(Grade(member.grade) for member in self.plan.parties.values() if member.grade is not None)

    @property
    def output_grade(self) -> Grade:
        """The grade of states and results: G2 at most once output checks have passed (rule R-AGG)."""
        return min(self.grade, Grade.G2)

    # ---- approvals -----------------------------------------------------------------------------------------------

    async def approval(self) -> dict[str, Any]:
        """What this party's approvals say, as peers are told: verdict, unsigned roles, rule ids."""
        result = await self._findings.approved(self.plan, self.study, self.digest)
        self._approvals[self.me] = result
        return {
            "verdict": result.verdict.value,
            "unsigned": list(result.unsigned),
            "rules": [note.rule for note in result.notes],
        }

    def peer_approval(self, party: PartyId, body: object) -> None:
        """Take in what a peer's approvals say."""
        try:
            if not isinstance(body, Mapping):
                raise ValueError
            unsigned = tuple(str(role) for role in body["unsigned"])
            notes = tuple(Note(str(rule)) for rule in body["rules"])
            self._approvals[party] = ApprovalResult(Verdict(body["verdict"]), unsigned, notes)
        except (KeyError, TypeError, ValueError):
            raise IntegrityError("session.approval", f"{party} told of its approvals in another form.") from None

    def decision(self) -> dict[str, Any]:
        """The ``decision`` object as this party may see it: its own reasons and counts, rule ids of the others."""
        views: dict[str, LocalView] = {str(self.me): self._view}
        return decision_json(self.plan, self._approvals, views, now=self.request.now)

    def require_permit(self) -> None:
        """Open no session unless the plan and every party's approvals permit.

        Raises:
            RefusedError, HeldError: naming rules, documents and roles.
        """
        decision = self.decision()
        rules = ", ".join(decision["rules"])
        if decision["verdict"] == Verdict.DENY.value:
            raise RefusedError("policy.deny", f"policy refuses this study (rules {rules}).", todo="See the reasons.")
        if decision["verdict"] == Verdict.HOLD.value:
            missing = [*decision["required_evidence"], *(f"signature of {r}" for r in decision["required_roles"])]
            raise HeldError(
                "policy.hold", f"policy holds this study (rules {rules}).", todo=f"Missing: {', '.join(missing)}."
            )

    async def recheck(self, request: Request | None = None) -> None:
        """At start, at each round and at release: approvals, documents and period still hold.

        ``request`` replaces what the finding was made from: counters and earlier openings as they are now.
        """
        self.request = request or self.request
        await self._findings.recheck(self.plan, self.request, self.digest)

    # ---- what others need of it ----------------------------------------------------------------------------------

    def command(self, *, session: bytes, stepper: PartyId, keys: Mapping[PartyId, bytes]) -> dict[str, Any]:
        """The ``run`` command for this party's worker."""
        federation = self.request.federation
        limits = self.limits
        return {
            "session": session.hex(),
            "federation": federation.id,
            "federation_file": federation.plain(),
            "study_digest": self.study.digest.removeprefix("sha256:"),
            "plan": self.plan_digest.hex(),
            "card": self.card,
            "me": self.me,
            "participants": [party.id for party in federation.holders()],
            "stepper": stepper,
            "epoch": 1,
            "facts": self._facts,
            "limits": {name: getattr(limits, name) for name in limits.__dataclass_fields__},
            "signing_keys": {party: key.hex() for party, key in keys.items()},
        }

    def record(self) -> dict[str, Any]:
        """The body of this decision's ledger record."""
        findings = {party: self._found[party].plain() for party in sorted(self._found)}
        return {
            "plan": self.plan_name,
            "findings": digest(findings),
            "verdict": self.decision()["verdict"],
            "rules": list(self.plan.rules),
            "protocol": self.card,
            "packs": [f"{pack.id}@{pack.version}" for pack in self.plan.packs],
        }
