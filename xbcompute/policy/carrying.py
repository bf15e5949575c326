"""Which protocol can carry which study, and what a study outputs under it."""

from __future__ import annotations

from xbcompute.specs.card import Card, shipped_cards
from xbcompute.specs.study import Study
from xbcompute.specs.wording import Family


def outputs(study: Study, family: Family) -> tuple[str, ...]:
    """The output types of a study under a protocol of this family, sorted.

    A trained model is ``model_plain_rounds`` where each party's update is visible; what would be an aggregate or a
    model is its noised form where the study asks for ε. A study that wants nothing but plain updates asks for
    ``model_plain_rounds`` whatever the protocol: a wish is judged, not passed over.
    """
    plain = family == "P1" or _wants_plain(study)
    private = study.study.privacy is not None
    found = set()
    for analysis in study.analysis:
        kind = analysis.output_type
        if kind == "model_secagg":
            kind = "model_plain_rounds" if plain else ("model_dp" if private else kind)
        elif kind == "aggregate" and private:
            kind = "dp_aggregate"
        found.add(kind)
    return tuple(sorted(found))


def _wants_plain(study: Study) -> bool:
    families = {card.id: card.family for card in shipped_cards()}
    wanted = study.study.protocol.prefer
    return bool(wanted) and all(families.get(name) == "P1" for name in wanted)


def carries(card: Card, study: Study) -> bool:
    """Whether the card carries every analysis of the study in its partition."""
    ways = set(card.carries)
    for analysis in study.analysis:
        if card.kinds and analysis.kind not in card.kinds:
            return False
        if analysis.kind == "overlap":
            wanted = {"linkage"}
        elif analysis.kind == "train":
            wanted = {"training"}
        elif study.study.partition == "vertical":
            wanted = {"vertical"}
        else:
            wanted = {"horizontal", "pooled"}
        if not wanted & ways:
            return False
    return True
