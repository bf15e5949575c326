"""Policy packs: versioned files of rules as data, each with its wording, citations and evidence mark.

A rule has no code. Its ``match`` is a conjunction of ``{field, op, value}`` over the facts named in :data:`FACTS`; a
pack that names another field, compares with another type, or leaves out a citation, mark or language does not load.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from xbcompute.core.canonical import digest_bytes, dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.grades import Grade
from xbcompute.specs.base import Count, Flag, Identifier, Name, Number, Positive, Spec, parse, read_toml
from xbcompute.specs.federation import JurisdictionCode, PackPin
from xbcompute.specs.lists import BilateralTemplate, CatalogueEntry, NegativeList, PartnerEntry, Pilot, PositiveEntry
from xbcompute.specs.shipped import packs as packs_folder
from xbcompute.specs.wording import Family, GradeName, Mark, Wording

PACK_FORMAT = 1
PROJECT_RULE = "project rule"
"""The citation of a rule that is this project's choice and not law."""

Fact: TypeAlias = str | int | bool | Grade
Facts: TypeAlias = Mapping[str, Fact]
FactKind: TypeAlias = Literal["text", "flag", "count", "grade"]

FACTS: Mapping[str, FactKind] = {
    "ciio": "text",
    "cn_grade": "text",
    "core": "flag",
    "crew_medical": "flag",
    "cross_border": "flag",
    "derived": "text",
    "export_control": "text",
    "flows_to_cn": "flag",
    "flows_to_sg": "flag",
    "grade": "grade",
    "has_pi": "flag",
    "health_level": "count",
    "hgr": "text",
    "hgr_cleared": "flag",
    "hgr_review": "text",
    "holders": "count",
    "identity_used": "flag",
    "important": "text",
    "important_by_volume": "flag",
    "industry": "text",
    "jurisdiction": "text",
    "licensed": "flag",
    "maintenance_only": "flag",
    "minors_under14": "flag",
    "occurrence": "flag",
    "operators": "count",
    "origin": "text",
    "outbound_exit": "text",
    "output": "text",
    "people_non_sensitive": "count",
    "people_sensitive": "count",
    "people_summed": "flag",
    "period_ends": "flag",
    "pi": "text",
    "pi_grade": "grade",
    "positive_listed": "flag",
    "purpose": "text",
    "regrade_due": "flag",
    "sandbox": "flag",
    "sg_class": "text",
    "special_disease": "flag",
    "state_organ_data": "flag",
    "zone": "text",
}
"""What a rule may ask about a holder's dataset, the study and one of its outputs."""

EVIDENCE_KINDS = frozenset(
    {
        "ANONYMISATION_REPORT",
        "CERT",
        "CIIO_STATUS",
        "DISCLOSURE_APPROVAL",
        "EXPORT_LICENCE_CN",
        "FTZ_LIST",
        "HGR_APPROVAL",
        "HGR_PRIOR_REPORT",
        "HGR_SECURITY_REVIEW",
        "HGR_TRIAL_FILING",
        "IRB_CN",
        "IRB_SG",
        "ITT_PERMIT_SG",
        "NON_COLLUSION",
        "PIA",
        "RISK_ASSESS",
        "RULING_EX",
        "RULING_OUTPUT_ONLY",
        "SC_FILING",
        "SECTOR_CONFIRM",
        "SEC_ASSESS",
        "SELF_ASSESS",
        "SG_TRANSFER_BASIS",
    }
)
ROLES = frozenset(["AP", "DS", "DPO", "EC-IRB", "LG", "XC", "CP", "EX", "RG", "SUP"])

VerdictName: TypeAlias = Literal["PERMIT", "PERMIT_WITH_CONDITIONS", "HOLD", "DENY"]
PathName: TypeAlias = Literal["NONE", "SC_FILING", "CERT", "SEC_ASSESS", "SECTOR_CONFIRM", "DENY"]
Posture: TypeAlias = Literal["not_export", "treated_as_export", "export"]
MatchValue = (
    Annotated[bool, Strict()]
    | Annotated[int, Strict()]
    | Annotated[str, Strict()]
    | tuple[Annotated[int, Strict()] | Annotated[str, Strict()], ...]
)

_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda fact, values: fact in values,
    "not in": lambda fact, values: fact not in values,
}
_TYPES: Mapping[FactKind, type] = {"text": str, "flag": bool, "count": int, "grade": str}


