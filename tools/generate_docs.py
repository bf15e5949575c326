"""Documentation made from the code: reference pages of files, cards and commands, the list of decisions, the README's
protocol table.

``--write`` writes what differs; without it, differences are printed and the exit code is 1.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).resolve().parent))
import policy_docs

from xbcompute.cli.app import app
from xbcompute.specs import analysis, federation, site, study
from xbcompute.specs.base import Spec, Window
from xbcompute.specs.card import Card, shipped_cards

ROOT = Path(__file__).resolve().parents[1]
NOTE = "<!-- Written by tools/generate_docs.py --write from the source; not edited. -->"
_NUMBER = re.compile(r"^[#\s]*(ADR )?[0-9]{4}[\s.:·]*")
MEANINGS = Path(__file__).with_name("key_meanings.toml")
KINDS: tuple[type[analysis.Analysis], ...] = (
    analysis.Describe,
    analysis.Table,
    analysis.Histogram,
    analysis.Compare,
    analysis.Linear,
    analysis.Logistic,
    analysis.Poisson,
    analysis.KaplanMeier,
    analysis.Cox,
    analysis.Weibull,
    analysis.Rate,
    analysis.Extract,
    analysis.Predict,
    analysis.Overlap,
    analysis.Pca,
    analysis.Correlation,
    analysis.Association,
    analysis.Train,
)
STUDY: tuple[tuple[str, type[Spec]], ...] = (
    ("[study]", study.StudyHeader),
    ("[study.period]", Window),
    ("[study.data]", study.StudyData),
    ("[study.data] where", study.Condition),
    ("[study.data] derive", study.Derivation),
    ("[study.protocol]", study.Wish),
    ("[study.privacy]", study.Privacy),
    ("[study.link]", study.Link),
)
FEDERATION: tuple[tuple[str, type[Spec]], ...] = (
    ("[federation]", federation.FederationHeader),
    ("[[party]]", federation.PartySpec),
    ("[[party]] name", federation.Bilingual),
    ("[[pack]]", federation.PackPin),
)
SITE: tuple[tuple[str, type[Spec]], ...] = (
    ("[site]", site.SiteHeader),
    ("[entity]", site.Entity),
    ("[entity] counted_this_year", site.Counted),
    ("[[dataset]]", site.Dataset),
    ("[[dataset]] export_control", site.ExportControl),
    ("[[dataset]] consent", site.Consent),
    ("[[dataset]] derived", site.Derived),
    ("[[dataset.event]]", site.GradeEvent),
    ("[dataset.columns.NAME]", site.ColumnSpec),
    ("[[evidence]]", site.Evidence),
    ("[[approval]]", site.Approval),
    ("[[user]]", site.UserSpec),
)
TABLES = {"study.toml": STUDY, "federation.toml": FEDERATION, "sites/PARTY/site.toml": SITE}


class Meanings:
    """What each key means, from ``key_meanings.toml``; every meaning must be used, every key must have one."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, str]] = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))
        self._used: set[tuple[str, str]] = set()

    def of(self, model: type[Spec], key: str) -> str:
        """The meaning of ``key`` in ``model``, else of all analyses."""
        places = [model.__name__, *(["Analysis"] if issubclass(model, analysis.Analysis) else [])]
        for place in places:
            if key in self._texts.get(place, {}):
                self._used.add((place, key))
                return self._texts[place][key]
        raise KeyError(f"tools/key_meanings.toml: no meaning for '{key}' of {places[0]}")

    def unused(self) -> list[str]:
        """Meanings of keys that no longer exist."""
        every = {(place, key) for place, texts in self._texts.items() for key in texts}
        return sorted(f"{place}.{key}" for place, key in every - self._used)


