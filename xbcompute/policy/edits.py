"""Candidate changes of a study folder, each a pure function, for the question what would make policy say yes.

A change is something people would have to do: nothing here does it, obtains a document or signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from xbcompute.core.parties import PartyId
from xbcompute.policy.circumstances import IDENTITY_TAGS
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.site import Site
from xbcompute.specs.study import Study, parse_study
from xbcompute.specs.wording import Wording

ANONYMISED: Mapping[str, object] = {"pi": "anonymised", "health_level": 2}


@dataclass(frozen=True)
class Case:
    """A folder and the people at each holder."""

    folder: StudyFolder
    people: Mapping[PartyId, int]


@dataclass(frozen=True)
class Edit:
    """A change: what kind, in words, the function that makes it, and how much it asks (2: it is another study)."""

    kind: str
    text: Wording
    apply: Callable[[Case], Case]
    weight: int = 1


def candidates(case: Case, decision: Mapping[str, Any]) -> Iterator[Edit]:
    """Changes that could matter for this decision, the smallest kinds first."""
    rules = set(decision["rules"])
    study = case.folder.study
    if study.study.protocol.prefer:
        yield Edit("wish", _say("不指定协议", "state no preferred protocol"), _drop_wish)
    if len(study.analysis) > 1:
        for analysis in study.analysis:
            yield Edit(
                "analysis",
                _say(f"去掉分析 {analysis.id}", f"drop the analysis {analysis.id}"),
                _drop_analysis(analysis.id),
            )
    for column in droppable(case):
        yield Edit("column", _say(f"去掉列 {column}", f"drop the column {column}"), _drop_column(column))
    if study.study.privacy is not None and rules & {"NOISE", "EPSILON", "C4.8"}:
        yield Edit("noise", _say("不要求加噪", "ask for no noise"), _without_noise)
        yield Edit("noise", _say("把 ε 减到 0.5，δ 减到 1e-6", "lower ε to 0.5 and δ to 1e-6"), _less_epsilon)
    if "CONSENT" in rules:
        yield Edit(
            "consent",
            _say("取得覆盖目的、各接收方与出境的同意", "obtain consent to purpose, recipients and export"),
            _consent,
        )
    if "X03" in rules:
        yield Edit("listing", _say("把各参与方列入伙伴名单", "have every party listed as a partner"), _listed)
    if rules & {"X01", "X02"}:
        yield Edit(
            "approval",
            _say("为本研究的目的、输出与日期重新申请批准", "apply anew for this purpose, output and date"),
            _anew,
        )
    if "C3-3-unknown" in rules:
        yield Edit(
            "entity", _say("写明是否为关键信息基础设施运营者（假定为否）", "state ciio (taken to be false)"), _ciio
        )
    if "A02" in rules:
        yield Edit(
            "grade",
            _say("对物项分类（假定结果为未列管）", "classify the technology (taken to be unlisted)"),
            _classified,
        )
    if rules & {"B03", "B04"}:
        kinds = (
            *(("HGR_APPROVAL", "HGR_PRIOR_REPORT") if "B03" in rules else ()),
            *(("HGR_SECURITY_REVIEW",) if "B04" in rules else ()),
        )
        yield Edit(
            "document",
            _say(
                f"取得人类遗传资源的文件（写明目的与各境外方）：{'、'.join(kinds)}",
                f"obtain the documents on genetic resources, naming purpose and parties: {', '.join(kinds)}",
            ),
            _documents(*kinds),
        )
    if "A01" in rules:
        yield Edit(
            "document",
            _say("取得写明参与方与物项的出口许可", "obtain export licences that name the parties and the item"),
            _documents("EXPORT_LICENCE_CN", "ITT_PERMIT_SG"),
        )
    for where in sorted({party.jurisdiction for party in case.folder.federation.holders()}):
        yield Edit(
            "contributor",
            _say(f"在 {where} 增加一个独立的数据持有方", f"add an independent contributor in {where}"),
            _contributor(where),
        )
    yield Edit(
        "dealer",
        _say(
            "增加一个第三地随机数提供方，并取得不合谋裁定",
            "add a dealer in a third place, with rulings of non-collusion",
        ),
        _dealer,
    )
    if any(member["grade"] not in (None, "G0", "G1", "G2") for member in decision["by_party"].values()):
        yield Edit(
            "grade",
            _say("把数据粗化、匿名化并重新定级", "coarsen and anonymise the data and grade it anew"),
            _anonymise,
            weight=2,
        )


def droppable(case: Case) -> Iterator[str]:
    """Columns without which the study still asks something: those a holder tagged as identifying, then covariates."""
    study = case.folder.study
    tagged = {
        name
        for site in case.folder.sites.values()
        for dataset in site.dataset
        for name, column in dataset.columns.items()
        if set(column.tags) & IDENTITY_TAGS
    }
    for name in study.source_columns():
        if name in tagged and _without_column(study, name) is not None:
            yield name


# ---- documents and signatures ----------------------------------------------------------------------------------------


def with_document(case: Case, party: PartyId, kind: str) -> Case:
    """As if ``party`` had a document of this kind that covers the study."""
    foreign = [str(p.id) for p in case.folder.federation.parties if p.id != party]
    entry = {
        "kind": kind,
        "purposes": [case.folder.study.study.purpose],
        "parties": foreign,
        "number": "to be obtained",
    }
    if kind == "SG_TRANSFER_BASIS":
        entry = {"kind": kind, "basis": "contract", "countries": ["CN"]}
    return _site(case, party, _recorded(entry))


def with_signatures(case: Case, party: PartyId, roles: list[str], outputs: list[str]) -> Case:
    """As if ``party`` had signed in these roles for the study as it stands."""
    header = case.folder.study.study
    mine = case.folder.sites[party].approval
    before = {role for entry in mine if entry.study == header.id for role in entry.roles}
    entry = {"study": header.id, "purpose": header.purpose, "outputs": outputs, "roles": sorted({*before, *roles})}
    return _site(case, party, lambda body: body.update(approval=[entry]))


# ---- the changes -----------------------------------------------------------------------------------------------------


def _say(zh: str, en: str) -> Wording:
    return Wording(zh=zh, en=en)


def _site(case: Case, party: PartyId, change: Callable[[dict[str, Any]], Any]) -> Case:
    body = case.folder.sites[party].model_dump(mode="python", by_alias=True, exclude_unset=True)
    for key in ("dataset", "evidence", "approval", "user"):
        if key in body:
            body[key] = list(body[key])
    change(body)
    sites = {**case.folder.sites, party: parse(Site, body, f"sites/{party}/site.toml")}
    return replace(case, folder=replace(case.folder, sites=sites))


def _every_site(change: Callable[[dict[str, Any]], Any]) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        for party in case.folder.sites:
            case = _site(case, party, change)
        return case

    return apply


def _study(case: Case, change: Callable[[dict[str, Any]], Any]) -> Case:
    body = case.folder.study.model_dump(mode="python", by_alias=True, exclude_unset=True)
    body["analysis"] = list(body["analysis"])
    change(body)
    return replace(case, folder=replace(case.folder, study=parse_study(body)))


def _drop_wish(case: Case) -> Case:
    return _study(case, lambda body: body["study"].pop("protocol"))


def _without_noise(case: Case) -> Case:
    return _study(case, lambda body: body["study"].pop("privacy", None))


def _less_epsilon(case: Case) -> Case:
    return _study(case, lambda body: body["study"].update(privacy={"epsilon": 0.5, "delta": 1e-6}))


def _drop_analysis(name: str) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        if len(case.folder.study.analysis) == 1:
            return case
        return _study(
            case, lambda body: body.update(analysis=[entry for entry in body["analysis"] if entry["id"] != name])
        )

    return apply


def _drop_column(name: str) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        study = _without_column(case.folder.study, name)
        return case if study is None else replace(case, folder=replace(case.folder, study=study))

    return apply


def _without_column(study: Study, name: str) -> Study | None:
    """The study without the column; None where nothing of it would be left, or a condition or derivation needs it."""
    body = study.model_dump(mode="python", by_alias=True, exclude_unset=True)
    kept = []
    for entry in body["analysis"]:
        changed = dict(entry)
        for key in ("columns", "covariates"):
            if isinstance(changed.get(key), (list, tuple)):
                changed[key] = [term for term in changed[key] if name not in str(term).split(":")]
        if changed.get("by") == name:
            changed.pop("by")
        if changed.get("columns", True) and changed.get("covariates", True) and name not in changed.values():
            kept.append(changed)
    data = body["study"]["data"]
    needed = any(c["column"] == name for c in data.get("where", ())) or "derive" in data
    if not kept or needed:
        return None
    return parse_study({**body, "analysis": kept})


def _consent(case: Case) -> Case:
    parties = [str(party.id) for party in case.folder.federation.parties]
    given = {"purposes": [case.folder.study.study.purpose], "recipients": parties, "export": True}
    return _every_site(lambda body: body.update(dataset=[{**d, "consent": given} for d in body.get("dataset", ())]))(
        case
    )


def _listed(case: Case) -> Case:
    return _every_site(
        lambda body: body.update(
            entity={
                **body.get("entity", {}),
                "listed_partner_until": "9999-01-01T00:00:00+08:00",
                "pipl42_listed": False,
            }
        )
    )(case)


def _ciio(case: Case) -> Case:
    return _every_site(lambda body: body.update(entity={**body.get("entity", {}), "ciio": False}))(case)


def _anew(case: Case) -> Case:
    return _every_site(lambda body: body.update(approval=[]))(case)


def _datasets(keys: Mapping[str, object]) -> Callable[[Case], Case]:
    return _every_site(lambda body: body.update(dataset=[{**d, **keys} for d in body.get("dataset", ())]))


def _classified(case: Case) -> Case:
    return _datasets({"export_control": {"cn": "none", "sg": "none"}})(case)


def _anonymise(case: Case) -> Case:
    def change(body: dict[str, Any]) -> None:
        body["dataset"] = [
            {**d, **ANONYMISED, **({"sg_class": "anonymised"} if d.get("origin") == "SG" else {})}
            for d in body.get("dataset", ())
        ]

    return _every_site(change)(case)


def _contributor(where: str) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        folder = case.folder
        like = next((p for p in folder.federation.holders() if p.jurisdiction == where), None)
        if like is None:
            return case
        name = PartyId(f"another-{where.lower()}-{len(folder.federation.parties)}")
        body = folder.sites[like.id].model_dump(mode="python", by_alias=True, exclude_unset=True)
        body["site"] = {**body["site"], "party": str(name)}
        body["dataset"] = _naming(body, str(like.id))
        sites = {**folder.sites, name: parse(Site, body, f"sites/{name}/site.toml")}
        entry = {"id": str(name), "jurisdiction": where, "roles": ["holder"]}
        bigger = replace(folder, federation=_with_party(folder, entry), sites=sites)
        changed = Case(
            replace(bigger, site_dirs={**folder.site_dirs, name: folder.site_dirs[like.id]}),
            {**case.people, name: case.people[like.id]},
        )
        for holder in folder.federation.holders():
            changed = _site(changed, holder.id, lambda body: body.update(dataset=_naming(body, str(name))))
        return changed

    return apply


def _naming(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A site's datasets, a declared consent naming one more recipient."""
    found = []
    for dataset in body.get("dataset", ()):
        consent = dataset.get("consent")
        more = {"consent": {**consent, "recipients": [*consent.get("recipients", ()), name]}} if consent else {}
        found.append({**dataset, **more})
    return found


