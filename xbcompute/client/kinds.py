"""The results of each kind of analysis, shown as users of lifelines and statsmodels know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xbcompute.client.result import COMMON, Result
from xbcompute.client.table import SUPPRESSED, Cell, Kind, Table, equals_p
from xbcompute.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Model(Result):
    """A fitted model; ``names`` are its coefficients in the order of ``cov``."""

    statistic = "z"
    ratio = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        return tuple(self._body.get("names") or self._body["coef"])

    def _column(self, key: str) -> tuple[Cell, ...]:
        return tuple(self.cell(key, name) for name in self.names)

    def _table(self, columns: Mapping[str, str], name: str) -> Table:
        """Columns shown under the key, filled from the JSON name in the value."""
        cells = [self._column(key) for key in columns.values()]
        kinds: dict[str, Kind] = {shown: "p" for shown, key in columns.items() if key == "p"}
        return Table(
            columns=tuple(columns), rows=tuple(zip(*cells, strict=True)), index=self.names, index_name=name, kinds=kinds
        )

    @property
    def summary(self) -> Table:
        """Coefficients as statsmodels prints them."""
        tail = (1 - self.ci_level) / 2
        return self._table(
            {
                "coef": "coef",
                "std err": "se",
                self.statistic: self.statistic,
                f"P>|{self.statistic}|": "p",
                f"[{tail:.4g}": "ci_lower",
                f"{1 - tail:.4g}]": "ci_upper",
            },
            "",
        )

    @property
    def ratios(self) -> Table:
        """Hazard, odds or rate ratios with their confidence limits.

        Raises:
            InputError: a ratio means nothing in this model.
        """
        if not self.ratio or "exp_coef" not in self._body:
            raise InputError("result.ratio", f"result {self.id}: a {self.kind} model has no ratios.")
        level = f"{self.ci_level * 100:g}%"
        return self._table(
            {
                self.ratio: "exp_coef",
                f"lower {level}": "exp_ci_lower",
                f"upper {level}": "exp_ci_upper",
                "p": "p",
            },
            "",
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Forest plot: ratios on a log axis, or coefficients where there are no ratios."""
        from xbcompute.client.plots import forest

        return forest(self, ax)

    def details(self) -> list[str]:
        """Log-likelihood, likelihood-ratio test and convergence."""
        lines = []
        if "loglik" in self._body:
            text = f"log-likelihood {self.loglik:.3f} (null {self.loglik_null:.3f})"
            lines.append(text + (f", AIC {self.aic:.2f}" if self._body.get("aic") is not None else ""))
        if self._body.get("lr"):
            lines.append(f"likelihood-ratio test: {chi2_text(self.lr)}")
        if "converged" in self._body:
            lines.append(f"{'converged' if self.converged else 'NOT CONVERGED'} in {self.iterations} iterations")
        return lines


class LinearModel(Model):
    """Ordinary least squares."""

    statistic = "t"


class LogisticModel(Model):
    """Logistic regression."""

    ratio = "odds ratio"


class PoissonModel(Model):
    """Poisson regression."""

    ratio = "rate ratio"


class CoxModel(Model):
    """Proportional hazards."""

    ratio = "hazard ratio"

    @property
    def summary(self) -> Table:
        """Coefficients as lifelines prints them."""
        level = f"{self.ci_level * 100:g}%"
        return self._table(
            {
                "coef": "coef",
                "exp(coef)": "exp_coef",
                "se(coef)": "se",
                f"coef lower {level}": "ci_lower",
                f"coef upper {level}": "ci_upper",
                f"exp(coef) lower {level}": "exp_ci_lower",
                f"exp(coef) upper {level}": "exp_ci_upper",
                "z": "z",
                "p": "p",
            },
            "covariate",
        )

    def details(self) -> list[str]:
        """Fit, test of proportional hazards, heterogeneity between sites."""
        lines = super().details()
        tests = self._body.get("ph_test") or {}
        found = {
            name: item["p"] for name, item in tests.items() if isinstance(item, dict) and item.get("p") is not None
        }
        if found:
            least = min(found, key=lambda name: found[name])
            lines.append(f"proportional hazards test: smallest p {equals_p(found[least])} ({least})")
        between = self._body.get("heterogeneity")
        if between:
            lines.append(
                f"between sites: Q = {between['Q']:.2f} on {between['df']} df, p {equals_p(between['p'])}, "
                f"I² = {_percent(between['i2'])}"
            )
        return lines


