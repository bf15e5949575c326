"""Pages made from the code are as the code makes them, and leave nothing out."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from xbcompute.specs.card import shipped_cards
from xbcompute.specs.federation import Federation
from xbcompute.specs.site import Site
from xbcompute.specs.study import Study

pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")  # typer, as it is imported
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_docs"] = module
    spec.loader.exec_module(module)
    return module


def test_pages_do_not_differ_from_the_source(generate_docs: ModuleType) -> None:
    differing = [path.name for path, text in generate_docs.made() if path.read_text(encoding="utf-8") != text]
    assert differing == [], "run tools/generate_docs.py --write"


def every_key(schema: dict[str, Any]) -> set[str]:
    objects = [schema, *schema.get("$defs", {}).values()]
    return {key for item in objects for key in item.get("properties", {})}


@pytest.mark.parametrize("model", [Study, Federation, Site])
def test_no_key_of_a_study_folder_is_missing(model: type[Study | Federation | Site]) -> None:
    page = (ROOT / "docs/reference/study-folder.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.M))
    tables = {"study", "analysis", "party", "pack", "federation", "site", "entity", "dataset", "evidence", "approval"}
    assert every_key(model.model_json_schema(by_alias=True)) - rows <= tables | {"user"}


def test_every_key_has_a_type_and_a_meaning(generate_docs: ModuleType) -> None:
    page = (ROOT / "docs/reference/study-folder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \|$", page, re.M)
    assert len(rows) > 150
    assert not [key for key, kind, default, meaning in rows if "anything" in kind or not default or len(meaning) < 3]


def test_a_key_without_meaning_is_an_error(generate_docs: ModuleType) -> None:
    meanings = generate_docs.Meanings()
    with pytest.raises(KeyError, match="no meaning for 'colour' of Study"):
        meanings.of(Study, "colour")
    assert "Dataset.rows_max" in meanings.unused()


def test_every_card_stands_in_both_readmes() -> None:
    for name in ("README.md", "README.zh-CN.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for card in shipped_cards():
            assert f"| [`{card.id}`](" in text


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 1}, "whole number ≥ 1"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "number > 0 and < 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, 'list of `"a"` · `"b"`'),
        ({"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}, "[number, number]"),
        ({"$ref": "#/$defs/X"}, "true or false"),
    ],
)
def test_types_in_words(generate_docs: ModuleType, schema: dict[str, Any], text: str) -> None:
    assert generate_docs.words(schema, {"X": {"type": "boolean"}}) == text
