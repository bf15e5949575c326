"""Writes xbcompute/wire/v1 from protocols/wire; with --check, says whether the code there still matches.

Messages and their type stubs only: services are served and called by the names in the descriptors, so no generated
stub ties the package to one version of grpcio.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "protocols" / "wire"
TARGET = ROOT / "xbcompute" / "wire" / "v1"
PACKAGE = Path("xbcompute/wire/v1")
INIT = '"""Generated from protocols/wire by tools/generate_wire.py; not edited."""\n'


def generate(folder: Path) -> dict[str, str]:
    """The generated files by name, made in the empty ``folder``.

    Raises:
        RuntimeError: when the definitions do not compile.
    """
    protos = sorted(str(path.relative_to(SOURCE)) for path in (SOURCE / PACKAGE).glob("*.proto"))
    google = str(files("grpc_tools").joinpath("_proto"))
    arguments = ["protoc", f"-I{SOURCE}", f"-I{google}", f"--python_out={folder}", f"--pyi_out={folder}", *protos]
    if protoc.main(arguments) != 0:
        raise RuntimeError("protocols/wire does not compile; the lines above say why.")
    made = {path.name: path.read_text("utf-8") for path in sorted((folder / PACKAGE).iterdir())}
    return {"__init__.py": INIT, **made}


def drift(made: dict[str, str]) -> list[str]:
    """Names of files that are missing, left over or different in the package."""
    there = {path.name: path.read_text("utf-8") for path in TARGET.glob("*.py*") if path.is_file()}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """0 when the package matches (or was written), 1 when it drifted, 2 for a wrong argument."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: generate_wire.py [--check]\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
    changed = drift(made)
    if arguments:
        if changed:
            sys.stderr.write(f"xbcompute/wire/v1 differs from protocols/wire: {', '.join(changed)}; run make proto.\n")
        return 1 if changed else 0
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in changed:
        if name in made:
            (TARGET / name).write_text(made[name], "utf-8")
        else:
            (TARGET / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
