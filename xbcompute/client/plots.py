"""Figures in one style: survival curves with numbers at risk, forest plots, and what crossed between whom.

Colours are constant: a party has one colour in every figure of a run, and so has a group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from xbcompute.client.kinds import KaplanMeier, Model
from xbcompute.client.results import Run
from xbcompute.client.table import equals_p, format_p
from xbcompute.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTY_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#6a51a3", "#8c6d31")
GROUP_COLOURS: Final = ("#33507a", "#c8553d", "#3f8f6b", "#8e5ea2", "#c99a2e", "#4aa3b5")
INK: Final = "#222222"
FAINT: Final = "#8a8a8a"
STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}
TICKS_MAX: Final = 8


@contextlib.contextmanager
def style() -> Iterator[None]:
    """The project's style while the block runs.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise InputError(
            "extra.plots",
            "a figure needs matplotlib, which is not installed.",
            todo='Install it with: pip install "xbcompute[plots]".',
        ) from None
    # Not rc_context: a notebook's backend turns interactive at its first figure, and that must outlive the block.
    before = {key: mpl.rcParams[key] for key in STYLE}
    mpl.rcParams.update(STYLE)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def party_colours(parties: Sequence[str]) -> dict[str, str]:
    """A colour for each party, by its place among the sorted ids."""
    return {party: PARTY_COLOURS[place % len(PARTY_COLOURS)] for place, party in enumerate(sorted(parties))}


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _numbers(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def kaplan_meier(
    result: KaplanMeier,
    ax: Axes | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    time_label: str = "time",
    survival_label: str = "survival",
    at_risk: bool = True,
    reference: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
) -> Axes:
    """Step curves with confidence bands, the log-rank test, and the numbers at risk underneath.

    A curve steps at the end of each merged interval; a number at risk stands at the start of its interval.
    ``reference`` gives times and survival of curves to compare with, by group; they are dotted.
    """
    named = labels or {}
    with style():
        ax = _axes(ax, (7.0, 4.6))
        ends = _numbers(result.time)
        starts = np.concatenate(([0.0], ends[:-1]))
        for place, group in enumerate(result.groups):
            colour = GROUP_COLOURS[place % len(GROUP_COLOURS)]
            curve, low, high = (
                np.concatenate(([1.0], _numbers(result[name][group]))) for name in ("survival", "ci_lower", "ci_upper")
            )
            grid = np.concatenate(([0.0], ends))
            ax.step(grid, curve, where="post", color=colour, linewidth=1.8, label=named.get(group, group))
            ax.fill_between(grid, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
            if reference and group in reference:
                ax.step(*reference[group], where="post", color=colour, linewidth=1.0, linestyle=":")
        shown = _spread(np.concatenate((starts, ends[-1:])), float(ends[-1]))
        ax.set_xticks(shown, [f"{tick:g}" for tick in shown])
        ax.set_xlim(0, float(ends[-1]) * 1.02)
        ax.set_ylim(0, 1.03)
        ax.set_yticks(np.linspace(0, 1, 6))
        ax.set_xlabel(time_label)
        ax.set_ylabel(survival_label)
        ax.grid(axis="y", color="#e6e6e6", linewidth=0.7)
        ax.set_axisbelow(True)
        if len(result.groups) > 1 or labels:
            ax.legend(loc="upper right", handlelength=1.6)
        if result._body.get("logrank"):
            test = result.logrank
            text = f"log-rank χ² = {test['statistic']:.2f} on {test['df']} df\np {equals_p(test['p'])}"
            ax.text(0.03, 0.05, text, transform=ax.transAxes, va="bottom", linespacing=1.4)
        if at_risk:
            _numbers_at_risk(result, ax, starts, shown, named)
    return ax


def _numbers_at_risk(
    result: KaplanMeier, ax: Axes, starts: Sequence[float] | Any, shown: Sequence[float], named: Mapping[str, str]
) -> None:
    def write(text: str, x: float, y: float, **more: Any) -> None:
        coords: Any = ("data", "axes fraction")
        ax.annotate(text, (x, 0), xycoords=coords, xytext=(0, y), textcoords="offset points", va="top", **more)

    top = -38.0
    write("at risk", 0, top, ha="center", color=FAINT, fontsize=8.5)
    for row, group in enumerate(result.groups):
        colour = GROUP_COLOURS[row % len(GROUP_COLOURS)]
        y = top - 14 - 13 * row
        coords: Any = ("axes fraction", "axes fraction")
        ax.annotate(
            named.get(group, group),
            (0, 0),
            xycoords=coords,
            xytext=(-18, y),
            textcoords="offset points",
            va="top",
            ha="right",
            color=colour,
            fontsize=8.5,
        )
        for place, start in enumerate(starts):
            if start in shown:
                cell = result.cell("at_risk", group, place)
                text = f"{cell:,}" if isinstance(cell, (int, float)) else "·"
                write(text, float(start), y, ha="center", fontsize=8.5)


def _spread(ticks: Any, end: float) -> list[float]:
    """At most :data:`TICKS_MAX` of the ticks, far enough apart to be read."""
    kept = [float(ticks[0])]
    for tick in ticks[1:]:
        if float(tick) - kept[-1] >= end / TICKS_MAX:
            kept.append(float(tick))
    return kept


def forest(result: Model, ax: Axes | None = None, *, labels: Mapping[str, str] | None = None) -> Axes:
    """Ratios with confidence limits on a log axis; coefficients on a plain one where there are no ratios.

    The intercept is left out.
    """
    named = labels or {}
    names = [name for name in result.names if name != "Intercept"]
    ratio = bool(result.ratio) and "exp_coef" in result
    keys = ("exp_coef", "exp_ci_lower", "exp_ci_upper") if ratio else ("coef", "ci_lower", "ci_upper")
    with style():
        ax = _axes(ax, (8.0, 1.2 + 0.42 * len(names)))
        places = np.arange(len(names))[::-1]
        middle, low, high = (_numbers([result[key][name] for name in names]) for key in keys)
        ax.hlines(places, low, high, color=GROUP_COLOURS[0], linewidth=1.8)
        ax.plot(middle, places, "s", color=GROUP_COLOURS[0], markersize=6.5)
        ax.axvline(1.0 if ratio else 0.0, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        ax.set_yticks(places, [named.get(name, name) for name in names])
        ax.set_ylim(-0.7, len(names) - 0.3)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        title = result.ratio if ratio else "coefficient"
        level = f"{result.ci_level * 100:g}%"
        if ratio:
            _log_axis(ax, low, high)
        ax.set_xlabel(f"{title} (log scale)" if ratio else title)
        _beside(ax, len(names) - 0.35, f"{title} ({level} CI)", "p", FAINT)
        for place, name in zip(places, names, strict=True):
            cells = [result.cell(key, name) for key in (*keys, "p")]
            if all(isinstance(cell, (int, float)) for cell in cells):
                value, lower, upper, p = (float(cell) for cell in cells)  # type: ignore[arg-type]
                digits = 3 if upper - lower < 0.1 else 2
                text = f"{value:.{digits}f} ({lower:.{digits}f}, {upper:.{digits}f})"
                _beside(ax, float(place), text, format_p(p), INK)
            else:
                _beside(ax, float(place), "suppressed", "", FAINT)
    return ax


def _beside(ax: Axes, y: float, text: str, p: str, colour: str) -> None:
    """Two columns of text at fixed distances right of the axes."""
    coords: Any = ("axes fraction", "data")
    more: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8.5, "color": colour}
    ax.annotate(text, (1, y), xycoords=coords, xytext=(12, 0), ha="left", **more)
    ax.annotate(p, (1, y), xycoords=coords, xytext=(165, 0), ha="right", **more)


def _log_axis(ax: Axes, low: Any, high: Any) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    ax.set_xscale("log")
    least, most = min(float(np.nanmin(low)), 0.9) / 1.08, max(float(np.nanmax(high)), 1.1) * 1.08
    ax.set_xlim(least, most)
    steps = (1, 2, 5) if most / least > 6 else (1, 1.5, 2, 3, 5, 7)
    ticks = [step * 10.0**power for power in range(-4, 5) for step in steps if least <= step * 10.0**power <= most]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def crossings(run: Run, ax: Axes | None = None) -> Axes:
    """Bytes each party sent, a bar a sender, a colour a receiver."""
    rows = list(run.crossings)
    parties = sorted({str(row[end]) for row in rows for end in ("from", "to")})
    colours = party_colours(parties)
    with style():
        ax = _axes(ax, (8.0, 1.2 + 0.42 * len(parties)))
        left = dict.fromkeys(parties, 0.0)
        for receiver in parties:
            for sender in parties:
                pair = [row["bytes"] for row in rows if row["from"] == sender and row["to"] == receiver]
                size = sum(count for count in pair if isinstance(count, int)) / 1024
                place = len(parties) - 1 - parties.index(sender)
                ax.barh(place, size, left=left[sender], color=colours[receiver], height=0.62, edgecolor="white")
                left[sender] += size
        ax.set_yticks(range(len(parties)), [f"from {party}" for party in reversed(parties)])
        ax.set_xlabel("KiB that left")
        ax.tick_params(axis="y", length=0)
        handles = [_swatch(colours[party]) for party in parties]
        ax.legend(handles, [f"to {party}" for party in parties], loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return ax


def _swatch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour)


def figure(
    run: Run,
    *,
    title: str = "",
    labels: Mapping[str, str] | None = None,
    time_label: str = "time",
    survival_label: str = "survival",
    reference: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    note: str = "",
) -> Figure:
    """Survival curves with numbers at risk beside the forest plot, from the first analysis of each sort.

    ``labels`` gives groups and coefficients the names that readers know; ``reference`` as in :func:`kaplan_meier`;
    ``note`` ends the caption.

    Raises:
        InputError: the run has neither, or matplotlib is not installed.
    """
    curves = next((result for result in run.values() if isinstance(result, KaplanMeier)), None)
    model = next((result for result in run.values() if isinstance(result, Model)), None)
    if curves is None and model is None:
        raise InputError("plot.run", "the run has no survival curves and no model to draw.")
    with style():
        from matplotlib.figure import Figure

        both = curves is not None and model is not None
        fig = Figure(figsize=(13.2, 5.6) if both else (8.0, 5.2), layout="constrained")
        axes = fig.subplots(1, 2, width_ratios=(1.25, 1.0)) if both else [fig.subplots()]
        place = 0
        if curves is not None:
            kaplan_meier(
                curves,
                axes[0],
                labels=labels,
                time_label=time_label,
                survival_label=survival_label,
                reference=reference,
            )
            axes[0].set_title("Kaplan–Meier curves")
            place = 1
        if model is not None:
            forest(model, axes[place if both else 0], labels=labels)
            axes[place if both else 0].set_title(f"{model.kind.replace('_', ' ').capitalize()} model")
        if title:
            fig.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
        fig.supxlabel(_caption(run) + (f" {note}" if note else ""), x=0.01, ha="left", fontsize=8.5, color=FAINT)
    return fig


def _caption(run: Run) -> str:
    parties = sorted({str(row["from"]) for row in run.crossings})
    scope = next(iter(run.values())).cell_scope
    return (
        f"{len(parties)} parties, {run.decision['protocol']}; {run.privacy.get('statement', '')}; "
        f"cell scope {scope}. Raw records stayed local."
    )
