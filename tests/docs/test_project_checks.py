"""The checks of ``make check`` find what they are for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


error_codes = load("error_codes")
check_docs = load("check_docs")
check_sizes = load("check_sizes")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def test_sizes_within_every_rule_are_good() -> None:
    assert check_sizes.faults({f"m{i}": 100 for i in range(9)} | {"long": 500}) == []


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"a": 501} | {f"m{i}": 1 for i in range(20)}, "1 over 500 lines"),
        ({"a": 351, "b": 351} | {f"m{i}": 1 for i in range(10)}, "2 over 350 lines, 1 of 12 may be"),
        ({"a": 151, "b": 152, "c": 10}, "the median is 151 lines"),
        ({}, "no module"),
    ],
)
def test_modules_that_are_too_long_are_named(sizes: dict[str, int], match: str) -> None:
    (said,) = check_sizes.faults(sizes)
    assert match in said


def test_generated_code_is_not_measured(tmp_path: Path) -> None:
    write(tmp_path, {"xbcompute/wire/v1/a_pb2.py": "x\n" * 900, "xbcompute/b.py": "x\n" * 400, "tests/t.py": "x\n"})
    assert check_sizes.sizes(tmp_path) == {"xbcompute/b.py": 400}
    assert "400   xbcompute/b.py" in check_sizes.table({"xbcompute/b.py": 400, "xbcompute/c.py": 3})


def test_links_must_lead_somewhere(tmp_path: Path) -> None:
    readme = """# Title
    [good](docs/a.md) [heading](docs/a.md#two-words) [own](#title) [web](https://example.org/none) ![figure](f.png)
    [目录](docs/a.md#中文-标题) <img src="f.png"> [root](/docs/a.md)
```
[not a link](none.md)
```
"""
    files = {"README.md": readme, "README.zh-CN.md": "[a](docs/a.md)", "f.png": ""}
    root = write(tmp_path, {**files, "docs/a.md": "# Two `words`\n## 中文 标题\n[up](../README.md)\n"})
    assert list(check_docs.links(root)) == []
    write(root, {"docs/b.md": "[x](none.md) [y](a.md#none) [z](../../outside.md)\n\n[r]: gone.md\n"})
    found = list(check_docs.links(root))
    assert len(found) == 4
    assert found[0] == "docs/b.md: the link none.md leads nowhere"
    assert "docs/b.md: a.md has no heading #none" in found
    (root / "README.zh-CN.md").unlink()
    assert "README.zh-CN.md is missing" in list(check_docs.links(root))


def test_public_names_need_docstrings(tmp_path: Path) -> None:
    good = '"""A module."""\ndef f() -> None:\n    """F."""\nclass C:\n    """C."""\ndef _g() -> None: ...\n'
    root = write(tmp_path, {"xbcompute/good.py": good, "xbcompute/_hidden.py": "", "xbcompute/wire/v1/x.py": ""})
    assert list(check_docs.docstrings(root)) == []
    write(root, {"xbcompute/sub/__init__.py": '""""""\n', "xbcompute/bad.py": "def f(): ...\nclass C: ...\n"})
    assert list(check_docs.docstrings(root)) == [
        "xbcompute.bad has no docstring",
        "xbcompute.bad.f has no docstring",
        "xbcompute.bad.C has no docstring",
        "xbcompute.sub has no docstring",
    ]


def test_cards_and_decisions_have_their_files_and_names(tmp_path: Path) -> None:
    write(tmp_path, {"protocols/wire/x.proto": "", "protocols/a/card.toml": "", "protocols/a/spec.md": ""})
    write(tmp_path, {"protocols/p/card.toml": 'maturity = "planned"'})
    write(tmp_path, {"docs/adr/0001-one.md": "", "docs/adr/0002-two-words.md": "", "docs/adr/README.md": ""})
    assert [*check_docs.cards(tmp_path), *check_docs.decisions(tmp_path)] == []
    write(tmp_path, {"protocols/b/vectors/v1.json": "", "docs/adr/0002-again.md": "", "docs/adr/3-three.md": ""})
    assert list(check_docs.cards(tmp_path)) == ["protocols/b has no card.toml", "protocols/b has no spec.md"]
    assert list(check_docs.decisions(tmp_path)) == [
        "docs/adr/0002-two-words.md has the number of 0002-again.md",
        "docs/adr/3-three.md is not named NNNN-title.md",
    ]


@pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")  # typer, as it is imported
def test_commands_in_a_readme_must_exist(tmp_path: Path) -> None:
    good = "`xbcompute simulate my-study --json`\n```\n$ pip install x && xbcompute demo biomed --out f.png  # 1\n```\n"
    root = write(tmp_path, {"README.md": "xbcompute is no command here.\n" + good})
    assert list(check_docs.commands(root)) == []
    write(
        root, {"README.zh-CN.md": "`xbcompute fly`\n```sh\nxbcompute policy fly x\nxbcompute simulate x --fly\n```\n"}
    )
    found = list(check_docs.commands(root))
    assert [fault.rsplit(": ", 1)[1] for fault in found] == [
        "there is no command fly",
        "there is no command fly",
        "there is no option --fly",
    ]


SOURCE = '''"""Module."""
from xbcompute.core.errors import InputError, PeerError

def plain(name: str) -> None:
    raise InputError("file.missing", f"{name} is | missing.", todo="Make it.")

def helper(code: str, text: str) -> InputError:
    return InputError(code, f"study.toml: {text}")

class Reader:
    def fail(self, column: str, code: str) -> InputError:
        return InputError(code, f"column {column} is wrong.")

    def read(self, early: bool) -> None:
        raise self.fail("age", "column.wrong")

def caller(early: bool, error: InputError) -> None:
    if early:
        raise helper("study.early", "it is too early.")
    raise PeerError("peer.silent" if early else "peer.gone", "a peer is away.")
    code = "peer.one" if early else "peer.two"
    raise PeerError(code, "a peer is away.")
    raise InputError(error.code, error.text)
'''


def test_codes_are_read_from_the_source(tmp_path: Path) -> None:
    root = write(tmp_path, {"xbcompute/a.py": SOURCE})
    found = error_codes.collect(root)
    assert found.faults == []
    assert sorted(found.codes) == [
        "column.wrong",
        "file.missing",
        "peer.gone",
        "peer.one",
        "peer.silent",
        "peer.two",
        "study.early",
    ]
    page = error_codes.page(found)
    assert "| `file.missing` | … is \\| missing. | Make it. | `xbcompute.a` |" in page
    assert "| `study.early` | it is too early. |" in page
    assert page.index("## Exit 2") < page.index("`study.early`") < page.index("## Exit 5") < page.index("`peer.gone`")
    assert list(check_docs.errors(root)) == [
        "docs/reference/errors.md differs from the source: run tools/check_docs.py --write"
    ]
    write(root, {"docs/reference/errors.md": page})
    assert list(check_docs.errors(root)) == []


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ('raise PeerError("file.missing", "x")', "one code, one class"),
        ('raise PeerError("File.Missing", "x")', "not dotted lower case"),
        ('raise PeerError("missing", "x")', "not dotted lower case"),
        ('raise PeerError(f"file.{x}", "x")', "not written out"),
    ],
)
def test_codes_that_cannot_be_documented_are_named(tmp_path: Path, line: str, match: str) -> None:
    root = write(tmp_path, {"xbcompute/a.py": SOURCE, "xbcompute/b.py": f"{line}\n"})
    (fault,) = error_codes.collect(root).faults
    assert match in fault


def test_every_error_of_the_package_has_an_exit_code_here() -> None:
    from xbcompute.core.errors import BY_EXIT_CODE

    assert {kind.__name__: code for code, kind in BY_EXIT_CODE.items()} == error_codes.CLASSES
    assert set(error_codes.MEANING) == set(BY_EXIT_CODE)
