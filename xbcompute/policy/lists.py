"""What the lists of the packs say of a dataset, party or study: catalogue, zone list, positive list, template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from xbcompute.core.grades import Grade
from xbcompute.policy.facts import Grading
from xbcompute.policy.reasons import Note
from xbcompute.policy.request import Request
from xbcompute.policy.topology import Topology
from xbcompute.specs.card import Card
from xbcompute.specs.lists import BilateralTemplate
from xbcompute.specs.pack import Pack
from xbcompute.specs.site import Dataset


def tags_of(dataset: Dataset) -> frozenset[str]:
    """The tags of all registered columns."""
    return frozenset(tag for column in dataset.columns.values() for tag in column.tags)


def by_catalogue(grading: Grading, dataset: Dataset, industry: str, packs: Iterable[Pack]) -> Grading:
    """The grading after the packs' catalogues of important data: a hit never lowers it."""
    tags = tags_of(dataset)
    states = {
        entry.state
        for pack in packs
        for entry in pack.catalogue
        if entry.industry == industry and tags & set(entry.tags)
    }
    if not states or grading.important == "confirmed":
        return grading
    important = "confirmed" if "confirmed" in states else "suspected"
    return replace(grading, important=important, grade=max(grading.grade, Grade.G6))


def off_zone_list(request: Request, packs: Iterable[Pack]) -> bool | None:
    """Whether the dataset is off its zone's negative list; None where no list is loaded for zone and industry.

    A column without a tag cannot be looked up, so such a dataset is not off the list.
    """
    columns = request.dataset.columns.values()
    lists = [
        entry
        for pack in packs
        for entry in pack.negative_list
        if entry.zone == request.site.entity.zone
        and request.study.study.industry in entry.industries
        and entry.covers(request.now)
    ]
    if not lists:
        return None
    return all(column.tags and not set(column.tags) & set(entry.listed) for entry in lists for column in columns)


def positively_listed(request: Request, outputs: Iterable[str], packs: Iterable[Pack]) -> bool:
    """Whether one entry of a positive list names the purpose, every output and every column tag of the dataset."""
    header, wanted = request.study.study, set(outputs)
    columns = request.dataset.columns.values()
    return any(
        entry.industry == header.industry
        and entry.purpose == header.purpose
        and wanted <= set(entry.outputs)
        and all(column.tags and set(column.tags) <= set(entry.tags) for column in columns)
        for pack in packs
        for entry in pack.positive_list
    )


def partners(request: Request, packs: Iterable[Pack]) -> Iterator[Note]:
    """X03 where the packs carry a partner list and this party is not on it, suspended, or outside its dates."""
    entries = [entry for pack in packs for entry in pack.partner]
    me, here = request.party, request.party_spec.jurisdiction
    if entries and not any(
        entry.party == me
        and entry.jurisdiction == here
        and entry.status == "listed"
        and entry.covers(request.now)
        and entry.signing_key in (None, request.party_spec.signing_key)
        for entry in entries
    ):
        yield Note("X03", f"{me} 不在策略包的伙伴名单上", f"{me} is not on the packs' partner list")


def templates(request: Request, parties: Topology, packs: Iterable[Pack]) -> tuple[BilateralTemplate, ...]:
    """The bilateral templates that concern the study: its industry, between exactly these jurisdictions."""
    involved = {party.jurisdiction for party in (*parties.holders, *parties.receivers)}
    return tuple(
        entry
        for pack in packs
        for entry in pack.template
        if entry.industry == request.study.study.industry and involved == set(entry.jurisdictions)
    )


def outside_template(request: Request, found: Sequence[BilateralTemplate]) -> Iterator[Note]:
    """TEMPLATE for a purpose or a field that an applying template does not list."""
    for entry in found:
        if request.study.study.purpose not in entry.purposes:
            yield Note("TEMPLATE", f"{entry.id}：目的", f"{entry.id}: purpose")
        if entry.fields and not set(request.study.source_columns()) <= set(entry.fields):
            yield Note("TEMPLATE", f"{entry.id}：字段", f"{entry.id}: fields")


def card_outside_template(card: Card, outputs: Iterable[str], found: Iterable[BilateralTemplate]) -> bool:
    """Whether the card, or an output of the study under it, is not in an applying template."""
    wanted = set(outputs)
    return any(card.id not in entry.protocols or not wanted <= set(entry.outputs) for entry in found)
