"""What a finished result shows, kind by kind, in the shapes study-folder.md fixes: the last look before release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.cells import intervals

NEVER: Final = frozenset(
    {"min", "max", "minimum", "maximum", "range", "residuals", "resid", "fitted", "fitted_values", "leverage", "scores"}
)
"""Keys whose values would be single rows (policy C4.10)."""

DESCRIBED: Final = frozenset({"n", "missing", "mean", "sd", "quantiles", "levels"})
COMMON: Final = frozenset({"kind", "n", "n_dropped", "suppressed", "cell_scope", "notes"})
CURVE: Final = ("survival", "se", "ci_lower", "ci_upper", "at_risk", "events", "censored")
TOLERANCE: Final = 1e-6
"""Within which a curve must follow from its counts, in people."""


class _Look:
    """One result under examination."""

    def __init__(self, result: Mapping[str, Any], limits: Limits) -> None:
        self.result = result
        self.limits = limits
        listed = result.get("suppressed")
        if not isinstance(listed, list) or not all(isinstance(path, str) for path in listed):
            raise _no("suppressed", "is missing or no list of paths")
        self.suppressed = set(listed)

    def count(self, value: Any, path: str) -> None:
        """A count that is shown must not be small; one that is withheld must be listed."""
        if value is None:
            if path not in self.suppressed:
                raise _no(path, "is withheld and not listed in 'suppressed'")
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or not float(value).is_integer() or value < 0:
            raise _no(path, "is no count")
        if 0 < value < self.limits.cell_min:
            raise _no(path, "is a count below the minimum cell")
        if path in self.suppressed:
            raise _no(path, "is listed in 'suppressed' and shown")

    def counts(self, values: Any, path: str) -> None:
        """Counts in a list or object, nested as they are."""
        if isinstance(values, Mapping):
            for key, value in values.items():
                self.counts(value, f"{path}.{key}")
        elif isinstance(values, list):
            for key, value in enumerate(values):
                self.counts(value, f"{path}.{key}")
        else:
            self.count(values, path)


def check_shown(result: Mapping[str, Any], kind: str, limits: Limits) -> None:
    """See :func:`xbcompute.disclosure.release.audit_result`."""
    if result.get("kind") != kind or kind not in _KINDS:
        raise _no("kind", f"'{kind}' is not one whose results can be checked, or not the one the result states")
    if result.get("cell_scope") != limits.cell_scope:
        raise _no("cell_scope", "does not state the scope the cells were tested on")
    look = _Look(result, limits)
    look.count(result.get("n"), "n")
    look.count(result.get("n_dropped"), "n_dropped")
    if kind == "describe":
        named = frozenset(result)  # every key that is not common is a group's name
    else:
        named = frozenset(result.get("events", ())) if kind == "kaplan_meier" else frozenset()
    _refuse_keys({key: value for key, value in result.items() if key not in named}, "")
    _KINDS[kind](look)


def _refuse_keys(found: Mapping[str, Any], path: str) -> None:
    for key in found:
        if key.lower() in NEVER:
            raise _no(f"{path}{key}", "shows single rows")


def _describe(look: _Look) -> None:
    for group, columns in look.result.items():
        if group in COMMON:
            continue
        if not isinstance(columns, Mapping):
            raise _no(group, "is no group of columns")
        for column, cell in columns.items():
            path = f"{group}.{column}"
            extra = sorted(set(cell) - DESCRIBED)
            if extra:
                raise _no(f"{path}.{extra[0]}", "is not among what may be described")
            look.count(cell.get("n"), f"{path}.n")
            look.count(cell.get("missing"), f"{path}.missing")
            if cell.get("n") is None and (cell.get("mean") is not None or cell.get("sd") is not None):
                raise _no(path, "shows a mean of people whose number is withheld")
            levels = cell.get("levels")
            if levels is not None:
                look.counts(levels, f"{path}.levels")
                _not_derivable(look, f"{path}.levels", [list(levels.values())], None, None, total=cell.get("n"))


def _table(look: _Look) -> None:
    result = look.result
    for key in ("counts", "row_totals", "column_totals"):
        look.counts(result.get(key), key)
    withheld = any(path.split(".")[0] in ("counts", "row_totals", "column_totals") for path in look.suppressed)
    if withheld and "chi2" in result:
        raise _no("chi2", "is shown beside a withheld cell")
    margins = result["row_totals"], result["column_totals"]
    _not_derivable(look, "counts", result["counts"], *margins, total=result.get("n"))


def _not_derivable(look: _Look, path: str, counts: list[list[Any]], *margins: list[Any] | None, total: Any) -> None:
    """No withheld count may lie in an interval narrower than the minimum cell, given the shown ones.

    ``margins`` are row and column totals, None where none are shown. Shown counts that do not add up (distinct
    subjects who stand in several cells) leave nothing to solve for.
    """
    height, width = len(counts), len(counts[0])
    rows = margins[0] or [total if height == 1 else None] * height
    columns = margins[1] or [None] * width
    shown = [[*line, end] for line, end in zip(counts, rows, strict=True)] + [[*columns, total]]
    hidden = np.array([[value is None for value in line] for line in shown])
    watched = hidden.copy()  # what is listed as withheld, and not a total that nobody shows anyway
    watched[:-1, -1] &= margins[0] is not None
    watched[-1, :-1] &= margins[1] is not None
    watched[-1, -1] = False
    if not watched.any():
        return
    whole = np.array([[0 if value is None else int(value) for value in line] for line in shown], dtype=np.int64)
    for place, low, high in intervals(whole, hidden) or []:
        if watched[place] and high - low < look.limits.cell_min - 0.5:
            raise _no(path, "has a withheld count that the shown ones pin down")


def _curves(look: _Look) -> None:
    result = look.result
    times = result.get("time")
    if not isinstance(times, list):
        raise _no("time", "is no list")
    for key in ("at_risk", "events", "censored"):
        look.counts(result.get(key), key)
    for group in result["events"]:
        for key in CURVE:
            if len(result[key][group]) != len(times):
                raise _no(f"{key}.{group}", "has another length than 'time'")
        _follows(result, group)
        if result.get(group) != {key: result[key][group] for key in (*CURVE, "median")}:
            raise _no(group, "is not the curve that the result shows under the names of its parts")
    grid = result.get("grid", {})
    if isinstance(grid.get("merged"), list) and len(grid["merged"]) != len(times):
        raise _no("grid.merged", "is finer than the curve")


def _follows(result: Mapping[str, Any], group: str) -> None:
    """S(t)/S(t−1) rebuilds the events of an interval: they must be the ones that are shown, and no others."""
    before = 1.0
    risk, events, censored = (result[key][group] for key in ("at_risk", "events", "censored"))
    for k, survival in enumerate(result["survival"][group]):
        if None in (risk[k], events[k], censored[k]):
            if survival is not None:
                raise _no(f"survival.{group}.{k}", "is shown though its counts are withheld")
            continue
        rebuilt = risk[k] * (1.0 - survival / before) if before > 0 else 0.0
        if abs(rebuilt - (events[k] if before > 0 else 0)) > TOLERANCE * max(1.0, risk[k]):
            raise _no(f"survival.{group}.{k}", "does not follow from the events shown")
        if k + 1 < len(risk) and risk[k + 1] is not None and risk[k + 1] != risk[k] - events[k] - censored[k]:
            raise _no(f"at_risk.{group}.{k + 1}", "does not follow from the counts shown")
        before = survival


def _model(look: _Look) -> None:
    result, limits = look.result, look.limits
    if "events" in result:
        look.count(result["events"], "events")
    df = result.get("df_resid")
    if limits.model_rules and df is not None and df < limits.df_min:
        raise _no("df_resid", "is below the least number of residual degrees of freedom")


def _compare(look: _Look) -> None:
    for group, shown in look.result["groups"].items():
        _refuse_keys(shown, f"groups.{group}.")
        look.count(shown.get("n"), f"groups.{group}.n")
        if shown.get("n") is None and (shown.get("mean") is not None or shown.get("sd") is not None):
            raise _no(f"groups.{group}", "shows a mean of people whose number is withheld")


def _histogram(look: _Look) -> None:
    look.counts(look.result["counts"], "counts")
    _not_derivable(look, "counts", [look.result["counts"]], None, None, total=look.result.get("n"))


def _rate(look: _Look) -> None:
    look.counts(look.result["events"], "events")


def _numbers_only(look: _Look) -> None:
    """Kinds that show no counts beside ``n``."""


_KINDS: Final[Mapping[str, Callable[[_Look], None]]] = {
    "describe": _describe,
    "table": _table,
    "kaplan_meier": _curves,
    "compare": _compare,
    "histogram": _histogram,
    "rate": _rate,
    **dict.fromkeys(("linear", "logistic", "poisson", "cox", "weibull"), _model),
    **dict.fromkeys(("pca", "correlation"), _numbers_only),
}


def _no(path: str, what: str) -> RefusedError:
    return RefusedError(
        "disclosure.result",
        f"the result is not released: {path} {what}.",
        todo="Use coarser levels or intervals; if that does not help, report it.",
    )
