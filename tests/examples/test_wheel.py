"""The wheel, installed in an empty place without the checkout, finds its cards, packs and demonstration folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PROBE = """
import json, sys, xbcompute
from xbcompute.specs.card import shipped_cards
from xbcompute.specs.pack import load_pack, shipped_pack_ids
from xbcompute.specs.shipped import demo, protocols
print(json.dumps({
    "package": xbcompute.__file__,
    "cards": [card.id for card in shipped_cards()],
    "packs": [load_pack(name).pack.id for name in shipped_pack_ids()],
    "protocols": str(protocols()),
    "demo": str(demo("biomed", "gbsg2")),
}))
"""


def run(command: list[str], cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False, **more
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of a virtual environment with the wheel, and this environment's packages behind it."""
    place = tmp_path_factory.mktemp("wheel")
    built = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = place.glob("*.whl")
    fresh = place / "venv"
    venv.create(fresh, with_pip=False)
    python = fresh / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    pip = run([sys.executable, "-m", "pip", "--python", str(python), *install], place)
    assert pip.returncode == 0, pip.stderr
    (site,) = (fresh / "lib").glob("python*/site-packages")
    # A line of a .pth file adds the folder alone: the editable install of the checkout in it stays unseen.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return fresh / "bin"


@pytest.fixture(scope="module")
def facts(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = run([str(installed / "python"), "-c", PROBE], tmp_path_factory.mktemp("empty"))
    assert done.returncode == 0, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def test_everything_shipped_lies_inside_the_installed_package(installed: Path, facts: dict[str, Any]) -> None:
    package = Path(facts["package"]).parent
    assert package.is_relative_to(installed.parent)
    assert Path(facts["protocols"]) == package / "_shipped" / "protocols"
    assert Path(facts["demo"]) == package / "_shipped" / "examples" / "biomed" / "gbsg2"
    assert {"masked-sum", "clear-aggregate"} <= set(facts["cards"])
    assert facts["packs"] == sorted(file.stem for file in (ROOT / "xbcompute/policy/packs").glob("*.toml"))


def test_the_same_cards_as_in_the_checkout(facts: dict[str, Any]) -> None:
    assert facts["cards"] == sorted(file.parent.name for file in (ROOT / "protocols").glob("*/card.toml"))


def test_selftest_replays_the_shipped_vectors(installed: Path, tmp_path: Path) -> None:
    done = run([str(installed / "xbcompute"), "selftest", "--json"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["failed"] == []
    assert outcome["vectors"] == len(list((ROOT / "protocols").glob("*/vectors/v1/*.json")))


def test_a_decision_on_the_shipped_folder(installed: Path, facts: dict[str, Any], tmp_path: Path) -> None:
    done = run([str(installed / "xbcompute"), "policy", "decide", facts["demo"], "--json"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    decision = json.loads(done.stdout)
    assert (decision["verdict"], decision["protocol"]) == ("PERMIT_WITH_CONDITIONS", "masked-sum")
    assert list(tmp_path.iterdir()) == []
