"""Where the node meets policy: what its finding reads is gathered here, and approvals are kept and checked."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from xbcompute.core.canonical import digest_bytes
from xbcompute.core.errors import HeldError, IntegrityError, RefusedError
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Clock
from xbcompute.disclosure.differencing import difference_up_to
from xbcompute.engines.masked_sum.restart import check_restart
from xbcompute.node.config import NodeConfig, raw_key
from xbcompute.node.store import Store
from xbcompute.node.store.people import Kind
from xbcompute.policy.approvals import ApprovalResult, SignedApproval, UserKey, check_signed, verify
from xbcompute.policy.counting import people_of, year_of
from xbcompute.policy.decide import Plan
from xbcompute.policy.finding import find
from xbcompute.policy.request import People, Request, load_site_packs
from xbcompute.policy.verdict import Verdict
from xbcompute.policy.view import period_note
from xbcompute.specs.pack import verify_pack
from xbcompute.specs.study import Study

DIFFERENCE_CAP = 1000
"""Differences are counted up to here: any minimum cell is far below."""


@dataclass(frozen=True)
class LocalFinding:
    """What this party's worker counted: rows kept, and the sorted 16-byte keyed digests of their people."""

    people: bytes
    n: int


class Findings:
    """This node's side of policy: its packs, counters, earlier openings, approvals and clock."""

    def __init__(self, config: NodeConfig, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self.clock = clock
        self.packs, self.missing_packs = load_site_packs(config.site, config.site_dir)
        self._keys = {
            (str(config.me), user.id): UserKey(
                Ed25519PublicKey.from_public_bytes(raw_key(user.signing_key, whose=user.id)), user.roles
            )
            for user in config.users
        }

    # ---- the finding ---------------------------------------------------------------------------------------------

    async def request(self, study: Study, counted: LocalFinding) -> Request:
        """Everything this node's finding on ``study`` reads."""
        return await asyncio.to_thread(self._request, study, counted)

    def _request(self, study: Study, counted: LocalFinding) -> Request:
        config = self._config
        before, job = self._people(study, counted.people)
        return Request(
            study=study,
            federation=config.federation,
            site=config.site,
            now=self.clock.now(),
            packs=self.packs,
            missing_packs=self.missing_packs,
            signers=self._signers(),
            people=job,
            counted=before,
            differences=self._differences(study, counted.people),
        )

    def _signers(self) -> dict[str, frozenset[PartyId]]:
        """Who signed each pack: by the federation's pins, or in simulation everybody but for ``unsigned_packs``."""
        config = self._config
        parties = [party.id for party in config.federation.parties]
        pins = {pin.id: pin for pin in config.federation.pack}
        keys = {str(party): key for party, key in config.signing_keys.items()}
        signers: dict[str, frozenset[PartyId]] = {}
        for loaded in self.packs:
            name = loaded.pack.id
            if name in pins and not config.simulation:
                signers[name] = frozenset(PartyId(p) for p in verify_pack(pins[name], loaded, keys))
            elif config.simulation and loaded.shipped:
                unsigned = name in config.site.site.unsigned_packs
                signers[name] = frozenset(p for p in parties if not (unsigned and p == config.me))
            else:
                signers[name] = frozenset()
        return signers

    def _kind(self, study: Study, people: bytes) -> tuple[Kind | None, People]:
        dataset = self._config.site.find_dataset(study.study.data.dataset)
        if dataset is None:
            return None, People()
        people_now = people_of(dataset, study.study.industry, len(people) // 16)
        if people_now.sensitive:
            return "sensitive", people_now
        return ("non_sensitive" if people_now.non_sensitive else None), people_now

    def _people(self, study: Study, people: bytes) -> tuple[People, People]:
        """People counted this year before, and those this job adds to them."""
        year = year_of(self.clock.now())
        counters = self._store.counters
        start = self._config.site.entity.counted_this_year
        stored = People(counters.count(year, "sensitive"), counters.count(year, "non_sensitive"))
        before = stored + People(start.sensitive, start.non_sensitive)
        kind, _ = self._kind(study, people)
        if kind == "sensitive":
            return before, People(sensitive=counters.count(year, kind, also=people) - stored.sensitive)
        if kind == "non_sensitive":
            return before, People(non_sensitive=counters.count(year, kind, also=people) - stored.non_sensitive)
        return before, People()

    def _differences(self, study: Study, people: bytes) -> dict[str, int]:
        """By how many people the population differs from that of each earlier opening of the dataset."""
        differences: dict[str, int] = {}
        known: dict[str, int] = {digest_bytes(people): 0}
        for opening in self._store.openings.openings(study.study.data.dataset):
            if opening.population not in known:
                known[opening.population] = difference_up_to(people, opening.people, DIFFERENCE_CAP)
            differ = known[opening.population]
            differences[opening.study] = min(differ or DIFFERENCE_CAP, differences.get(opening.study, DIFFERENCE_CAP))
        return differences

    async def count(self, study: Study, people: bytes) -> None:
        """Count the people of a session whose first total is about to be opened."""
        kind, _ = self._kind(study, people)
        if kind is not None:
            year = year_of(self.clock.now())
            await asyncio.to_thread(self._store.counters.add_people, year, kind, people)

    # ---- approvals -----------------------------------------------------------------------------------------------

    async def add_approval(self, body: Mapping[str, Any]) -> SignedApproval:
        """Keep one signed approval of this party's people.

        Raises:
            IntegrityError: unknown user, wrong signature, or a role the user does not have.
            InputError: this node knows no such application.
        """
        approval = SignedApproval.read(body)
        if approval.party != self._config.me:
            raise IntegrityError("approval.party", f"an approval for {approval.party} was handed to another node.")
        verify(approval, self._keys, approval.application)
        await asyncio.to_thread(self._store.applications.add_approval, approval.application, approval.plain())
        return approval

    async def approved(self, plan: Plan, study: Study, application: str) -> ApprovalResult:
        """What this party's approvals add to the plan now: nothing, HOLD with unsigned roles, or DENY."""
        kept = await asyncio.to_thread(self._store.applications.application, application)
        approvals = [] if kept is None else [SignedApproval.read(body) for body in kept.approvals]
        now = self.clock.now()
        result = check_signed(plan, approvals, self._keys, now, self._config.me)
        late = period_note(study, now)
        return ApprovalResult(Verdict.DENY, result.unsigned, (*result.notes, *late)) if late else result

    # ---- before anything runs, and again at every round and at release -------------------------------------------

    async def recheck(self, plan: Plan, request: Request, application: str) -> None:
        """Refuse to go on if an approval, a document, a listing or the study's period has run out since the plan.

        Raises:
            RefusedError, HeldError: naming the rule.
        """
        study = request.study
        now, _ = find(dataclasses.replace(request, now=self.clock.now()))
        if now.verdict > plan.parties[self._config.me].verdict or plan.protocol not in now.admitted:
            rules = ", ".join(now.rules)
            raise RefusedError("policy.changed", f"{self._config.me}: its finding no longer allows this ({rules}).")
        result = await self.approved(plan, study, application)
        if result.verdict is Verdict.DENY:
            rules = ", ".join(note.rule for note in result.notes)
            raise RefusedError(
                "policy.expired", f"{self._config.me}: approval no longer covers this session ({rules})."
            )
        if result.verdict is Verdict.HOLD:
            raise HeldError(
                "policy.unsigned", f"{self._config.me}: an approval is missing ({', '.join(result.unsigned)})."
            )

    def restart_allowed(self, study: Study, participants: frozenset[PartyId], people: bytes = b"") -> None:
        """Refuse participants that differ from an earlier run's by a set too small (masked-sum, section 7).

        Earlier runs are those on the same dataset, and those on exactly these people under whatever name.

        Raises:
            RefusedError: naming the parties that differ.
        """
        population = digest_bytes(people) if people else None
        released = self._store.journal.released_sets(dataset=study.study.data.dataset, population=population)
        known = {party.id for party in self._config.federation.parties}
        previous = [frozenset(PartyId(p) for p in one.participants) for one in released]
        parties = self._config.federation.parties
        for run in previous:
            if not run <= known:
                raise RefusedError(
                    "masked_sum.restart",
                    f"seeds were released to {', '.join(sorted(run - known))}, now no party of the federation.",
                    todo="Keep it in federation.toml as a supervisor, so that what the two totals show can be judged.",
                )
        check_restart(
            previous,
            participants,
            {party.id: party.control_group for party in parties},
            {party.id: party.jurisdiction for party in parties},
        )
