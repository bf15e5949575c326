"""``site.toml``: one party's own facts, datasets, evidence, approvals and users."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from xbcompute.specs.base import Count, Flag, Identifier, Moment, Name, Number, Positive, Sha256Text, Spec, Text, Window
from xbcompute.specs.wording import GradeName

Scope = Annotated[str, Field(min_length=1)] | tuple[str, ...] | dict[str, Any]


class SiteHeader(Spec):
    """The ``[site]`` table; ``clock`` and ``unsigned_packs`` exist for simulation only."""

    party: Identifier
    packs: tuple[Name, ...] = ()
    unsigned_packs: tuple[Name, ...] = ()
    cell_scope: Literal["holder", "pooled"] | None = None
    clock: Moment | None = None


class Counted(Spec):
    """People already counted this calendar year (simulation only; a node counts for itself)."""

    sensitive: Count = 0
    non_sensitive: Count = 0


class Entity(Spec):
    """What policy asks about the party itself."""

    ciio: Flag | Literal["unknown"] = "unknown"
    zone: Name = "none"
    listed_partner_until: Moment | None = None
    pipl42_listed: Flag = False
    counted_this_year: Counted = Counted()
    same_purpose_this_year: dict[Name, Counted] = Field(default_factory=dict)


class ColumnSpec(Spec):
    """One registered column; ``from`` is its local name, ``bounds`` are declared and clip nothing."""

    from_: Name | None = Field(default=None, alias="from")
    type: Literal["category", "number", "date", "text"]
    levels: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    bounds: tuple[Number, Number] | tuple[Moment, Moment] | None = None
    unit: str = ""
    tags: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _shape(self) -> ColumnSpec:
        if (self.type == "category") != bool(self.levels):
            raise PydanticCustomError("column", "a category needs 'levels', other types have none")
        if len(set(self.levels)) != len(self.levels):
            raise PydanticCustomError("column", "a level stands twice in 'levels'")
        if self.bounds is not None:
            if self.type not in ("number", "date"):
                raise PydanticCustomError("column", "'bounds' go with numbers and dates")
            low, high = self.bounds
            if not low < high:  # type: ignore[operator]
                raise PydanticCustomError("column", "'bounds' must be [lower, upper] with lower < upper")
        return self


class ExportControl(Spec):
    """Export-control state under each law. ``maintenance_only``: listed technology kept strictly for the maintenance or
    repair of goods that were lawfully exported.
    """

    cn: Literal["none", "listed", "unknown"]
    sg: Literal["none", "listed", "unknown"]
    maintenance_only: Flag = False


class Derived(Spec):
    """What derived data was made from; its grade is inherited unless a named approver lowered it."""

    grade: GradeName
    lowered_by: Name | None = None


class GradeEvent(Spec):
    """Something after which a dataset is graded anew."""

    kind: Literal["catalogue_change", "merge", "reidentification"]
    at: Moment


class Consent(Spec):
    """What the subjects' consent covers; contributors of a masked sum are recipients."""

    purposes: tuple[Name, ...] = ()
    recipients: tuple[Name, ...] = ()
    export: Flag = False


class Dataset(Spec):
    """A registered dataset and its grades. A grade key that is absent is not guessed: policy refuses (exit 2)."""

    id: Name
    source: Name
    origin: Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
    collected_in: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = None
    subjects: Name
    rows_per_subject: Literal["one", "many"] = "one"
    rows_max: Positive
    rows_min: Positive | None = None
    cn_grade: Literal["general", "important", "core", "unknown"] | None = None
    important_source: Literal["none", "notified", "published", "self_identified", "suspected"] | None = None
    pi: Literal["none", "anonymised", "deidentified", "personal", "sensitive", "unknown"] | None = None
    health_level: Annotated[int, Field(strict=True, ge=1, le=5)] | Literal["none", "unknown"] | None = None
    hgr: Literal["none", "clinical_only", "genetic_info", "wes_wgs", "unknown"] | None = None
    hgr_people: Count | None = None
    hgr_pedigree: Flag | None = None
    hgr_region: Flag | None = None
    minors_under14: Flag | Literal["unknown"] | None = None
    special_disease: Flag | Literal["unknown"] | None = None
    state_organ_data: Flag | Literal["unknown"] | None = None
    state_secret: Flag = False
    export_control: ExportControl | None = None
    sg_class: (
        Literal["none", "anonymised", "personal", "hbra_identifiable", "hbra_nonidentifiable", "nehr", "unknown"] | None
    ) = None
    consent: Consent | None = None
    retention_until: Moment | None = None
    derived: Derived | None = None
    graded_at: Moment | None = None
    event: tuple[GradeEvent, ...] = ()
    columns: Annotated[dict[str, ColumnSpec], Field(min_length=1)]

    @model_validator(mode="after")
    def _rows(self) -> Dataset:
        if self.rows_min is not None and self.rows_min > self.rows_max:
            raise PydanticCustomError("rows", "'rows_min' is larger than 'rows_max'")
        if self.subjects in self.columns:
            raise PydanticCustomError(
                "subjects", "the 'subjects' column identifies people and cannot be a study column"
            )
        return self


class Evidence(Window):
    """A document from outside, as its holder recorded it; the number is not verified by this system."""

    kind: Name
    number: Name | None = None
    issuer: Name | None = None
    scope: Scope | None = None
    parties: tuple[Name, ...] = ()
    purposes: tuple[Name, ...] = ()
    countries: tuple[Name, ...] = ()
    basis: Name | None = None
    shared_use: Flag = False
    file_sha256: Sha256Text | None = None


class Approval(Window):
    """What a site's people approve; in simulation it is signed with throwaway keys and goes the real way."""

    study: Identifier
    purpose: Name
    outputs: tuple[Name, ...]
    roles: tuple[Name, ...]


class UserSpec(Spec):
    """One of the party's people: an identity and the roles it may sign for."""

    id: Identifier
    certificate: Text
    signing_key: Name
    roles: tuple[Name, ...]


class Site(Spec):
    """The whole file."""

    site: SiteHeader
    entity: Entity = Entity()
    dataset: tuple[Dataset, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    approval: tuple[Approval, ...] = ()
    user: tuple[UserSpec, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Site:
        ids = [d.id for d in self.dataset]
        if len(set(ids)) != len(ids):
            raise PydanticCustomError("dataset", "two datasets have the same id")
        return self

    def find_dataset(self, dataset: str) -> Dataset | None:
        """The dataset registered under this id."""
        return next((d for d in self.dataset if d.id == dataset), None)