def words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON Schema of one value in a few words."""
    if "$ref" in schema:
        return words(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " · ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "anyOf" in schema:
        parts = [words(part, definitions) for part in schema["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(parts))
    kind = schema.get("type")
    if kind == "array" and "prefixItems" in schema:
        return "[" + ", ".join(words(item, definitions) for item in schema["prefixItems"]) + "]"
    if kind == "array":
        return f"list of {words(schema.get('items', {}), definitions)}"
    if kind == "object":
        return "table"
    if kind == "string":
        return {"date-time": "date or date-time"}.get(schema.get("format", ""), _text(schema))
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(schema)
    return {"boolean": "true or false"}.get(str(kind), "anything")


def _text(schema: Mapping[str, Any]) -> str:
    return "identifier" if "[a-z0-9-]" in schema.get("pattern", "") else "text"


def _range(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    return f" {' and '.join(bounds)}" if bounds else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def keys(model: type[Spec], meanings: Meanings) -> Iterator[str]:
    """A table of the keys of one model."""
    schema = model.model_json_schema(by_alias=True)
    required, definitions = set(schema.get("required", ())), schema.get("$defs", {})
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in schema["properties"].items():
        default = "required" if key in required else _default(value.get("default"))
        yield f"| `{key}` | {_cell(words(value, definitions))} | {default} | {_cell(meanings.of(model, key))} |"


def _default(value: Any) -> str:
    return "–" if value in (None, [], {}) or isinstance(value, dict) else f"`{json.dumps(value, ensure_ascii=False)}`"


def study_folder() -> str:
    """docs/reference/study-folder.md."""
    meanings = Meanings()
    lines = [
        "# The study folder",
        "",
        "```",
        "my-study/",
        "  study.toml                the question",
        "  federation.toml           the parties",
        "  sites/PARTY/site.toml     what one party registers, its evidence and approvals",
        "  sites/PARTY/*.csv         its data (or .parquet, or a DuckDB file)",
        "```",
        "",
        "TOML, UTF-8. An unknown key is an error that names the file, the key and the nearest known key. A top-level",
        "`version` may stand in each file; absent means 1, a newer one is refused. A date alone means 00:00 at UTC+8.",
        "`–` in the column *default* means: absent. `xbcompute study schema study` prints the JSON Schema for editors.",
        "",
        NOTE,
    ]
    for file, tables in TABLES.items():
        lines += ["", f"## {file}"]
        for title, model in tables:
            lines += ["", f"### `{title}`", "", _first(model), "", *keys(model, meanings)]
        if file == "study.toml":
            lines += ["", "### `[[analysis]]`", "", "One table an analysis; `kind` says which keys it has."]
            for kind in KINDS:
                name = kind.model_fields["kind"].annotation
                title = words({"const": _literal(name)}, {}).strip('`"')
                lines += ["", f"#### `{title}`", "", _built(title, _first(kind)), "", *keys(kind, meanings)]
    if left := meanings.unused():
        raise KeyError(f"tools/key_meanings.toml: no such key any more: {', '.join(left)}")
    return "\n".join(lines) + "\n"


def _literal(annotation: Any) -> str:
    return str(annotation.__args__[0])


def _built(kind: str, text: str) -> str:
    from xbcompute.analyses import BUILT

    return text if kind in BUILT else f"{text} *Read and decided on; this release does not compute it.*"


def _first(model: type[Any]) -> str:
    text = " ".join((model.__doc__ or "").split())
    return re.sub(r":\w+:`[~.]?([^`]+)`", r"`\1`", text).replace("``", "`")


def protocol_table(language: str) -> str:
    """The README's table of cards."""
    heads = {
        "en": "| card | needs | must not collude | adversary | opens | state |",
        "zh": "| 协议卡 | 参与方要求 | 不得合谋者 | 敌手模型 | 公开的内容 | 状态 |",
    }
    lines = [heads[language], "|---|---|---|---|---|---|"]
    for card in shipped_cards():
        opens = "; ".join(getattr(text, language) for text in card.opens)
        parts = (
            f"[`{card.id}`]({_page(card)})",
            _needs(card, language),
            getattr(card.must_not_collude, language),
            _adversary(card, language),
            opens,
            _state(card, language),
        )
        lines.append("| " + " | ".join(_cell(part) for part in parts) + " |")
    return "\n".join(lines)


def _page(card: Card) -> str:
    spec = f"protocols/{card.id}/spec.md"
    return spec if (ROOT / spec).is_file() else f"docs/reference/cards.md#{card.id}"


def _needs(card: Card, language: str) -> str:
    least, most = card.parties.contributors_min, card.parties.contributors_max
    number = f"{least}" if most == least else f"{least}–{most}" if most else f"≥ {least}"
    zh = language == "zh"
    parts = [f"{number} 个出数方" if zh else f"{number} contributor{'' if number.endswith(' 1') else 's'}"]
    if (groups := card.parties.groups_per_jurisdiction_min) > 1:
        parts.append(f"每个法域 ≥ {groups} 个控制集团" if zh else f"≥ {groups} control groups a jurisdiction")
    if card.parties.compute_min:
        parts.append(
            f"≥ {card.parties.compute_min} 个计算方" if zh else f"≥ {card.parties.compute_min} compute parties"
        )
    if card.parties.dealers_min:
        parts.append(f"{card.parties.dealers_min} 个随机数提供方" if zh else f"{card.parties.dealers_min} dealer")
    return ("，" if zh else ", ").join(parts)


def _adversary(card: Card, language: str) -> str:
    shown = {
        "none": {"en": "none", "zh": "无"},
        "semi_honest": {"en": "semi-honest", "zh": "半诚实"},
        "malicious": {"en": "malicious, for privacy, with abort", "zh": "恶意（仅保隐私，可中止）"},
    }
    return shown[card.adversary][language]


def _state(card: Card, language: str) -> str:
    shown = {
        "stable": {"en": "runs", "zh": "可运行"},
        "preview": {"en": "preview", "zh": "试用"},
        "planned": {"en": "card only, no engine yet", "zh": "仅有协议卡，引擎未建"},
    }
    return shown[card.maturity][language]


