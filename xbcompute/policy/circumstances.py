"""What, besides the grade keys, rules ask about a study: declared exits, clearances by document, events, volumes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from xbcompute.core.grades import Grade
from xbcompute.policy import evidence, lists
from xbcompute.policy.facts import Grading
from xbcompute.policy.request import People, Request
from xbcompute.policy.topology import Topology
from xbcompute.specs.pack import Fact, Pack

VOLUME_CAUTION = 100_000
"""People with health data in one holder's hands from which the data is suspected to be important (R-VOL)."""
SEQUENCED_MANY = 500
"""People with exome or genome sequences above which a security review is needed (B04)."""
IDENTITY_TAGS = frozenset({"identity", "identifier", "name", "licence", "contact"})
"""Column tags that mark a field as identifying a person."""
OCCURRENCE_TAGS = frozenset({"occurrence", "accident", "safety_occurrence"})
"""Column tags that mark safety occurrence or accident data."""


@dataclass(frozen=True)
class Circumstances:
    """Facts that are not grade keys; names as in :data:`~xbcompute.specs.pack.FACTS`."""

    crew_medical: bool = False
    derived: str = "none"
    hgr_cleared: bool = False
    hgr_review: str = "none"
    identity_used: bool = False
    important_by_volume: bool = False
    licensed: bool = False
    maintenance_only: bool = False
    occurrence: bool = False
    outbound_exit: str = "none"
    people_summed: bool = False
    period_ends: bool = False
    positive_listed: bool = False
    regrade_due: bool = False

    def facts(self) -> dict[str, Fact]:
        """As rules read them."""
        return dict(vars(self))


def observe(
    request: Request,
    grading: Grading,
    parties: Topology,
    packs: tuple[Pack, ...],
    *,
    holds: frozenset[str],
    outputs: Iterable[str],
) -> tuple[Grading, Circumstances]:
    """The grading after catalogues, descent and volume, and the circumstances of one holder's request."""
    dataset, header = request.dataset, request.study.study
    foreign = evidence.foreigners(parties, request.party_spec.jurisdiction)
    tags = lists.tags_of(dataset)
    graded = lists.by_catalogue(grading, dataset, header.industry, packs)
    derived = "none"
    if dataset.derived is not None:
        derived = "lowered" if dataset.derived.lowered_by is not None else "inherits"
        if derived == "inherits":
            graded = _inherit(graded, Grade(dataset.derived.grade))
    health = header.industry == "biomed" and graded.pi_grade >= Grade.G3
    known = max(dataset.rows_max, (request.counted + request.people).sensitive)
    by_volume = health and known >= VOLUME_CAUTION and graded.important == "none"
    if by_volume:
        graded = replace(graded, important="suspected", grade=max(graded.grade, Grade.G6))
    control = dataset.export_control
    return graded, Circumstances(
        crew_medical=header.industry == "aviation" and graded.pi_grade >= Grade.G5,
        derived=derived,
        hgr_cleared=_hgr_cleared(request, foreign, holds),
        hgr_review=_hgr_review(request, holds),
        identity_used=bool(used_tags(request) & IDENTITY_TAGS),
        important_by_volume=by_volume,
        licensed=graded.export_control == "listed" and _licensed(request, foreign),
        maintenance_only=(
            control is not None
            and control.maintenance_only
            and control.cn == "none"
            and dataset.origin == "SG"
            and header.industry == "aviation"
        ),
        occurrence=bool(tags & OCCURRENCE_TAGS),
        outbound_exit=_exit(request, graded, parties, packs, holds),
        people_summed=summed(request, request.counted + request.people) != request.counted + request.people,
        period_ends=header.period is not None and header.period.to is not None,
        positive_listed=lists.positively_listed(request, outputs, packs),
        regrade_due=any(
            event.at <= request.now and (dataset.graded_at is None or dataset.graded_at < event.at)
            for event in dataset.event
        ),
    )