def _with_party(folder: StudyFolder, entry: Mapping[str, Any]) -> Federation:
    body = folder.federation.model_dump(mode="python", by_alias=True, exclude_unset=True)
    return parse(Federation, {**body, "party": [*body["party"], entry]}, "federation.toml")


def _dealer(case: Case) -> Case:
    folder = case.folder
    if any("dealer" in party.roles for party in folder.federation.parties):
        return case
    name = PartyId("neutral-dealer")
    sites = {**folder.sites, name: parse(Site, {"site": {"party": str(name)}}, f"sites/{name}/site.toml")}
    entry = {"id": str(name), "jurisdiction": "HK", "roles": ["dealer"]}
    bigger = replace(folder, federation=_with_party(folder, entry), sites=sites)
    case = Case(replace(bigger, site_dirs={**folder.site_dirs, name: folder.root}), case.people)
    for holder in folder.federation.holders():
        for other in folder.federation.holders():
            if other.jurisdiction != holder.jurisdiction:
                case = _site(
                    case, holder.id, _recorded({"kind": "NON_COLLUSION", "parties": [str(other.id), str(name)]})
                )
    return case


def _recorded(entry: Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        body["evidence"] = [*body.get("evidence", ()), dict(entry)]

    return change


def _documents(*kinds: str) -> Callable[[Case], Case]:
    def apply(case: Case) -> Case:
        for holder in case.folder.federation.holders():
            for kind in kinds:
                case = with_document(case, holder.id, kind)
        return case

    return apply
