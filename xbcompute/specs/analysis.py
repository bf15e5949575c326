"""The analyses a study may ask for, one model a kind."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict

from xbcompute.specs.base import Identifier, Name, Number, Positive, Spec

Level = Annotated[str, Strict()] | Annotated[int, Strict()]
CiLevel = Annotated[Number, Field(gt=0, lt=1)]


def terms(covariates: tuple[str, ...]) -> tuple[str, ...]:
    """Columns named by ``covariates``; ``a:b`` names two."""
    return tuple(dict.fromkeys(part for term in covariates for part in term.split(":")))


class Analysis(Spec):
    """What every kind has. ``output_type`` is the policy's word for what it gives (policy C1)."""

    output_type: ClassVar[str] = "aggregate"
    model_kind: ClassVar[bool] = False

    id: Identifier

    def columns_used(self) -> tuple[str, ...]:
        """Columns it names, interactions taken apart."""
        return ()


class Describe(Analysis):
    """Counts, means, standard deviations, quantiles from bins, level counts."""

    kind: Literal["describe"]
    columns: Annotated[tuple[Name, ...], Field(min_length=1)]
    by: Name | None = None
    quantiles: tuple[Annotated[Number, Field(gt=0, lt=1)], ...] = ()

    def columns_used(self) -> tuple[str, ...]:
        """The described columns and the grouping column."""
        return tuple(dict.fromkeys(self.columns + ((self.by,) if self.by else ())))


class Table(Analysis):
    """A contingency table with chi-square (no correction)."""

    kind: Literal["table"]
    rows: Name
    columns: Name

    def columns_used(self) -> tuple[str, ...]:
        """Row and column variable."""
        return (self.rows, self.columns)


