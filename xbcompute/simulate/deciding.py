"""The decision on a study folder without starting anything: people are counted in this process, where all sites lie."""

from __future__ import annotations

import datetime as dt
from typing import Any

from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits, Schema
from xbcompute.node.sources import count_people
from xbcompute.policy import folder as policy_folder
from xbcompute.policy.cost import Channel
from xbcompute.specs.base import SHANGHAI
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.schema import column_facts, join_schema


def count_all(folder: StudyFolder) -> dict[PartyId, int]:
    """Distinct people of the study at every holder, counted from its data.

    Raises:
        InputError: a holder's data cannot be read as its site.toml says, or the holders' columns do not fit together.
    """
    people = {
        holder.id: count_people(folder.dataset(holder.id), folder.site_dirs[holder.id], folder.study, party=holder.id)
        for holder in folder.federation.holders()
    }
    if folder.study.study.partition == "horizontal":
        joint_schema(folder)
    return people


def joint_schema(folder: StudyFolder) -> Schema:
    """The schema of a horizontal study over all holders of the folder, under limits that leave nothing out.

    Raises:
        InputError: the holders' columns do not fit together, naming holder, column and level.
    """
    holders = folder.federation.holders()
    columns = folder.study.source_columns()
    facts = {holder.id: column_facts(folder.dataset(holder.id), columns) for holder in holders}
    return join_schema(folder.study, facts, holders, Limits(cell_min=1, model_rules=False))


def clocks(folder: StudyFolder) -> dict[PartyId, dt.datetime]:
    """Each site's fixed clock, or now."""
    now = dt.datetime.now(SHANGHAI)
    return {party: site.site.clock or now for party, site in folder.sites.items()}


def decide_folder(folder: StudyFolder, channel: Channel | None = None) -> dict[str, Any]:
    """The ``decision`` object of a study folder; its cost over ``channel`` where figures are given."""
    return policy_folder.decide_folder(folder, count_all(folder), clocks(folder), channel=channel)
