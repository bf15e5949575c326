"""What a pack may carry besides rules: lists, catalogues, partners, templates and pilots, with source and dates."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from xbcompute.specs.base import Identifier, Name, Positive, Spec, Window
from xbcompute.specs.federation import JurisdictionCode
from xbcompute.specs.wording import OutputType, Wording

Tags = Annotated[tuple[Name, ...], Field(min_length=1)]


class NegativeList(Window):
    """A free-trade zone's list of data that still needs a filing; ``listed`` are column tags.

    Data of a holder in the zone is off the list when each of its columns is tagged and none is listed.
    """

    zone: Name
    authority: Name
    number: Name
    industries: Annotated[tuple[Name, ...], Field(min_length=1)]
    listed: Tags
    cites: Name


class PositiveEntry(Spec):
    """One line of an industry's positive list. Being on it fast-tracks a study; being off it permits nothing."""

    id: Identifier
    industry: Name
    purpose: Name
    tags: Tags
    outputs: Annotated[tuple[OutputType, ...], Field(min_length=1)]
    text: Wording
    cites: Name


class CatalogueEntry(Spec):
    """One entry of an important-data catalogue: data with one of these column tags is (or may be) important.

    Only what an authority notified or published fires the duty of assessment.
    """

    id: Identifier
    source: Literal["notified", "published", "self_identified"]
    authority: Name
    date: dt.date
    industry: Name
    tags: Tags
    text: Wording
    cites: Name

    @property
    def state(self) -> str:
        """``confirmed`` or ``suspected``."""
        return "suspected" if self.source == "self_identified" else "confirmed"


class PartnerEntry(Window):
    """A partner on the whitelist, for ``[from, to)``; a suspended one is not on it."""

    party: Identifier
    jurisdiction: JurisdictionCode
    status: Literal["listed", "suspended"] = "listed"
    signing_key: Name | None = None


class BilateralTemplate(Spec):
    """What two jurisdictions agreed for one kind of study: purposes, column tags, outputs, protocol cards, retention,
    clauses. The signatures of both sides over the pack are the signatures under the template.
    """

    id: Identifier
    title: Wording
    principles: Annotated[tuple[Wording, ...], Field(min_length=1)]
    jurisdictions: Annotated[tuple[JurisdictionCode, ...], Field(min_length=2, max_length=2)]
    industry: Name
    purposes: Annotated[tuple[Name, ...], Field(min_length=1)]
    outputs: Annotated[tuple[OutputType, ...], Field(min_length=1)]
    protocols: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    fields: tuple[Name, ...] = ()
    retention_years: Positive
    clauses: Annotated[tuple[Wording, ...], Field(min_length=1)]


class Pilot(Window):
    """A measure on trial: whom it is for, from when to when, and by what it is judged."""

    id: Identifier
    participants_max: Positive
    metrics: Annotated[tuple[Wording, ...], Field(min_length=1)]
