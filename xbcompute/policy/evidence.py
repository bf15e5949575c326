"""Documents from outside: which are valid now and wide enough for a study. Their numbers are never verified here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xbcompute.policy.topology import Topology
from xbcompute.specs.site import Evidence
from xbcompute.specs.study import Study

OWED_BY: Mapping[str, str] = {
    "CERT": "CN",
    "HGR_APPROVAL": "CN",
    "HGR_PRIOR_REPORT": "CN",
    "HGR_SECURITY_REVIEW": "CN",
    "HGR_TRIAL_FILING": "CN",
    "IRB_CN": "CN",
    "IRB_SG": "SG",
    "PIA": "CN",
    "RISK_ASSESS": "CN",
    "SC_FILING": "CN",
    "SEC_ASSESS": "CN",
    "SECTOR_CONFIRM": "CN",
    "SG_TRANSFER_BASIS": "SG",
}
"""The jurisdiction whose holders owe a kind of document; a kind not listed is owed by the holder it is asked of."""

CHINA = frozenset({"cn", "china", "中国", "中华人民共和国", "prc", "people's republic of china", "mainland china"})
SINGAPORE = frozenset({"sg", "singapore", "新加坡", "republic of singapore"})
_COUNTRY_NAMES: Mapping[str, frozenset[str]] = {"CN": CHINA, "SG": SINGAPORE}
_ANY = frozenset({"*", "any", "all"})


def held(evidence: Iterable[Evidence], study: Study, now: dt.datetime, foreign: Mapping[str, str]) -> frozenset[str]:
    """Kinds of document that are valid at ``now`` (``[from, to)``) and whose scope covers the study.

    ``foreign`` maps the ids of the foreign parties to their jurisdictions. A scope that cannot be read covers nothing.
    """
    return frozenset(item.kind for item in evidence if item.covers(now) and in_scope(item, study, foreign))


def in_scope(item: Evidence, study: Study, foreign: Mapping[str, str]) -> bool:
    """Whether what the document says about purposes, parties and countries includes the study.

    A document without any such statement covers the study it was recorded for. A transfer basis said to be a contract
    must name the country (PDPR reg. 11(2)(b)).
    """
    purposes, parties, countries, other = _stated(item)
    if other:
        return False
    if purposes and not purposes & ({study.study.purpose} | _ANY):
        return False
    if parties and item.kind != "NON_COLLUSION" and not (parties & _ANY) and not set(foreign) <= parties:
        return False
    needed = {"CN"} if item.kind == "SG_TRANSFER_BASIS" else set(foreign.values())
    if item.kind == "SG_TRANSFER_BASIS" and item.basis == "contract" and not countries:
        return False
    return not countries or bool(countries & _ANY) or all(countries & _names(country) for country in needed)


def _names(country: str) -> frozenset[str]:
    return _COUNTRY_NAMES.get(country, frozenset()) | {country.lower()}


def _stated(item: Evidence) -> tuple[set[str], set[str], set[str], bool]:
    """Purposes, parties, countries (lower case) and whether something cannot be read or names another study."""
    purposes, parties, countries = set(item.purposes), set(item.parties), {c.lower() for c in item.countries}
    scope = item.scope
    if scope is None:
        return purposes, parties, countries, False
    if not isinstance(scope, Mapping):
        words = (scope,) if isinstance(scope, str) else scope
        scope = {"countries": list(words)} if item.kind == "SG_TRANSFER_BASIS" else {"purposes": list(words)}
    for key, value in scope.items():
        values = _texts(value)
        if values is None:
            return purposes, parties, countries, True
        if key in ("purpose", "purposes"):
            purposes |= set(values)
        elif key in ("party", "parties", "recipient", "recipients"):
            parties |= set(values)
        elif key in ("country", "countries"):
            countries |= {text.lower() for text in values}
        else:
            return purposes, parties, countries, True
    return purposes, parties, countries, False


def _texts(value: Any) -> Sequence[str] | None:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value):
        return tuple(value)
    return None


def names(item: Evidence, study: Study, now: dt.datetime, foreign: Mapping[str, str], *, purpose: bool = True) -> bool:
    """Whether the document is valid and itself names every foreign party and, unless told otherwise, the purpose."""
    purposes, parties, _, _ = _stated(item)
    named = set(foreign) <= parties and bool(foreign)
    return (
        item.covers(now)
        and in_scope(item, study, foreign)
        and named
        and (not purpose or study.study.purpose in purposes)
    )


def narrow(evidence: Iterable[Evidence], study: Study, now: dt.datetime, foreign: Mapping[str, str]) -> frozenset[str]:
    """Kinds of document that are valid at ``now`` but whose scope is narrower than the study (X10)."""
    return frozenset(item.kind for item in evidence if item.covers(now) and not in_scope(item, study, foreign))


def foreigners(parties: Topology, here: str) -> dict[str, str]:
    """Ids and jurisdictions of the foreign parties that hold data or receive results."""
    return {p.id: p.jurisdiction for p in (*parties.holders, *parties.receivers) if p.jurisdiction != here}


def missing(
    needed: Iterable[str], kinds: frozenset[str], jurisdiction: str, *, only_owed: bool = False
) -> tuple[str, ...]:
    """Of the needed documents, those that a holder of this jurisdiction owes and does not hold.

    ``only_owed`` leaves out kinds that no jurisdiction in particular owes: they concern the holder they were asked of.
    """
    default = "" if only_owed else jurisdiction
    return tuple(
        dict.fromkeys(
            _shown(text)
            for text in needed
            if OWED_BY.get(_first(text), default) == jurisdiction and not kinds & set(text.split(" or "))
        )
    )


def _first(text: str) -> str:
    return text.split(" or ", maxsplit=1)[0]


def _shown(text: str) -> str:
    """What to obtain: a security assessment also serves where a filing does, but is not what one is told to get."""
    return text.removesuffix(" or SEC_ASSESS")


def rulings(evidence: Iterable[Evidence], now: dt.datetime) -> tuple[frozenset[str], ...]:
    """The pairs that valid ``NON_COLLUSION`` rulings name."""
    return tuple(frozenset(e.parties) for e in evidence if e.kind == "NON_COLLUSION" and e.covers(now))


def owed_elsewhere(needed: str, jurisdiction: str) -> bool:
    """Whether holders of another jurisdiction owe this document."""
    return OWED_BY.get(_first(needed), jurisdiction) != jurisdiction
