"""The benchmarks run at all, and compare sums and fits that are right. Nothing here is about time."""

from __future__ import annotations

import pytest

from benchmarks.__main__ import main
from benchmarks.mpyc_sum import mpyc_seconds
from benchmarks.report import Goal, Line, faster, table, times
from benchmarks.summing import Summing


def test_a_ratio_says_whether_its_goal_is_met() -> None:
    lines = [
        times("ours", 3.0, "moving", 1.0, 8),
        times("ours", 9.0, "moving", 1.0, 8),
        faster("ours", 0.1, "theirs", 5.0, 50),
        faster("ours", 0.1, "theirs", 4.9, 50),
        Line("alone", 1.0),
    ]
    assert [line.cells()[3:] for line in lines] == [
        ("3.00", "≤ 8", "met"),
        ("9.00", "≤ 8", "not met"),
        ("50.00", "≥ 50", "met"),
        ("49.00", "≥ 50", "not met"),
        ("", "", ""),
    ]
    assert Goal(1.0).met(1.0)
    assert len(table(lines).splitlines()) == 1 + len(lines)


@pytest.mark.processes
def test_parties_sum_and_move_numbers_through_the_gate() -> None:
    with Summing() as parties:
        parties.numbers(300_000)  # a vector of more frames than wait for a slow peer
        assert all(parties.seconds(what, 300_000) > 0 for what in ("gate", "move", "sum", "sum"))


@pytest.mark.slow
@pytest.mark.processes
def test_the_quick_run_prints_every_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert mpyc_seconds("SecFld", 100, 1) > 0
    main(["--quick"])
    printed = capsys.readouterr().out
    for name in ("MPyC", "numpy", "lifelines", "statsmodels", "in the clear", "first round", "gate to gate"):
        assert name in printed
    assert "not met" not in printed