def cards_page() -> str:
    """docs/reference/cards.md."""
    lines = [
        "# Protocol cards",
        "",
        "A card is the machine-readable statement of what a protocol guarantees, leaks, needs and costs. Policy reads",
        "cards and nothing else about a protocol. What a card does not protect stands first.",
        "",
        NOTE,
    ]
    for card in shipped_cards():
        lines += ["", f"## {card.id}", "", f"{card.title.en} · {card.title.zh}", ""]
        lines += ["Does not protect:", "", *(f"- {text.en} · {text.zh}" for text in card.does_not_protect), ""]
        facts = {
            "version": card.version,
            "state": _state(card, "en"),
            "policy family": card.family,
            "carries": ", ".join(card.carries),
            "needs": _needs(card, "en"),
            "must not collude": card.must_not_collude.en,
            "adversary": _adversary(card, "en"),
            "totals go to": card.totals_to,
            "opens": "; ".join(text.en for text in card.opens),
            "highest input grade": card.grade_max,
            "largest absolute error": f"{card.max_abs_error:g}",
            "cost": _cost(card),
        }
        lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(str(text))} |" for name, text in facts.items())]
    return "\n".join(lines) + "\n"


def _cost(card: Card) -> str:
    exchanges = f"{card.cost.rounds} exchange{'' if card.cost.rounds == 1 else 's'}"
    profile = card.cost.profile
    return (
        f"{exchanges} a step, {card.cost.bytes:g} × the bytes and {card.cost.compute:g} × the work of a plain sum; "
        f"where nothing was measured, a round trip of {profile.rtt_ms:g} ms, {profile.goodput_mbit:g} Mbit/s and "
        f"{profile.step_s:g} s a step are assumed"
    )


def cli_page() -> str:
    """docs/reference/cli.md."""
    lines = [
        "# Command line",
        "",
        "Exit codes: [exit-codes.md](exit-codes.md). With `--json` a command prints one JSON object and nothing else;",
        'an error is `{"error": {"code", "exit", "text", "todo"}}`.',
        "",
        NOTE,
    ]
    for path, command in sorted(_commands(get_command(app), "xbcompute")):
        lines += [
            "",
            f"## {path}",
            "",
            " ".join((command.help or "").split()),
            "",
            f"```\n{_usage(path, command)}\n```",
        ]
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            lines += ["", "| | | |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(command: Any, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from _commands(inner, f"{path} {name}")
        else:
            yield f"{path} {name}", inner


def _usage(path: str, command: click.Command) -> str:
    arguments = [_metavar(item) for item in command.params if item.param_type_name == "argument"]
    options = ["[OPTIONS]"] if any(item.param_type_name == "option" for item in command.params) else []
    return " ".join([path, *options, *arguments])


def _metavar(parameter: Any) -> str:
    name = str(parameter.name).upper()
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = f"`{_metavar(parameter)}`"
    else:
        name = ", ".join(f"`{option}`" for option in (*parameter.opts, *parameter.secondary_opts))
    choices = getattr(parameter.type, "choices", None)
    shown = " · ".join(f"`{getattr(choice, 'value', choice)}`" for choice in choices) if choices else ""
    default = parameter.default
    if default is not None and not callable(default) and not isinstance(default, bool) and default != []:
        shown += f"{', ' if shown else ''}default `{default}`"
    return f"| {name} | {shown} | {_cell(getattr(parameter, 'help', '') or '')} |"


def decisions() -> str:
    """docs/adr/README.md."""
    lines = [
        "# Decisions",
        "",
        "Where the code differs from, or makes precise, what the design says: one page each.",
        "",
    ]
    for file in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        title = _NUMBER.sub("", file.read_text(encoding="utf-8").splitlines()[0])
        lines.append(f"- [{file.name[:4]}]({file.name}) {title}")
    return "\n".join([*lines, "", NOTE]) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/study-folder.md": study_folder,
    "docs/reference/cards.md": cards_page,
    "docs/reference/cli.md": cli_page,
    "docs/adr/README.md": decisions,
    "docs/policy/README.md": lambda: policy_docs.page("en"),
    "docs/policy/README.zh.md": lambda: policy_docs.page("zh"),
}
BLOCKS: dict[str, Callable[[], str]] = {
    "README.md": lambda: protocol_table("en"),
    "README.zh-CN.md": lambda: protocol_table("zh"),
}
_BLOCK = re.compile(r"(<!-- protocols: begin -->\n).*?(<!-- protocols: end -->)", re.S)


def made() -> Iterator[tuple[Path, str]]:
    """Every generated file with the text it must have."""
    for name, page in PAGES.items():
        yield ROOT / name, page()
    for name, block in BLOCKS.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        if not _BLOCK.search(text):
            raise KeyError(f"{name} has no block <!-- protocols: begin --> … <!-- protocols: end -->")
        table = block()
        yield ROOT / name, _BLOCK.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)


def main(arguments: list[str]) -> int:
    """Compare or write; 1 if something differs, 2 for a wrong argument."""
    if arguments not in ([], ["--write"]):
        sys.stderr.write("usage: generate_docs.py [--write]\n")
        return 2
    differs = [(path, text) for path, text in made() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in differs:
        if arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{'wrote' if arguments else 'differs:'} {path.relative_to(ROOT).as_posix()}\n")
    return 1 if differs and not arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
