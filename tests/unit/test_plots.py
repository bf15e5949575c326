"""The figures show the numbers of the run and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Annotation

from xbcompute.client.kinds import KaplanMeier
from xbcompute.client.plots import PARTY_COLOURS, crossings, figure, forest, kaplan_meier, party_colours, style
from xbcompute.client.results import Run
from xbcompute.core.errors import InputError

SAMPLE = Path(__file__).parent / "data" / "gbsg2_run.json"


@pytest.fixture(autouse=True)
def no_window() -> Iterator[None]:
    mpl.use("agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def body() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def run(body: dict[str, Any]) -> Run:
    return Run(body)


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def notes(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts if isinstance(text, Annotation)]


def test_curves_start_at_one_and_carry_the_result(run: Run) -> None:
    ax = run["km"].plot()
    assert legend(ax) == ["no", "yes"]
    for line, group in zip(ax.get_lines(), ("no", "yes"), strict=True):
        x, y = (np.asarray(part, dtype=float) for part in line.get_data())
        assert (x[0], y[0]) == (0.0, 1.0)
        assert x[1:].tolist() == run["km"].time
        assert y[1:].tolist() == run["km"].survival[group]


def test_numbers_at_risk_stand_under_the_curve(run: Run) -> None:
    ax = run["km"].plot()
    written = notes(ax)
    for group in ("no", "yes"):
        assert group in written
        for number in run["km"].at_risk[group]:
            assert str(number) in written
    plain = kaplan_meier(run["km"], at_risk=False)  # type: ignore[arg-type]
    assert notes(plain) == []


def test_a_suppressed_number_leaves_a_gap(body: dict[str, Any]) -> None:
    km = body["results"]["km"]
    km["survival"]["yes"][2] = km["ci_lower"]["yes"][2] = km["ci_upper"]["yes"][2] = km["at_risk"]["yes"][2] = None
    km["suppressed"] = [f"{name}.yes.2" for name in ("survival", "ci_lower", "ci_upper", "at_risk")]
    ax = KaplanMeier("km", km).plot()
    assert np.isnan(np.asarray(ax.get_lines()[1].get_ydata(), dtype=float)[3])
    assert "·" in notes(ax)


def test_the_forest_plot_has_a_log_axis_and_every_ratio(run: Run) -> None:
    ax = run["cox"].plot()
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_yticklabels()] == list(run["cox"].names)
    middle = np.asarray(ax.get_lines()[0].get_xdata(), dtype=float)
    assert middle.tolist() == [run["cox"].exp_coef[name] for name in run["cox"].names]
    low, high = ax.get_xlim()
    assert low < min(run["cox"].exp_ci_lower.values())
    assert high > max(run["cox"].exp_ci_upper.values())
    assert "2.67 (1.59, 4.49)" in notes(ax)


def test_a_linear_model_is_drawn_on_a_plain_axis_without_intercept(body: dict[str, Any]) -> None:
    cox = body["results"]["cox"]
    linear = {key: value for key, value in cox.items() if not key.startswith("exp_")} | {"kind": "linear"}
    linear["names"] = ["Intercept", *linear["names"]]
    for key in ("coef", "se", "p", "ci_lower", "ci_upper"):
        linear[key] = {"Intercept": 0.5, **linear[key]}
    linear["t"] = linear["coef"]
    ax = Run({**body, "results": {"m": linear}})["m"].plot()
    assert ax.get_xscale() == "linear"
    assert "Intercept" not in [label.get_text() for label in ax.get_yticklabels()]


def test_the_figure_has_both_panels_and_the_given_names(run: Run, tmp_path: Path) -> None:
    fig = figure(run, title="Title", labels={"yes": "hormone therapy", "age": "age (a year)"}, note="A note.")
    left, right = fig.axes
    assert legend(left) == ["no", "hormone therapy"]
    assert "age (a year)" in [label.get_text() for label in right.get_yticklabels()]
    fig.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_outside_the_figure(run: Run) -> None:
    fig = figure(run, title="Title", labels={"no": "no hormone therapy", "yes": "hormone therapy"})
    fig.draw_without_rendering()
    width, height = fig.get_size_inches() * fig.dpi
    for ax in fig.axes:
        for text in [*ax.texts, *ax.get_xticklabels(), *ax.get_yticklabels(), ax.title, ax.xaxis.label]:
            box = text.get_window_extent()
            assert box.x0 >= -1
            assert box.x1 <= width + 1
            assert box.y0 >= -1
            assert box.y1 <= height + 1


def test_a_reference_is_dotted(run: Run) -> None:
    fig = figure(run, reference={"no": ([0.0, 100.0], [1.0, 0.9])})
    assert sum(line.get_linestyle() == ":" for line in fig.axes[0].get_lines()) == 1


def test_a_run_without_curves_or_model_says_so(body: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no survival curves and no model"):
        figure(Run({**body, "results": {"grade": body["results"]["grade"]}}))
    alone = figure(Run({**body, "results": {"cox": body["results"]["cox"]}}))
    assert len(alone.axes) == 1


def test_party_colours_do_not_depend_on_order() -> None:
    assert party_colours(["b", "a"]) == party_colours(["a", "b"]) == {"a": PARTY_COLOURS[0], "b": PARTY_COLOURS[1]}


def test_crossings_are_all_in_the_bars(run: Run) -> None:
    ax = crossings(run)
    drawn = sum(patch.get_width() for patch in ax.patches)  # type: ignore[attr-defined]
    total = sum(row["bytes"] for row in run.crossings if isinstance(row["bytes"], int))
    assert drawn * 1024 == pytest.approx(total)


def test_without_matplotlib_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (lambda: figure(run), lambda: forest(run["cox"]), lambda: crossings(run)):  # type: ignore[arg-type]
        with pytest.raises(InputError, match=r"xbcompute\[plots\]"):
            draw()


def test_the_style_leaves_other_settings_as_they_are() -> None:
    before = mpl.rcParams["font.size"]
    with style():
        assert mpl.rcParams["font.size"] != before
        mpl.rcParams["interactive"] = True
    assert mpl.rcParams["font.size"] == before
    assert mpl.rcParams["interactive"]
    mpl.rcParams["interactive"] = False
