"""``xbcompute policy decide`` and ``policy explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from xbcompute.cli.output import print_json
from xbcompute.cli.render import decision_view, make_console
from xbcompute.core.errors import InputError
from xbcompute.policy.cost import Channel
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


def explain(
    folder: Path,
    *,
    as_json: bool,
    lang: Literal["en", "zh", "both"],
    rtt_ms: float | None = None,
    goodput_mbit: float | None = None,
) -> int:
    """Print the decision as a page; the exit code of its verdict.

    Raises:
        InputError: one of the two channel figures is given without the other.
    """
    if (rtt_ms is None) != (goodput_mbit is None):
        raise InputError(
            "channel.figures",
            "--rtt-ms and --goodput-mbit are two figures of one measurement.",
            todo="Give both, or neither: then what the protocol card assumes is taken.",
        )
    channel = None if rtt_ms is None or goodput_mbit is None else Channel(rtt_ms, goodput_mbit)
    decision = decide_folder(load_folder(folder), channel)
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
