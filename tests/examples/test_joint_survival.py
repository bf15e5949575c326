"""The notebook runs from first cell to last, is the script it is paired with, and shows what it says it shows."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jupytext
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2] / "examples" / "biomed"


def cells(notebook: Any) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def texts(notebook: Any) -> str:
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found.append(output.get("text", ""))
            found.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(found)


def figures(notebook: Any) -> list[bytes]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [base64.b64decode(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})]


def test_notebook_and_script_are_the_same_cells() -> None:
    notebook = jupytext.read(ROOT / "joint_survival.ipynb")
    script = jupytext.read(ROOT / "joint_survival.py")
    assert cells(notebook) == cells(script)


def test_the_committed_outputs_are_complete_and_small() -> None:
    path = ROOT / "joint_survival.ipynb"
    notebook = jupytext.read(path)
    assert path.stat().st_size < 400_000
    assert len(figures(notebook)) == 3
    assert all(figure.startswith(b"\x89PNG") for figure in figures(notebook))
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == list(
        range(1, 1 + sum(cell.cell_type == "code" for cell in notebook.cells))
    )
    for word in (str(ROOT.parent.parent), "/home/", "/tmp/", "Traceback"):
        assert word not in path.read_text(encoding="utf-8")


@pytest.mark.processes
@pytest.mark.timeout(300)
def test_the_notebook_runs() -> None:
    notebook = jupytext.read(ROOT / "joint_survival.ipynb")
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = texts(notebook)
    assert "PERMIT_WITH_CONDITIONS" in shown
    assert "DENY" in shown
    assert len(figures(notebook)) == 3
    line = next(line for line in shown.splitlines() if line.startswith("largest difference: "))
    assert float(line.split(": ")[1]) < 1e-8
