"""Whether the consent on record covers a study under one protocol."""

from __future__ import annotations

from xbcompute.policy.topology import Topology
from xbcompute.specs.card import Card
from xbcompute.specs.site import Consent
from xbcompute.specs.study import Study

Gap = tuple[str, str]
"""What the consent lacks, in Chinese and English."""


def gaps(
    consent: Consent | None, study: Study, card: Card, parties: Topology, me: str, *, abroad: bool
) -> tuple[Gap, ...]:
    """What the consent lacks; empty when it covers purpose, every recipient and, if anything goes abroad, export.

    Where the totals are opened to every contributor, every other holder is a recipient.
    """
    if consent is None:
        return (("没有登记同意", "no consent is on record"),)
    found: list[Gap] = []
    if study.study.purpose not in consent.purposes:
        found.append((f"未含目的 {study.study.purpose}", f"purpose {study.study.purpose} is not covered"))
    receivers = {party.id for party in parties.receivers}
    if card.totals_to == "contributors":
        receivers |= {party.id for party in parties.holders}
    lacking = sorted(receivers - {me} - set(consent.recipients))
    if lacking:
        names = "、".join(lacking)
        found.append((f"未含接收方 {names}", f"not covered as recipients: {', '.join(lacking)}"))
    if abroad and not consent.export:
        found.append(("未含出境", "export is not covered"))
    return tuple(found)
