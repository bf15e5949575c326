"""One party's finding: a pure function of its request.

The public part crosses the border and holds no counts: verdict, admitted cards, limits, rule ids. Reasons with local
facts stay at home in the :class:`LocalView`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xbcompute.core.grades import Grade
from xbcompute.policy import consent, entity, evidence
from xbcompute.policy.carrying import carries, outputs
from xbcompute.policy.circumstances import Circumstances, observe, summed
from xbcompute.policy.counting import too_close
from xbcompute.policy.facts import Grading, gather, grade_dataset, without_importance
from xbcompute.policy.lists import card_outside_template, outside_template, templates
from xbcompute.policy.reasons import Note, citations, explain
from xbcompute.policy.request import Request, general_pack
from xbcompute.policy.rules import Judgement, Needs, judge, smallest
from xbcompute.policy.statement import NO_LIMITS, Finding, FindingLimits, LocalView, PackRef
from xbcompute.policy.topology import Topology, refusals, topology
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.card import Card
from xbcompute.specs.pack import Pack, PathName

DELTA_MAX = 1e-6
"""The largest δ of a release that names a cap on ε."""

__all__ = ["Finding", "FindingLimits", "LocalView", "PackRef", "find"]


def find(request: Request) -> tuple[Finding, LocalView]:
    """This party's finding and what it keeps to itself.

    Raises:
        InputError: a grade key that is needed is absent, or the dataset is not registered.
    """
    parties = topology(request.study, request.federation)
    if not request.is_holder:
        return _without_data(request, parties)
    return _Case(request, parties).conclude()


def _without_data(request: Request, parties: Topology) -> tuple[Finding, LocalView]:
    """A recipient must be listed; a compute party that is not can only not compute."""
    listed = list(entity.listing(request, parties))
    receives = request.party in {party.id for party in parties.receivers}
    unfit = {card.id for card in request.cards if card.on_shares} if listed and not receives else set()
    if "compute" not in request.party_spec.roles:
        unfit = set()
    notes = [*(listed if receives or unfit else ()), *entity.packs_in_order(request, parties)]
    denied = (bool(listed) and receives) or any(note.rule != "X03" for note in notes)
    packs = entity.effective(request)
    finding = Finding(
        party=request.party,
        jurisdiction=request.party_spec.jurisdiction,
        study=request.study.digest,
        verdict=Verdict.DENY if denied else Verdict.PERMIT,
        grade=None,
        origin=None,
        rows_max=None,
        admitted=() if denied else tuple(card.id for card in request.cards if card.id not in unfit),
        refused=dict.fromkeys(sorted(unfit), ("X03",)),
        limits=NO_LIMITS,
        required_roles=(),
        hold_roles=(),
        missing_evidence=(),
        asks=(),
        holds=(),
        malicious_from=None,
        committee_from=None,
        important=False,
        cn_path="NONE",
        export_posture="not_export",
        rules=tuple(sorted({note.rule for note in notes})),
        citations=citations(notes, packs),
        packs=_refs(request),
    )
    return finding, LocalView(request.party, explain(notes, packs), request.counted, request.counted)


def _refs(request: Request) -> tuple[PackRef, ...]:
    loaded = {pack.pack.id: pack for pack in (*request.packs, general_pack())}
    return tuple(PackRef(id=key, version=p.pack.version, sha256=p.sha256) for key, p in sorted(loaded.items()))


class _Case:
    """One holder's request while it is judged."""

    def __init__(self, request: Request, parties: Topology) -> None:
        self.request = request
        self.parties = parties
        self.packs: tuple[Pack, ...] = entity.effective(request)
        here = request.party_spec.jurisdiction
        self.abroad = bool(parties.foreign_jurisdictions(here))
        foreign = evidence.foreigners(parties, here)
        self.holds = evidence.held(request.site.evidence, request.study, request.now, foreign)
        self.narrow = evidence.narrow(request.site.evidence, request.study, request.now, foreign) - self.holds
        self.rulings = evidence.rulings(request.site.evidence, request.now)
        graded = grade_dataset(request.dataset, request.study.study.industry, request.party)
        observed = observe(request, graded, parties, self.packs, holds=self.holds, outputs=outputs(request.study, "P2"))
        self.grading: Grading = observed[0]
        self.seen: Circumstances = observed[1]
        counts = (
            here == "CN" and self.abroad and self.grading.pi_grade >= Grade.G3 and self.seen.outbound_exit == "none"
        )
        self.after = request.counted + request.people if counts else request.counted
        people = summed(request, self.after) if counts else self.after
        self.facts = gather(request, self.grading, parties, people, self.seen.facts())
        self.important = self.grading.grade is Grade.G6
        self.templates = templates(request, parties, self.packs)
        self.judged: dict[tuple[str, ...], tuple[Judgement, Judgement]] = {}

    def judgements(self, kinds: tuple[str, ...]) -> tuple[Judgement, Judgement]:
        """For these outputs: the data as it would be were it not important, and as it is."""
        if kinds not in self.judged:
            actual = judge(self.packs, self.facts, kinds, self.holds)
            under = judge(self.packs, without_importance(self.facts), kinds, self.holds) if self.important else actual
            self.judged[kinds] = under, actual
        return self.judged[kinds]

    def against(self, card: Card) -> tuple[Note, ...]:
        """Why the data, were it not important, cannot go by this card."""
        study = self.request.study
        cleared = self.seen.licensed or self.seen.maintenance_only
        relieved = self.important or (cleared and not self.grading.core)
        grade = self.grading.pi_grade if relieved else self.grading.grade
        found: list[Note] = []
        if not carries(card, study):
            found.append(Note("CARD-CARRIES"))
        found.extend(
            Note(rule)
            for rule in refusals(
                card,
                self.parties,
                origin=self.request.dataset.origin,
                private=self.grading.grade >= Grade.G3,
                rulings=self.rulings,
            )
        )
        under, _ = self.judgements(outputs(study, card.family))
        if card_outside_template(card, outputs(study, card.family), self.templates):
            found.append(Note("TEMPLATE"))
        if under.denied:
            found.extend(Note(rule.id) for rule in under.matched if rule.verdict == "DENY")
        found.extend(Note("NO-RULE", *self._uncovered(under)) for _ in under.uncovered[:1] if not under.denied)
        if grade > Grade(card.grade_max):
            found.append(Note("CARD-GRADE"))
        if under.needs.families is not None and card.family not in under.needs.families:
            found.append(Note("CARD-FAMILY"))
        wants, given = under.needs.consent, self.request.dataset.consent
        if wants == "needed" or (wants == "if_declared" and given is not None):
            gaps = consent.gaps(given, study, card, self.parties, self.request.party, abroad=self.abroad)
            found.extend(Note("CONSENT", zh, en) for zh, en in gaps)
        return tuple(dict.fromkeys(found))

    def _uncovered(self, judgement: Judgement) -> tuple[str, str]:
        what = ", ".join(judgement.uncovered)
        where = f"{self.grading.grade.value} · {self.facts['origin']} · {self.facts['industry']} · {what}"
        return where, where

    def conclude(self) -> tuple[Finding, LocalView]:
        """The finding."""
        request = self.request
        entry = [
            *entity.listing(request, self.parties),
            *entity.packs_in_order(request, self.parties),
            *entity.purpose(request),
            *outside_template(request, self.templates),
        ]
        against = {card.id: self.against(card) for card in request.cards}
        base = [card for card in request.cards if not against[card.id]]
        used = {outputs(request.study, card.family) for card in base or request.cards}
        pairs = [self.judgements(kinds) for kinds in sorted(used)]
        everything = [judgement for pair in pairs for judgement in pair]
        needs = Needs.join([judgement.needs for judgement in everything])
        admitted = [card for card in base if not self.important or self._strong_enough(card)]
        verdict = max(judgement.verdict for judgement in everything) if base else Verdict.DENY
        notes = [
            Note(rule.id)
            for judgement in everything
            for rule in judgement.matched
            if rule.requires.committee_from is None
        ]
        if not base:
            notes.extend(self._why_no_card(against, everything, quiet=bool(entry)))
        elif not admitted:
            verdict = max(verdict, Verdict.HOLD)
            notes.append(Note("NO-CARD"))
        stops = [
            *entry,
            *self._noise(needs),
            *self._differencing(needs.cell_min),
            *self._operators(needs),
            *self._rows(needs),
        ]
        if stops:
            verdict = Verdict.DENY
        for note in self._budget(needs):
            verdict = max(verdict, Verdict.HOLD)
            stops.append(note)
        waiting = [rule for judgement in everything for rule in judgement.waiting]
        until = {kind for rule in waiting for kind in rule.until if kind not in self.holds}
        here = request.party_spec.jurisdiction
        lacking = dict.fromkeys([*sorted(until), *evidence.missing(sorted(needs.evidence), self.holds, here)])
        if lacking:
            verdict = max(verdict, Verdict.HOLD)
            stops.append(Note("EVIDENCE", "、".join(lacking), ", ".join(lacking)))
            excess = sorted(kind for text in lacking for kind in text.split(" or ") if kind in self.narrow)
            stops.extend([Note("X10", "、".join(excess), ", ".join(excess))] if excess else [])
        notes = list(dict.fromkeys([*stops, *notes]))
        finding = Finding(
            party=request.party,
            jurisdiction=here,
            study=request.study.digest,
            verdict=verdict,
            grade=self.grading.grade.value,
            origin=request.dataset.origin,
            rows_max=request.dataset.rows_max,
            admitted=tuple(card.id for card in admitted),
            refused=self._refused(against, admitted),
            limits=self._limits(needs),
            required_roles=tuple(sorted(needs.roles)),
            hold_roles=tuple(sorted({role for rule in waiting for role in rule.requires.roles})),
            missing_evidence=tuple(lacking),
            asks=tuple(sorted(kind for kind in needs.evidence if evidence.owed_elsewhere(kind, here))),
            holds=tuple(sorted(self.holds)),
            malicious_from=needs.malicious_from,
            committee_from=needs.committee_from,
            important=self.important and not self.seen.important_by_volume,
            cn_path=self._path(needs),
            export_posture=needs.posture if self.abroad else "not_export",
            rules=tuple(sorted({note.rule for note in notes})),
            citations=citations(notes, self.packs),
            packs=_refs(request),
        )
        view = LocalView(request.party, explain(notes, self.packs), request.counted, self.after)
        return finding, view

    def _strong_enough(self, card: Card) -> bool:
        _, actual = self.judgements(outputs(self.request.study, card.family))
        families = actual.needs.families
        return self.grading.grade <= Grade(card.grade_max) and (families is None or card.family in families)

    def _refused(self, against: Mapping[str, tuple[Note, ...]], admitted: list[Card]) -> dict[str, tuple[str, ...]]:
        kept = {card.id for card in admitted}
        return {
            name: tuple(dict.fromkeys(note.rule for note in notes)) or ("CARD-FAMILY",)
            for name, notes in against.items()
            if name not in kept
        }

    def _why_no_card(
        self, against: Mapping[str, tuple[Note, ...]], judged: Iterable[Judgement], *, quiet: bool
    ) -> Iterable[Note]:
        judged = tuple(judged)
        if any(judgement.denied for judgement in judged) or quiet:
            return
        open_questions = [judgement for judgement in judged if judgement.uncovered]
        if open_questions:
            yield Note("NO-RULE", *self._uncovered(open_questions[0]))
            return
        yield Note("NO-CARD")
        fitting = [notes for notes in against.values() if Note("CARD-CARRIES") not in notes]
        yield from dict.fromkeys(note for notes in fitting or against.values() for note in notes)

    def _noise(self, needs: Needs) -> Iterable[Note]:
        privacy = self.request.study.study.privacy
        if privacy is None and not needs.noise:
            return
        without = sorted({a.kind for a in self.request.study.analysis} - self.request.noise_kinds)
        if without:
            yield Note("NOISE", "、".join(without), ", ".join(without))
        elif privacy is None:
            yield Note("NOISE", "研究没有 [study.privacy]", "the study has no [study.privacy]")
        cap = needs.epsilon_release
        if privacy is not None and cap is not None and privacy.epsilon > cap:
            yield Note("EPSILON", f"上限 {cap:g}", f"the cap is {cap:g}")
        if privacy is not None and cap is not None and privacy.delta > DELTA_MAX:
            yield Note("EPSILON", f"δ 的上限 {DELTA_MAX:g}", f"the cap of δ is {DELTA_MAX:g}")

    def _differencing(self, cell_min: int) -> Iterable[Note]:
        for earlier, difference in sorted(self.request.differences.items()):
            if too_close(difference, cell_min):
                yield Note("C4.9", f"先前的研究 {earlier}", f"earlier study {earlier}")

    def _operators(self, needs: Needs) -> Iterable[Note]:
        have = self.facts["operators"]
        if isinstance(have, int) and have < needs.operators_min:
            need = needs.operators_min
            yield Note("OPERATORS", f"需要 {need} 个，现有 {have} 个", f"{need} are needed, {have} take part")

    def _rows(self, needs: Needs) -> Iterable[Note]:
        people = self.request.people
        have = max(self.request.dataset.rows_min or 0, people.sensitive + people.non_sensitive)
        if have < needs.rows_per_contributor:
            need = needs.rows_per_contributor
            yield Note("ROWS", f"每方至少 {need} 行", f"at least {need} rows each")

    def _budget(self, needs: Needs) -> Iterable[Note]:
        privacy, cap = self.request.study.study.privacy, needs.epsilon_year
        if privacy is not None and cap is not None and self.request.epsilon_spent + privacy.epsilon > cap:
            yield Note("C4.8", f"每年上限 {cap:g}", f"the yearly cap is {cap:g}")

    def _limits(self, needs: Needs) -> FindingLimits:
        chosen = self.request.site.site.cell_scope or "holder"
        years = smallest([needs.retention_years, *(entry.retention_years for entry in self.templates)])
        retention = None if years is None else int(years)
        return FindingLimits(
            cell_min=needs.cell_min,
            cell_scope="holder" if needs.holder_cells else chosen,
            model_rules=self.grading.grade > Grade.G1,
            epsilon_release=needs.epsilon_release,
            epsilon_year=needs.epsilon_year,
            retention_years=retention,
        )

    def _path(self, needs: Needs) -> PathName:
        """The path named by the rules; where a certificate is what the party holds, that one."""
        if needs.cn_path == "SC_FILING" and "SC_FILING" not in self.holds:
            if "CERT" in self.holds:
                return "CERT"
            if "SEC_ASSESS" in self.holds:
                return "SEC_ASSESS"
        return needs.cn_path