class Match(Spec):
    """One condition of a rule."""

    field: Name
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in", "not in"]
    value: MatchValue

    @model_validator(mode="after")
    def _typed(self) -> Match:
        kind = FACTS.get(self.field)
        if kind is None:
            raise PydanticCustomError("match", "no such fact '{name}'", {"name": self.field})
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        if (self.op in ("in", "not in")) != isinstance(self.value, tuple):
            raise PydanticCustomError("match", "'in' and 'not in' take a list, every other op one value")
        if any(type(value) is not _TYPES[kind] for value in values):
            raise PydanticCustomError("match", "fact '{name}' is a {kind}", {"name": self.field, "kind": kind})
        if kind in ("text", "flag") and self.op in ("<", "<=", ">", ">="):
            raise PydanticCustomError("match", "fact '{name}' has no order", {"name": self.field})
        if kind == "grade" and any(value not in {grade.value for grade in Grade} for value in values):
            raise PydanticCustomError("match", "fact '{name}' takes grades", {"name": self.field})
        return self

    @functools.cached_property
    def operand(self) -> Any:
        """The value in the fact's own type."""
        if FACTS[self.field] != "grade":
            return self.value
        return tuple(map(Grade, self.value)) if isinstance(self.value, tuple) else Grade(self.value)

    def holds(self, facts: Facts) -> bool:
        """Whether the fact stands in this relation to the value."""
        return _COMPARE[self.op](facts[self.field], self.operand)


def _check_kinds(texts: tuple[str, ...]) -> None:
    for text in texts:
        for kind in text.split(" or "):
            if kind not in EVIDENCE_KINDS:
                raise PydanticCustomError("evidence", "no such evidence kind '{kind}'", {"kind": kind})


class Requires(Spec):
    """What a matching rule asks for; requirements of several rules join to the strictest of each.

    ``evidence``: each entry is one kind or alternatives, ``"SC_FILING or CERT"``. ``malicious_from`` and
    ``committee_from``: the number of people (sum of the holders' ``rows_max``) from which they apply.
    ``rows_per_contributor``: rows (people, where they are counted) that each holder must bring.
    ``consent``: ``needed``, or ``if_declared`` (a consent that is declared must cover the study).
    """

    families: tuple[Family, ...] | None = None
    malicious_from: Count | None = None
    committee_from: Count | None = None
    operators_min: Count | None = None
    rows_per_contributor: Count | None = None
    noise: Flag = False
    cell_min: Positive | None = None
    cell_scope: Literal["holder"] | None = None
    epsilon_release: Annotated[Number, Field(gt=0)] | None = None
    epsilon_year: Annotated[Number, Field(gt=0)] | None = None
    retention_years: Positive | None = None
    roles: tuple[Name, ...] = ()
    evidence: tuple[Name, ...] = ()
    consent: Literal["needed", "if_declared"] | None = None
    cn_path: PathName | None = None
    posture: Posture | None = None

    @model_validator(mode="after")
    def _known(self) -> Requires:
        _check_kinds(self.evidence)
        for role in self.roles:
            if role not in ROLES:
                raise PydanticCustomError("roles", "no such role '{role}'", {"role": role})
        return self


class Rule(Spec):
    """One row.

    ``covers``: the grades for which this row is an answer; data of a grade that no matching row covers is refused.
    ``until``: evidence that lifts a HOLD row; a HOLD row without it stands until the facts change.
    """

    id: Identifier | Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9.-]{0,31}$")]
    text: Wording
    mark: Mark
    cites: Annotated[tuple[Name, ...], Field(min_length=1)]
    match: tuple[Match, ...] = ()
    verdict: VerdictName | None = None
    covers: tuple[GradeName, ...] = ()
    until: tuple[Name, ...] = ()
    requires: Requires = Requires()

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        _check_kinds(self.until)
        if self.until and self.verdict != "HOLD":
            raise PydanticCustomError("until", "'until' goes with verdict HOLD")
        if self.covers and self.verdict in (None, "DENY"):
            raise PydanticCustomError("covers", "'covers' goes with a verdict other than DENY")
        if self.covers and self.verdict != "HOLD" and self.requires.families is None:
            raise PydanticCustomError("families", "a row that permits names the protocol families it permits")
        return self

    def matches(self, facts: Facts) -> bool:
        """Whether every condition holds; a rule without conditions is applied by name only."""
        return bool(self.match) and all(condition.holds(facts) for condition in self.match)


class Citation(Spec):
    """An instrument and article; ``id`` is how rules and decisions name it."""

    id: Name
    title: Wording
    mark: Mark
    in_force: dt.date | None = None


