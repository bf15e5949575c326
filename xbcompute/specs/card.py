"""``protocols/<id>/card.toml``: what a protocol guarantees, leaks, needs and costs."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from xbcompute.core.canonical import digest_bytes
from xbcompute.core.errors import InputError
from xbcompute.specs.base import Count, Identifier, Name, Number, Positive, Spec, parse, read_toml
from xbcompute.specs.shipped import protocols
from xbcompute.specs.wording import Adversary, Family, GradeName, Wording

CARD_FORMAT = 1

Carriage: TypeAlias = Literal["horizontal", "vertical", "pooled", "training", "linkage"]
Threshold: TypeAlias = Literal["open", "sum", "majority", "all", "all_or_dealer", "pair"]
"""What a coalition needs to see inputs.

``open``: nothing, inputs are shown · ``sum``: it learns exactly the sum over those outside it · ``majority``: t + 1 of
m with t = (m − 1) // 2 · ``all``: every compute party · ``all_or_dealer``: every compute party, or a dealer and one ·
``pair``: two holders exchange blinded keys, each protected by its own.
"""


class CardParties(Spec):
    """How many parties, counted as the policy counts them: by control group."""

    contributors_min: Positive = 1
    contributors_max: Positive | None = None
    groups_per_jurisdiction_min: Positive = 1
    compute_min: Count = 0
    compute_max: Positive | None = None
    dealers_min: Count = 0


class Profile(Spec):
    """The link and the machine assumed where nothing was measured: round trip in milliseconds, goodput in Mbit/s,
    seconds of work for one step of a plain sum. Assumptions for ordering cards, not measurements.
    """

    rtt_ms: Annotated[Number, Field(gt=0)]
    goodput_mbit: Annotated[Number, Field(gt=0)]
    step_s: Annotated[Number, Field(ge=0)]


class Cost(Spec):
    """Exchanges one after another for one step, bytes and work against a plain sum, and the profile assumed."""

    rounds: Positive
    bytes: Annotated[Number, Field(gt=0)]
    compute: Annotated[Number, Field(gt=0)]
    profile: Profile


class Card(Spec):
    """One protocol card; what it does *not* protect stands first, in the file and wherever it is shown."""

    does_not_protect: Annotated[tuple[Wording, ...], Field(min_length=1)]
    id: Identifier
    version: Name
    format: Positive = CARD_FORMAT
    title: Wording
    family: Family
    engine: Name
    carries: Annotated[tuple[Carriage, ...], Field(min_length=1)]
    kinds: tuple[Name, ...] = ()
    threshold: Threshold
    must_not_collude: Wording
    adversary: Adversary
    adversary_best: Adversary | None = None
    totals_to: Literal["contributors", "recipients", "lead"]
    opens: Annotated[tuple[Wording, ...], Field(min_length=1)]
    grade_max: GradeName
    max_abs_error: Annotated[Number, Field(ge=0)]
    maturity: Literal["stable", "preview", "planned"]
    parties: CardParties = CardParties()
    cost: Cost

    @model_validator(mode="after")
    def _format(self) -> Card:
        if self.format > CARD_FORMAT:
            raise PydanticCustomError("format", "card format is newer than this release knows")
        return self

    @property
    def strongest(self) -> Adversary:
        """The strongest adversary it withstands in any of its modes."""
        return self.adversary_best or self.adversary

    @property
    def on_shares(self) -> bool:
        """Whether inputs travel as shares to compute parties."""
        return self.threshold in ("majority", "all", "all_or_dealer")


def load_card(path: Path) -> Card:
    """The card in ``path`` (a ``card.toml`` or the folder that has one).

    Raises:
        InputError: naming the card, the key and the nearest known key.
    """
    file = path / "card.toml" if path.is_dir() else path
    card = parse(
        Card, read_toml(file, shown=f"protocols/{file.parent.name}/card.toml"), f"{file.parent.name}/card.toml"
    )
    if card.id != file.parent.name:
        raise InputError("card.id", f"protocols/{file.parent.name}/card.toml: id is not the folder's name.")
    return card


@functools.cache
def shipped_cards() -> tuple[Card, ...]:
    """Every shipped card, sorted by id."""
    return tuple(load_card(file) for file in sorted(protocols().glob("*/card.toml")))


def find_card(card: str) -> Card:
    """The shipped card with this id; an :class:`InputError` when there is none."""
    for known in shipped_cards():
        if known.id == card:
            return known
    raise InputError("card.unknown", f"there is no protocol card '{card}'.", todo="See the folder protocols/.")


def card_digest(card: str) -> str:
    """``sha256:…`` of the shipped card file's bytes."""
    return digest_bytes((protocols() / card / "card.toml").read_bytes())