class KaplanMeier(Result):
    """Survival curves on merged intervals."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The curves: levels of ``by``, or ``all``."""
        return tuple(self._body["survival"])

    def curve(self, group: str) -> Table:
        """One curve, a row an interval: its end, at risk, events, censored, survival with limits."""
        columns = ("time", "at_risk", "events", "censored", "survival", "se", "ci_lower", "ci_upper")
        rows = []
        for place, time in enumerate(self._body["time"]):
            rows.append((time, *(self.cell(name, group, place) for name in columns[1:])))
        counts: dict[str, Kind] = {"at_risk": "count", "events": "count", "censored": "count"}
        return Table(columns=columns, rows=tuple(rows), kinds=counts)

    def _total(self, name: str, group: str) -> Cell:
        cells = [self.cell(name, group, place) for place in range(len(self._body["time"]))]
        return SUPPRESSED if any(not isinstance(cell, (int, float)) for cell in cells) else sum(cells)  # type: ignore[arg-type]

    @property
    def summary(self) -> Table:
        """One row a curve: people, events, median, and survival at the ends of up to five intervals."""
        times = self._body["time"]
        step = -(-len(times) // 5)
        shown = list(range(step - 1, len(times), step))
        rows = tuple(
            (
                self.cell("at_risk", group, 0),
                self._total("events", group),
                self.cell("median", group),
                *(self.cell("survival", group, place) for place in shown),
            )
            for group in self.groups
        )
        columns = ("n", "events", "median", *(f"S({times[place]:g})" for place in shown))
        kinds: dict[str, Kind] = {"n": "count", "events": "count"}
        return Table(columns=columns, rows=rows, index=self.groups, index_name="group", kinds=kinds)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Step curves with confidence bands and the numbers at risk underneath."""
        from xbcompute.client.plots import kaplan_meier

        return kaplan_meier(self, ax)

    def details(self) -> list[str]:
        """Log-rank test and how coarse the grid is."""
        lines = []
        if self._body.get("logrank"):
            lines.append(f"log-rank test: {chi2_text(self.logrank)}")
        open_ended = [group for group in self.groups if self.cell("median", group) is None]
        if open_ended:
            lines.append(f"median not reached: {', '.join(open_ended)}")
        ends = ", ".join(f"{time:g}" for time in self._body["time"])
        lines.append(f"intervals end at {ends} (unit {self.grid['unit']:g})")
        lines.append("Who leaves inside an interval counts as at risk to its end: long intervals hold a curve up.")
        return lines


class Describe(Result):
    """Counts, means and standard deviations, by group and column."""

    @property
    def groups(self) -> dict[str, Mapping[str, Any]]:
        """Each group's columns."""
        return {name: self._body[name] for name in self._body if name not in COMMON and isinstance(self[name], dict)}

    @property
    def summary(self) -> Table:
        """One row a group and column; levels of categories have rows of their own."""
        index: list[str] = []
        rows: list[tuple[Cell, ...]] = []
        quantiles = dict.fromkeys(
            str(q) for group in self.groups.values() for column in group.values() for q in column.get("quantiles") or ()
        )
        for group, columns in self.groups.items():
            lead = "" if group == "all" else f"{group} · "
            for name, body in columns.items():
                index.append(lead + name)
                path = (group, name)
                marks = (self.cell(*path, "quantiles", q) for q in quantiles)
                rows.append((*(self.cell(*path, key) for key in ("n", "missing", "mean", "sd")), *marks))
                for level in body.get("levels") or ():
                    index.append(f"{lead}{name} = {level}")
                    empty = (None,) * (3 + len(quantiles))
                    rows.append((self.cell(*path, "levels", level), *empty))
        kinds: dict[str, Kind] = {"n": "count", "missing": "count"}
        columns_shown = ("n", "missing", "mean", "sd", *(f"q{float(q) * 100:g}" for q in quantiles))
        return Table(columns=columns_shown, rows=tuple(rows), index=tuple(index), kinds=kinds)


class CrossTable(Result):
    """A contingency table."""

    @property
    def summary(self) -> Table:
        """Counts with their totals."""
        width, height = len(self._body["columns"]), len(self._body["rows"])
        rows: list[tuple[Cell, ...]] = [
            (*(self.cell("counts", row, column) for column in range(width)), self.cell("row_totals", row))
            for row in range(height)
        ]
        rows.append((*(self.cell("column_totals", column) for column in range(width)), self.cell("n")))
        columns = (*map(str, self._body["columns"]), "total")
        index = (*map(str, self._body["rows"]), "total")
        return Table(columns=columns, rows=tuple(rows), index=index, kinds=dict.fromkeys(columns, "count"))

    def details(self) -> list[str]:
        """The chi-square test, without correction."""
        test = self._body.get("chi2")
        return [f"chi-square test: {chi2_text(test)}"] if test else []


KINDS: dict[str, type[Result]] = {
    "linear": LinearModel,
    "logistic": LogisticModel,
    "poisson": PoissonModel,
    "cox": CoxModel,
    "kaplan_meier": KaplanMeier,
    "describe": Describe,
    "table": CrossTable,
}


def result_from(id: str, body: Mapping[str, Any]) -> Result:
    """The result of an analysis in the class of its kind; kinds without their own class get :class:`Result`."""
    return KINDS.get(str(body.get("kind")), Result)(id, body)


def chi2_text(test: Mapping[str, Any]) -> str:
    """``chi² = 8.57 on 1 df, p = 0.003``."""
    return f"chi² = {test['statistic']:.2f} on {test['df']} df, p {equals_p(test['p'])}"


def _percent(value: float) -> str:
    return f"{value * 100:.0f}%"
