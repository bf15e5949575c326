"""``xbcompute policy decide`` and ``policy explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from xbcompute.cli.output import print_json
from xbcompute.cli.render import decision_view, make_console
from xbcompute.policy.verdict import Verdict
from xbcompute.policy.view import explain_text
from xbcompute.simulate.deciding import decide_folder
from xbcompute.specs.load import load_folder

EXIT = {Verdict.PERMIT: 0, Verdict.PERMIT_WITH_CONDITIONS: 0, Verdict.HOLD: 4, Verdict.DENY: 3}


def decide(folder: Path, *, as_json: bool) -> int:
    """Print the decision; the exit code of its verdict."""
    decision = decide_folder(load_folder(folder))
    if as_json:
        print_json(decision)
    else:
        make_console().print(decision_view(decision))
    return EXIT[Verdict(decision["verdict"])]


def explain(folder: Path, *, as_json: bool, lang: Literal["en", "zh", "both"]) -> int:
    """Print the decision as a page; the exit code of its verdict."""
    decision = decide_folder(load_folder(folder))
    pages = {
        "zh": explain_text(decision, "zh") if lang != "en" else "",
        "en": explain_text(decision, "en") if lang != "zh" else "",
    }
    if as_json:
        print_json({"decision": decision, **{key: page for key, page in pages.items() if page}})
    else:
        out = make_console()
        for page in pages.values():
            if page:
                out.print(page, markup=False)
    return EXIT[Verdict(decision["verdict"])]
