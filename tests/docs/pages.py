"""What documentation holds: files, code and output in fenced blocks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
TUTORIALS = (ROOT / "docs/tutorials/first-study.md", ROOT / "docs/zh/first-study.md")
_FILE = re.compile(r"^```\w+\n# (\S+\.(?:toml|py))\n(.*?)^```", re.M | re.S)


def files(page: Path) -> dict[str, str]:
    """Blocks that begin with a comment naming their file."""
    return {name: f"# {name}\n{body}" for name, body in _FILE.findall(page.read_text(encoding="utf-8"))}


def write_files(page: Path, folder: Path) -> None:
    """The files of a tutorial, as a reader saves them, and its synthetic sites."""
    for name, text in files(page).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    script(folder, "make_sites.py")


def script(folder: Path, name: str) -> None:
    """Run one of the tutorial's scripts."""
    subprocess.run([sys.executable, name], cwd=folder, check=True, timeout=60)


def command(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``xbcompute`` in a terminal 100 columns wide."""
    return subprocess.run(
        [sys.executable, "-m", "xbcompute", *words.split()],
        cwd=folder,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
