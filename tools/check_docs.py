"""Documentation that cannot drift: links, docstrings, cards, decisions, commands in the README, error codes.

``--write`` writes docs/reference/errors.md first.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

sys.path.insert(0, str(Path(__file__).parent))

from error_codes import collect, page

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
ERRORS = Path("docs", "reference", "errors.md")
_LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\s*\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)\"", re.M)
_FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
_ADR = re.compile(r"(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md")
_CODE = re.compile(r"^```[^\n]*\n(.*?)^```|`([^`\n]+)`", re.M | re.S)
_COMMAND = re.compile(r"(?:^|&&)\s*(?:\$ )?(?:\.venv/bin/)?xbcompute ([^&\n]+)", re.M)


def links(root: Path) -> Iterator[str]:
    """Every link to a file of the repository resolves, and so does its heading."""
    for path in [*(root / name for name in READMES), *sorted((root / "docs").rglob("*.md"))]:
        if not path.exists():
            yield f"{path.relative_to(root)} is missing"
            continue
        text = _FENCE.sub("", path.read_text(encoding="utf-8"))
        for groups in _LINK.findall(text):
            target = next(group for group in groups if group)
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, _, heading = unquote(target).partition("#")
            file = (root / name.lstrip("/") if name.startswith("/") else path.parent / name) if name else path
            if not file.resolve().is_relative_to(root) or not file.exists():
                yield f"{path.relative_to(root)}: the link {target} leads nowhere"
            elif heading and file.suffix == ".md" and heading not in _headings(file):
                yield f"{path.relative_to(root)}: {name or path.name} has no heading #{heading}"


def _headings(path: Path) -> set[str]:
    """Anchors as GitHub makes them."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+\s+(.*?)\s*#*$", text, re.M)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)).lower() for title in titles)
    return {title.replace(" ", "-") for title in plain} | set(re.findall(r"<a (?:id|name)=\"([^\"]+)\"", text))


def docstrings(root: Path) -> Iterator[str]:
    """Every public module, class and function of the package says what it gives."""
    for path in sorted((root / "xbcompute").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        hidden = any(part.startswith("_") and part not in {"__init__", "__main__"} for part in parts)
        if hidden or parts[:3] == ("xbcompute", "wire", "v1"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not (ast.get_docstring(tree) or "").strip():
            yield f"{name} has no docstring"
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _undocumented(node, name)


def _undocumented(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, within: str) -> Iterator[str]:
    overload = any(ast.unparse(item).endswith("overload") for item in node.decorator_list)
    if not node.name.startswith("_") and not overload and not (ast.get_docstring(node) or "").strip():
        yield f"{within}.{node.name} has no docstring"


def cards(root: Path) -> Iterator[str]:
    """Every protocol is a card; one that runs has a specification, one that is only planned has none to show yet."""
    for folder in sorted((root / "protocols").iterdir()):
        if folder.is_dir() and folder.name not in {"wire", "__pycache__"}:
            card = folder / "card.toml"
            planned = card.is_file() and tomllib.loads(card.read_text(encoding="utf-8")).get("maturity") == "planned"
            for name in ("card.toml", *(() if planned else ("spec.md",))):
                if not (folder / name).is_file():
                    yield f"protocols/{folder.name} has no {name}"


def decisions(root: Path) -> Iterator[str]:
    """Decision records are numbered, each number once."""
    numbers: dict[str, str] = {}
    for path in sorted((root / "docs" / "adr").glob("*")):
        match = _ADR.fullmatch(path.name)
        if path.name == "README.md":
            continue
        if match is None:
            yield f"docs/adr/{path.name} is not named NNNN-title.md"
        elif numbers.setdefault(match[1], path.name) != path.name:
            yield f"docs/adr/{path.name} has the number of {numbers[match[1]]}"


def commands(root: Path) -> Iterator[str]:
    """Every command and option that a README shows exists."""
    try:
        from typer.main import get_command

        from xbcompute.cli.app import app
    except ImportError as error:
        yield f"the command line cannot be imported: {error}"
        return
    top = get_command(app)
    for name in READMES:
        text = (root / name).read_text(encoding="utf-8") if (root / name).exists() else ""
        code = "\n".join(block or inline for block, inline in _CODE.findall(text))
        for line in _COMMAND.findall(code):
            if (fault := _command_fault(top, line)) is not None:
                yield f"{name}: xbcompute {line.strip()}: {fault}"


def _command_fault(command: Any, line: str) -> str | None:
    words = re.split(r"[#|>\\]", line, maxsplit=1)[0].split()
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"there is no command {words[0]}" if re.fullmatch(r"[a-z][a-z-]*", words[0]) else None
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word.split("=")[0] for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"there is no option {unknown[0]}" if unknown and unknown[0] != "--help" else None


def errors(root: Path) -> Iterator[str]:
    """Every error code is dotted, belongs to one class, and stands on the reference page as the source has it."""
    found = collect(root)
    yield from found.faults
    path = root / ERRORS
    if not path.exists() or path.read_text(encoding="utf-8") != page(found):
        yield f"{ERRORS.as_posix()} differs from the source: run tools/check_docs.py --write"


CHECKS: tuple[Callable[[Path], Iterator[str]], ...] = (links, docstrings, cards, decisions, commands, errors)


def main(arguments: list[str]) -> int:
    """Print every fault; 1 if there is one, 2 for a wrong argument."""
    if arguments not in ([], ["--write"]):
        sys.stderr.write("usage: check_docs.py [--write]\n")
        return 2
    if arguments:
        (ROOT / ERRORS).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / ERRORS).write_text(page(collect(ROOT)), encoding="utf-8")
    faults = [fault for check in CHECKS for fault in check(ROOT)]
    sys.stdout.write("".join(f"{fault}\n" for fault in faults) or "docs: good\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
