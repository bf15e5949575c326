"""docs/policy: every mechanism of the paper once, with files and commands that exist; every citation with its rules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.main import get_command

from xbcompute.cli.app import app
from xbcompute.specs.pack import PROJECT_RULE, load_pack, shipped_pack_ids

pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")  # typer, as it is imported
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def policy_docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("policy_docs", ROOT / "tools" / "policy_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["policy_docs"] = module
    spec.loader.exec_module(module)
    return module


def test_each_mechanism_stands_once_in_its_order(policy_docs: ModuleType) -> None:
    every = policy_docs.mechanisms()
    assert [one.number for one in every] == list(range(1, 83))
    assert all(one.zh and one.en and one.note_zh and one.note_en for one in every)


def test_files_and_commands_exist(policy_docs: ModuleType) -> None:
    top = get_command(app)
    for one in policy_docs.mechanisms():
        assert [name for name in one.files if not (ROOT / name).is_file()] == []
        assert one.files or not one.command, one.number
        command = top
        for word in one.command.split():
            if hasattr(command, "commands"):
                command = command.commands[word]
            else:
                choices = getattr(command.params[0].type, "choices", ())
                assert word in [getattr(choice, "value", choice) for choice in choices], one.command


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_citation_names_its_rules(policy_docs: ModuleType, language: str) -> None:
    page = policy_docs.page(language)
    for name in shipped_pack_ids():
        for rule in load_pack(name).pack.rule:
            for cited in rule.cites:
                if cited == PROJECT_RULE:
                    assert rule.id in page.splitlines()[-1]
                else:
                    row = next(line for line in page.splitlines() if line.startswith(f"| {cited} | "))
                    assert rule.id in row.rsplit("|", 2)[1]
