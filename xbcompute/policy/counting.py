"""People counted on the outbound path (policy C3) and the distance between populations (policy C4.9)."""

from __future__ import annotations

import datetime as dt

from xbcompute.policy.request import People
from xbcompute.specs.base import SHANGHAI
from xbcompute.specs.site import Dataset


def people_of(dataset: Dataset, industry: str, distinct: int) -> People:
    """``distinct`` subjects as the outbound path counts them.

    Health data is sensitive by its nature (PIPL Art. 28), de-identified health data included; anonymised and
    non-personal data counts nobody; what is unknown counts as sensitive. Children under 14 are sensitive.
    """
    if dataset.pi in ("none", "anonymised") and dataset.sg_class in (None, "none", "anonymised"):
        return People()
    plain = dataset.pi in ("deidentified", "personal") and industry != "biomed" and dataset.minors_under14 is not True
    return People(non_sensitive=distinct) if plain else People(sensitive=distinct)


def year_of(now: dt.datetime) -> int:
    """The calendar year in which ``now`` counts: years turn at 00:00 in Shanghai."""
    return now.astimezone(SHANGHAI).year


def too_close(difference: int, cell_min: int) -> bool:
    """Whether two populations differ by somebody, but by fewer people than the minimum cell."""
    return 0 < difference < cell_min