class Histogram(Analysis):
    """Counts in bins; ``bins`` is a number of equal bins over the bounds, or edges."""

    kind: Literal["histogram"]
    column: Name
    bins: Positive | tuple[Number, ...]

    def columns_used(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


class Compare(Analysis):
    """Welch's t for two groups, one-way analysis of variance for more."""

    kind: Literal["compare"]
    column: Name
    by: Name

    def columns_used(self) -> tuple[str, ...]:
        """The column and the grouping column."""
        return (self.column, self.by)


class Regression(Analysis):
    """What generalised linear models share. ``offset`` is added to the linear predictor, ``exposure`` logged first."""

    model_kind: ClassVar[bool] = True

    outcome: Name
    covariates: Annotated[tuple[Name, ...], Field(min_length=1)]
    reference: dict[str, str] = Field(default_factory=dict)
    offset: Name | None = None
    exposure: Name | None = None
    robust: Literal["hc0", "hc1"] | None = None
    ci_level: CiLevel = 0.95

    def columns_used(self) -> tuple[str, ...]:
        """Outcome, covariates, offset and exposure."""
        extra = tuple(name for name in (self.offset, self.exposure) if name)
        return tuple(dict.fromkeys((self.outcome, *terms(self.covariates), *extra)))


class Linear(Regression):
    """Ordinary least squares."""

    kind: Literal["linear"]


class Logistic(Regression):
    """Logistic regression; ``positive`` names the level or number that counts as 1."""

    kind: Literal["logistic"]
    positive: Level | None = None


class Poisson(Regression):
    """Poisson regression with log link."""

    kind: Literal["poisson"]


class Survival(Analysis):
    """What analyses of times share; ``event_value`` names the level or number that is an event (default 1)."""

    time: Name
    event: Name
    event_value: Level | None = None

    def columns_used(self) -> tuple[str, ...]:
        """Time and event."""
        return (self.time, self.event)


class KaplanMeier(Survival):
    """Survival curves; with ``by`` one a level and the log-rank test. Times become ``unit·ceil(t/unit)``."""

    kind: Literal["kaplan_meier"]
    by: Name | None = None
    unit: Annotated[Number, Field(gt=0)] | None = None
    ci_level: CiLevel = 0.95

    def columns_used(self) -> tuple[str, ...]:
        """Time, event and the grouping column."""
        return tuple(dict.fromkeys((self.time, self.event, *((self.by,) if self.by else ()))))


class Cox(Survival):
    """Proportional hazards; ``baseline = "site"`` gives each holder its own baseline hazard."""

    model_kind: ClassVar[bool] = True

    kind: Literal["cox"]
    covariates: Annotated[tuple[Name, ...], Field(min_length=1)]
    reference: dict[str, str] = Field(default_factory=dict)
    ties: Literal["efron", "breslow"] = "efron"
    baseline: Literal["site", "shared"] = "site"
    unit: Annotated[Number, Field(gt=0)] | None = None
    strata: tuple[Name, ...] = ()
    ci_level: CiLevel = 0.95

    def columns_used(self) -> tuple[str, ...]:
        """Time, event, covariates and strata."""
        return tuple(dict.fromkeys((self.time, self.event, *terms(self.covariates), *self.strata)))


class Weibull(Survival):
    """Weibull accelerated failure time."""

    model_kind: ClassVar[bool] = True

    kind: Literal["weibull"]
    covariates: tuple[Name, ...] = ()
    reference: dict[str, str] = Field(default_factory=dict)
    ci_level: CiLevel = 0.95

    def columns_used(self) -> tuple[str, ...]:
        """Time, event and covariates."""
        return tuple(dict.fromkeys((self.time, self.event, *terms(self.covariates))))


class Rate(Analysis):
    """Events for each unit of exposure, with exact Poisson intervals."""

    kind: Literal["rate"]
    events: Name
    exposure: Name
    by: Name | None = None
    ci_level: CiLevel = 0.95

    def columns_used(self) -> tuple[str, ...]:
        """Events, exposure and the grouping column."""
        return tuple(dict.fromkeys((self.events, self.exposure, *((self.by,) if self.by else ()))))


class Extract(Analysis):
    """Raw rows; exists so that policy can refuse it."""

    output_type: ClassVar[str] = "record_extract"

    kind: Literal["extract"]
    columns: Annotated[tuple[Name, ...], Field(min_length=1)]

    def columns_used(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


class Predict(Analysis):
    """A model applied to rows."""

    output_type: ClassVar[str] = "predictions_row"

    kind: Literal["predict"]
    model: Name
    columns: tuple[Name, ...] = ()

    def columns_used(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


class Overlap(Analysis):
    """Size of the intersection of two holders' subjects."""

    output_type: ClassVar[str] = "psi_cardinality"

    kind: Literal["overlap"]


class Pca(Analysis):
    """Principal components of the correlation matrix, no scores."""

    model_kind: ClassVar[bool] = True

    kind: Literal["pca"]
    columns: Annotated[tuple[Name, ...], Field(min_length=2)]
    components: Positive | None = None

    def columns_used(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


class Correlation(Analysis):
    """The correlation matrix of columns."""

    kind: Literal["correlation"]
    columns: Annotated[tuple[Name, ...], Field(min_length=2)]

    def columns_used(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


class Association(Analysis):
    """Each of many columns against one outcome."""

    kind: Literal["association"]
    outcome: Name
    columns: Annotated[tuple[Name, ...], Field(min_length=1)]
    covariates: tuple[Name, ...] = ()
    top: Positive | None = None

    def columns_used(self) -> tuple[str, ...]:
        """Outcome, columns and covariates."""
        return tuple(dict.fromkeys((self.outcome, *self.columns, *terms(self.covariates))))


class Train(Analysis):
    """A model trained by an operator installed at the sites."""

    output_type: ClassVar[str] = "model_secagg"
    model_kind: ClassVar[bool] = True

    kind: Literal["train"]
    operator: Name
    columns: tuple[Name, ...] = ()
    config: dict[str, Any] = Field(default_factory=dict)

    def columns_used(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns


AnalysisSpec = Annotated[
    Describe
    | Table
    | Histogram
    | Compare
    | Linear
    | Logistic
    | Poisson
    | KaplanMeier
    | Cox
    | Weibull
    | Rate
    | Extract
    | Predict
    | Overlap
    | Pca
    | Correlation
    | Association
    | Train,
    Field(discriminator="kind"),
]
"""One ``[[analysis]]`` table, told apart by ``kind``."""