def used_tags(request: Request) -> frozenset[str]:
    """Tags of the columns the study uses at this holder; in a vertical study a column is ``party.column``."""
    columns = request.dataset.columns
    names = {name.removeprefix(f"{request.party}.") for name in request.study.source_columns()}
    return frozenset(tag for name in names & set(columns) for tag in columns[name].tags)


def summed(request: Request, people: People) -> People:
    """The people a threshold is compared with: the entity's own of the year, or, if more, those in requests of its
    control group for the same purpose within a year with this job's (requests are not split to stay below).
    """
    earlier = request.site.entity.same_purpose_this_year.get(request.study.study.purpose)
    if earlier is None:
        return people
    return People(
        max(people.sensitive, earlier.sensitive + request.people.sensitive),
        max(people.non_sensitive, earlier.non_sensitive + request.people.non_sensitive),
    )


def _inherit(graded: Grading, source: Grade) -> Grading:
    """At least the grade of what it was made from; what was important, genetic or core stays so."""
    if source >= Grade.G6:
        important = "suspected" if source is Grade.G6 and graded.important == "none" else graded.important
        core = graded.core or source is Grade.G8
        return replace(graded, grade=max(graded.grade, source), important=important, core=core)
    return replace(graded, grade=max(graded.grade, source), pi_grade=max(graded.pi_grade, source))


def _hgr_cleared(request: Request, foreign: dict[str, str], holds: frozenset[str]) -> bool:
    """An approval or a trial filing that names this purpose and every foreign party, and the prior report with backup
    unless the approved agreement covers shared use.
    """
    named = [
        item
        for item in request.site.evidence
        if item.kind in ("HGR_APPROVAL", "HGR_TRIAL_FILING")
        and item.kind in holds
        and evidence.names(item, request.study, request.now, foreign)
    ]
    return any(item.shared_use or "HGR_PRIOR_REPORT" in holds for item in named)


def _hgr_review(request: Request, holds: frozenset[str]) -> str:
    """``none`` needed, ``missing`` or ``held``; what is not stated about genetic information needs one."""
    dataset = request.dataset
    if dataset.hgr not in ("genetic_info", "wes_wgs"):
        return "none"
    many = dataset.hgr == "wes_wgs" and (dataset.hgr_people is None or dataset.hgr_people > SEQUENCED_MANY)
    if not many and dataset.hgr_pedigree is False and dataset.hgr_region is False:
        return "none"
    return "held" if "HGR_SECURITY_REVIEW" in holds else "missing"


def _licensed(request: Request, foreign: dict[str, str]) -> bool:
    """Whether each country that lists the technology has licensed it, naming the parties and, by number, the item."""
    control = request.dataset.export_control
    if control is None:
        return False
    needed = [
        kind for state, kind in ((control.cn, "EXPORT_LICENCE_CN"), (control.sg, "ITT_PERMIT_SG")) if state == "listed"
    ]
    return all(
        any(
            item.kind == kind
            and item.number is not None
            and evidence.names(item, request.study, request.now, foreign, purpose=False)
            for item in request.site.evidence
        )
        for kind in needed
    )


def _exit(request: Request, graded: Grading, parties: Topology, packs: tuple[Pack, ...], holds: frozenset[str]) -> str:
    """``ftz_list``, ``reexport`` or ``none``; neither exit is open to important data or to core data."""
    here, dataset, entity = request.party_spec.jurisdiction, request.dataset, request.site.entity
    if here != "CN" or graded.important != "none" or graded.grade >= Grade.G6:
        return "none"
    off = lists.off_zone_list(request, packs)
    if entity.zone != "none" and (off or (off is None and "FTZ_LIST" in holds)):
        return "ftz_list"
    alone = [party.id for party in parties.holders if party.jurisdiction == "CN"] == [request.party]
    if dataset.origin != "CN" and dataset.collected_in == dataset.origin and alone:
        return "reexport"
    return "none"
