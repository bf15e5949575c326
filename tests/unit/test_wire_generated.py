"""The generated code is what protocols/wire gives, and says so when it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from xbcompute.core.fields import DTYPES
from xbcompute.wire.v1 import frame_pb2, message_pb2, node_pb2

ROOT = Path(__file__).resolve().parents[2]


def check(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "tools" / "generate_wire.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_checked_in_code_matches_the_definitions() -> None:
    done = check(ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_drift_is_found_and_named(tmp_path: Path) -> None:
    for folder in ("protocols/wire", "xbcompute/wire/v1"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "generate_wire.py", tmp_path / "tools")
    assert check(tmp_path).returncode == 0
    definition = tmp_path / "protocols/wire/xbcompute/wire/v1/frame.proto"
    definition.write_text(definition.read_text("utf-8").replace("bytes plan = 5;", "bytes plan = 9;"), "utf-8")
    (tmp_path / "xbcompute/wire/v1/left_over_pb2.py").touch()
    done = check(tmp_path)
    assert done.returncode == 1
    assert "frame_pb2.py, left_over_pb2.py" in done.stderr
    assert "message_pb2" not in done.stderr


def test_definitions_name_what_the_core_names() -> None:
    assert {value.name for value in message_pb2.ElementType.DESCRIPTOR.values} == {
        "ELEMENT_TYPE_UNSPECIFIED",
        *(f"ELEMENT_TYPE_{name.upper()}" for name in DTYPES),
    }
    link = frame_pb2.DESCRIPTOR.services_by_name["Peer"].methods_by_name["Link"]
    assert link.client_streaming
    assert link.server_streaming
    assert set(node_pb2.DESCRIPTOR.services_by_name["Node"].methods_by_name) == {
        "Explain",
        "Submit",
        "Watch",
        "Results",
        "Approve",
        "Ledger",
        "Status",
    }
