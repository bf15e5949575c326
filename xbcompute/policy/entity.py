"""What is asked of a party itself: its place on the partner list, its packs and who signed them."""

from __future__ import annotations

from collections.abc import Iterator

from xbcompute.policy import lists
from xbcompute.policy.reasons import Note
from xbcompute.policy.request import Request, general_pack
from xbcompute.policy.topology import Topology
from xbcompute.specs.pack import LoadedPack, Pack, load_pack, shipped_pack_ids


def listing(request: Request, parties: Topology) -> Iterator[Note]:
    """X03 for a party of a study across a border: listed, not expired (``until`` is exclusive), on no Art. 42 list."""
    if not parties.foreign_jurisdictions(request.party_spec.jurisdiction):
        return
    yield from lists.partners(request, effective(request))
    entity, me = request.site.entity, request.party
    if entity.pipl42_listed:
        yield Note("X03", f"{me} 在第四十二条清单上", f"{me} is on a list under PIPL Art. 42")
    until = entity.listed_partner_until
    if until is None:
        yield Note("X03", f"{me} 未列入：site.toml 没有 listed_partner_until", f"{me} is not listed")
    elif not request.now < until:
        yield Note("X03", f"{me} 的名单有效期到 {until:%Y-%m-%d}", f"the listing of {me} ended {until:%Y-%m-%d}")


def packs_in_order(request: Request, parties: Topology) -> Iterator[Note]:
    """X06, X07: a holder has the packs of its law and of the industry, each signed by every party that holds data."""
    me, industry = request.party, request.study.study.industry
    for name in request.missing_packs:
        yield Note("X06", f"{me} 列出的策略包 {name} 不存在", f"{me} lists pack {name}, which does not exist")
    laws = {loaded.pack.jurisdiction for loaded in request.packs if loaded.pack.zone is None}
    industries = {loaded.pack.industry for loaded in request.packs}
    if request.is_holder and request.party_spec.jurisdiction not in laws:
        law = request.party_spec.jurisdiction
        yield Note("X06", f"{me} 没有法域 {law} 的策略包", f"{me} has no pack for the law of {law}")
    if request.is_holder and industry not in industries:
        known = {load_pack(name).pack.industry for name in shipped_pack_ids()}
        if industry in known:
            yield Note("X06", f"{me} 没有行业 {industry} 的策略包", f"{me} has no pack for the industry {industry}")
        else:
            yield Note("X07", f"行业 {industry}", f"industry {industry}")
    for loaded in request.packs:
        if loaded.shipped or loaded.pack.id in request.signers:
            yield from _signed(request, loaded, parties)


def _signed(request: Request, loaded: LoadedPack, parties: Topology) -> Iterator[Note]:
    pack = loaded.pack
    signers = request.signers.get(pack.id, frozenset())
    lacking = sorted({party.id for party in parties.holders} - signers)
    if lacking:
        yield Note(
            "X06",
            f"策略包 {pack.id} {pack.version} 未由 {'、'.join(lacking)} 签署",
            f"pack {pack.id} {pack.version} is not signed by {', '.join(lacking)}",
        )
    pin = next((pin for pin in request.federation.pack if pin.id == pack.id), None)
    if request.federation.pack and pin is None:
        yield Note("X06", f"联盟没有约定策略包 {pack.id}", f"the federation did not agree on pack {pack.id}")
    elif pin is not None and pin.sha256.removeprefix("sha256:") != loaded.sha256.removeprefix("sha256:"):
        yield Note(
            "X06", f"策略包 {pack.id} 与联盟约定的不同", f"pack {pack.id} is not the one the federation agreed on"
        )


def purpose(request: Request) -> Iterator[Note]:
    """The study's purpose must be one that the industry's pack lists."""
    header = request.study.study
    known = {name for pack in effective(request) if pack.industry == header.industry for name in pack.purposes}
    if known and header.purpose not in known:
        yield Note("PURPOSE", f"目的 {header.purpose}", f"purpose {header.purpose}")


def effective(request: Request) -> tuple[Pack, ...]:
    """The packs whose rules are judged, the general one first.

    A pack that a site adds by path and that nobody else signed can only restrict: its rows are no answer for a grade.
    """
    found = [general_pack().pack]
    for loaded in request.packs:
        pack = loaded.pack
        if pack.id == "general":
            continue
        if not loaded.shipped and pack.id not in request.signers:
            rules = tuple(rule.model_copy(update={"covers": ()}) for rule in pack.rule)
            nothing: dict[str, object] = {"jurisdiction": None, "zone": None, "negative_list": (), "positive_list": ()}
            pack = pack.model_copy(update={"rule": rules, **nothing})
        found.append(pack)
    return tuple(found)
