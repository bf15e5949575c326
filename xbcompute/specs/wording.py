"""Text that people read, in both languages, and the words policy files share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Strict, StringConstraints

from xbcompute.specs.base import Spec

Passage = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=1500)]
Mark: TypeAlias = Literal["V", "V2", "M", "D"]
"""V read in the instrument · V2 read in a secondary page · M from memory · D this project's default, not law."""

Family: TypeAlias = Literal["P0", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"]
GradeName: TypeAlias = Literal["G0", "G1", "G2", "G3", "G4", "G5", "G5s", "G6", "G7", "G8"]
OutputType: TypeAlias = Literal[
    "raw",
    "record_extract",
    "psi_members",
    "psi_cardinality",
    "aggregate",
    "dp_aggregate",
    "model_plain_rounds",
    "model_secagg",
    "model_dp",
    "predictions_row",
    "share_transit",
    "synthetic",
]
Adversary: TypeAlias = Literal["none", "semi_honest", "malicious"]


class Wording(Spec):
    """One passage in Chinese and in English."""

    zh: Passage
    en: Passage
