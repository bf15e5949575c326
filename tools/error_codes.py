"""Reads the error codes out of the package's source and writes the page that documents them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CLASSES = {"InputError": 2, "RefusedError": 3, "HeldError": 4, "PeerError": 5, "IntegrityError": 6}
MEANING = {
    2: "Bad input: a file, a column or a request is wrong. Nothing was opened or sent.",
    3: "Refused: policy or output checking says no.",
    4: "Held: it would be allowed, but evidence or an approval is missing.",
    5: "Peer or channel: a peer failed or is silent. The session is interrupted.",
    6: "Integrity: a signature, digest, proof, sequence or state does not match.",
}
FORM = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")
HEAD = """# Error codes

Every error has a stable code, a text without data, and what to do next; `--json` prints `code`, `exit`, `text` and
`todo`. The exit code of a command is that of the error. `…` stands for a name (a file, column, rule or party).

<!-- Written by tools/check_docs.py --write from the source; not edited. -->
"""


@dataclass
class Code:
    """One code: the error class it is raised with, its texts with what to do, and the modules that raise it."""

    kinds: set[str] = field(default_factory=set)
    texts: dict[str, str] = field(default_factory=dict)
    modules: set[str] = field(default_factory=set)


@dataclass
class Found:
    """All codes of a tree, and calls whose code cannot be read from the source."""

    codes: dict[str, Code] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _text(node: ast.expr | None) -> str:
    """A string expression in words, with … for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return "…"


def _argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return named or (call.args[position] if position < len(call.args) else None)


def _parameters(function: Function) -> list[str]:
    return [item.arg for item in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]


def _named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


class _Module:
    """One module's calls, each with the functions around it."""

    def __init__(self, tree: ast.Module, name: str, found: Found) -> None:
        self.name, self.found = name, found
        self.calls = list(self._walk(tree, []))

    def _walk(self, node: ast.AST, around: list[Function]) -> Iterator[tuple[ast.Call, list[Function]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield child, around
            inner = [*around, child] if isinstance(child, Function) else around
            yield from self._walk(child, inner)

    def collect(self) -> None:
        for call, around in self.calls:
            kind = _named(call)
            code = _argument(call, "code", 0)
            if kind in CLASSES and code is not None:
                text, todo = _argument(call, "text", 1), _argument(call, "todo", 99)
                self._read(code, kind, _text(text), _text(todo) if todo else "", around)

    def _add(self, code: str, kind: str, text: str, todo: str) -> None:
        entry = self.found.codes.setdefault(code, Code())
        entry.kinds.add(kind)
        entry.texts.setdefault(text, todo)
        entry.modules.add(self.name)

    def _read(self, code: ast.expr, kind: str, text: str, todo: str, around: list[Function]) -> None:
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            self._add(code.value, kind, text, todo)
        elif isinstance(code, ast.IfExp):
            self._read(code.body, kind, text, todo, around)
            self._read(code.orelse, kind, text, todo, around)
        elif isinstance(code, ast.Name):
            self._read_name(code.id, kind, text, todo, around)
        elif not isinstance(code, ast.Attribute):  # error.code: raised again, read where it was made
            self.found.faults.append(f"{self.name}:{code.lineno}: the code of this {kind} is not written out")

    def _read_name(self, name: str, kind: str, text: str, todo: str, around: list[Function]) -> None:
        """A parameter: what callers in this module give it. A variable: the constants it is set to."""
        for function in reversed(around):
            if name in (parameters := _parameters(function)):
                position = parameters.index(name) - (parameters[0] in {"self", "cls"})
                for call, outside in self.calls:
                    given = _argument(call, name, position) if _named(call) == function.name else None
                    if given is not None and (function not in outside or not isinstance(given, ast.Name)):
                        said = [_text(item) for item in call.args if item is not given and " " in _text(item)]
                        self._read(given, kind, max([text, *said], key=len), todo, outside)
                return
            for node in ast.walk(function):
                if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == name for target in node.targets):
                    self._read(node.value, kind, text, todo, [])


def collect(root: Path) -> Found:
    """Every code in ``root``/xbcompute."""
    found = Found()
    for path in sorted((root / "xbcompute").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if not name.startswith("xbcompute.wire.v1"):
            _Module(ast.parse(path.read_text(encoding="utf-8")), name, found).collect()
    for code, entry in sorted(found.codes.items()):
        if not FORM.fullmatch(code):
            found.faults.append(f"error code {code!r} is not dotted lower case")
        if len(entry.kinds) > 1:
            found.faults.append(
                f"error code {code} is raised with {', '.join(sorted(entry.kinds))}: one code, one class"
            )
    return found


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def page(found: Found) -> str:
    """The reference page, one table an exit code."""
    parts = [HEAD]
    for exit_code, meaning in MEANING.items():
        rows = [
            f"| `{code}` | {_cell(' · '.join(sorted(entry.texts)))} "
            f"| {_cell(' · '.join(sorted({todo for todo in entry.texts.values() if todo})))} "
            f"| {', '.join(f'`{name}`' for name in sorted(entry.modules))} |"
            for code, entry in sorted(found.codes.items())
            if exit_code in {CLASSES[kind] for kind in entry.kinds}
        ]
        if rows:
            head = "| code | what it says | what to do | raised in |\n|---|---|---|---|"
            parts.append(f"## Exit {exit_code}\n\n{meaning}\n\n{head}\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)