class Pack(Spec):
    """One file of rules. ``jurisdiction``, ``zone`` and ``industry`` say where its rules apply; absent: everywhere."""

    id: Identifier
    version: Name
    format: Positive = PACK_FORMAT
    title: Wording
    status: Literal["draft", "in_force"]
    effective: dt.date
    jurisdiction: JurisdictionCode | None = None
    zone: Name | None = None
    industry: Identifier | None = None
    purposes: tuple[Name, ...] = ()
    negative_list: tuple[NegativeList, ...] = ()
    positive_list: tuple[PositiveEntry, ...] = ()
    catalogue: tuple[CatalogueEntry, ...] = ()
    partner: tuple[PartnerEntry, ...] = ()
    template: tuple[BilateralTemplate, ...] = ()
    pilot: tuple[Pilot, ...] = ()
    citation: tuple[Citation, ...] = ()
    rule: Annotated[tuple[Rule, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _whole(self) -> Pack:
        if self.format > PACK_FORMAT:
            raise PydanticCustomError("format", "pack format is newer than this release knows")
        known = {citation.id for citation in self.citation} | {PROJECT_RULE}
        lists: list[NegativeList | PositiveEntry | CatalogueEntry]
        lists = [*self.negative_list, *self.positive_list, *self.catalogue]
        for entry in lists:
            if entry.cites not in known:
                raise PydanticCustomError(
                    "cites", "a list cites '{name}', which no [[citation]] states", {"name": entry.cites}
                )
        seen: set[str] = set()
        for rule in self.rule:
            if rule.id in seen:
                raise PydanticCustomError("rule", "two rules have the id '{id}'", {"id": rule.id})
            seen.add(rule.id)
            for name in rule.cites:
                if name not in known:
                    raise PydanticCustomError(
                        "cites",
                        "rule '{id}' cites '{name}', which no [[citation]] states",
                        {"id": rule.id, "name": name},
                    )
        return self

    def find(self, rule: str) -> Rule | None:
        """The rule with this id."""
        return next((r for r in self.rule if r.id == rule), None)


@dataclass(frozen=True)
class LoadedPack:
    """A pack with the digest of its bytes; ``shipped`` packs came with the code, others were named by path."""

    pack: Pack
    sha256: str
    shipped: bool


def load_pack(name: str, *, beside: Path | None = None) -> LoadedPack:
    """A shipped pack by id, or a pack file by path relative to ``beside``.

    Raises:
        InputError: ``pack.missing`` when there is no such pack; naming file and key when it is malformed.
    """
    by_path = name.endswith(".toml") or "/" in name
    file = (beside or Path()) / name if by_path else packs_folder() / f"{name}.toml"
    if not by_path:
        return _load_shipped(name, file)
    return _read(file, name, shipped=False)


@functools.cache
def _load_shipped(name: str, file: Path) -> LoadedPack:
    if file.stem not in shipped_pack_ids():
        raise InputError("pack.missing", f"there is no policy pack '{name}'.", todo="See xbcompute/policy/packs.")
    return _read(file, f"packs/{file.name}", shipped=True)


def _read(file: Path, shown: str, *, shipped: bool) -> LoadedPack:
    if not file.is_file():
        raise InputError(
            "pack.missing", f"{shown}: there is no such policy pack.", todo="Name a pack file that exists."
        )
    pack = parse(Pack, read_toml(file, shown=shown), shown)
    if shipped and pack.id != file.stem:
        raise InputError("pack.id", f"{shown}: id is not the file's name.")
    return LoadedPack(pack, pack_digest(file.read_bytes()), shipped)


@functools.cache
def shipped_pack_ids() -> tuple[str, ...]:
    """Ids of the packs that ship with the code, sorted."""
    return tuple(sorted(file.stem for file in packs_folder().glob("*.toml")))


def pack_digest(data: bytes) -> str:
    """``sha256:…`` of a pack file's bytes."""
    return digest_bytes(data)


def pack_statement(pack: str, version: str, sha256: str) -> bytes:
    """The bytes a party signs to agree to a pack."""
    body = {"pack": pack, "sha256": sha256.removeprefix("sha256:"), "version": version}
    return b"xbcompute/pack/v1\n" + dumps(body)


def verify_pack(pin: PackPin, loaded: LoadedPack, keys: Mapping[str, str]) -> frozenset[str]:
    """The parties whose signature over this very pack is good; those without a signature are left out.

    ``keys`` maps parties to their signing keys as ``federation.toml`` writes them.

    Raises:
        IntegrityError: the pack is not the pinned one, or a signature is wrong or by a party without a key.
    """
    if loaded.sha256.removeprefix("sha256:") != pin.sha256.removeprefix("sha256:"):
        raise IntegrityError("pack.digest", f"pack '{pin.id}': its bytes are not the ones the federation agreed on.")
    statement = pack_statement(pin.id, pin.version, pin.sha256)
    for party, signature in pin.signatures.items():
        if party not in keys:
            raise IntegrityError("pack.signer", f"pack '{pin.id}': {party} signed but has no signing key.")
        try:
            raw = base64.b64decode(keys[party].removeprefix("ed25519:"), validate=True)
            key = Ed25519PublicKey.from_public_bytes(raw)
            key.verify(base64.b64decode(signature, validate=True), statement)
        except (InvalidSignature, binascii.Error, ValueError):
            raise IntegrityError("pack.signature", f"pack '{pin.id}': the signature of {party} is wrong.") from None
    return frozenset(pin.signatures)
