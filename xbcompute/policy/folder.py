"""The decision on a study folder, with everything it holds taken as simulation takes it; starts nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy import approvals
from xbcompute.policy.cost import Channel
from xbcompute.policy.counting import people_of
from xbcompute.policy.decide import Plan, join
from xbcompute.policy.finding import Finding, LocalView, find
from xbcompute.policy.request import People, Request, load_site_packs
from xbcompute.policy.view import decision_json, period_note
from xbcompute.specs.load import StudyFolder


def requests(
    folder: StudyFolder,
    people: Mapping[PartyId, int],
    now: Mapping[PartyId, dt.datetime],
    *,
    noise_kinds: frozenset[str] = frozenset(),
    agreed: frozenset[str] = frozenset(),
) -> dict[PartyId, Request]:
    """One request a party.

    ``people``: distinct subjects of the study at each holder, as counted from its data. The shipped packs count as
    signed by every party except those whose site lists them under ``unsigned_packs``; of packs named by path, those
    that are ``agreed``.

    Raises:
        InputError: a holder has no count.
    """
    known = [party.id for party in folder.federation.parties]
    built: dict[PartyId, Request] = {}
    for party in known:
        site = folder.sites[party]
        packs, lacking = load_site_packs(site, folder.site_dirs[party])
        signers = {
            pack.pack.id: frozenset(p for p in known if pack.pack.id not in folder.sites[p].site.unsigned_packs)
            for pack in packs
            if pack.shipped or pack.pack.id in agreed
        }
        spec = folder.federation.find(party)
        mine = People()
        if spec is not None and "holder" in spec.roles:
            if party not in people:
                raise InputError("people.missing", f"{party}: the number of people in the study is not known.")
            mine = people_of(folder.dataset(party), folder.study.study.industry, people[party])
        counted = site.entity.counted_this_year
        built[party] = Request(
            study=folder.study,
            federation=folder.federation,
            site=site,
            now=now[party],
            packs=packs,
            missing_packs=lacking,
            signers=signers,
            people=mine,
            counted=People(counted.sensitive, counted.non_sensitive),
            noise_kinds=noise_kinds,
        )
    return built


def findings(built: Mapping[PartyId, Request]) -> tuple[dict[PartyId, Finding], dict[str, LocalView]]:
    """Every party's finding and local view."""
    both = {party: find(request) for party, request in built.items()}
    return {party: pair[0] for party, pair in both.items()}, {str(party): pair[1] for party, pair in both.items()}


def plan_folder(built: Mapping[PartyId, Request]) -> Plan:
    """The joined plan of the requests of :func:`requests`."""
    first = next(iter(built.values()))
    return join(first.study, first.federation, findings(built)[0])


def decide_folder(
    folder: StudyFolder,
    people: Mapping[PartyId, int],
    now: Mapping[PartyId, dt.datetime],
    *,
    noise_kinds: frozenset[str] = frozenset(),
    channel: Channel | None = None,
    agreed: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """The ``decision`` object of a study folder; its approvals are taken as signed for this very application.

    Raises:
        InputError: a grade key is absent, a count is missing, or a file is wrong.
    """
    built = requests(folder, people, now, noise_kinds=noise_kinds, agreed=agreed)
    return decision_of(folder, built, now, channel=channel)


def decision_of(
    folder: StudyFolder,
    built: Mapping[PartyId, Request],
    now: Mapping[PartyId, dt.datetime],
    *,
    channel: Channel | None = None,
) -> dict[str, Any]:
    """The ``decision`` object that these requests of a folder lead to."""
    found, views = findings(built)
    plan = join(folder.study, folder.federation, found, channel=channel)
    results = {
        party: approvals.check(
            plan, approvals.from_site(party, folder.sites[PartyId(party)].approval), now[PartyId(party)], party
        )
        for party in plan.parties
    }
    late = {note.rule: note for moment in now.values() for note in period_note(folder.study, moment)}
    return decision_json(plan, results, views, now=max(now.values()), extra=late.values())
