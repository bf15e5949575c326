"""The decision as people and programs read it: the JSON object of a study folder, and a page in either language."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from xbcompute.policy.approvals import ApprovalResult
from xbcompute.policy.decide import Plan, application_digest
from xbcompute.policy.finding import LocalView
from xbcompute.policy.reasons import Note, Reason, explain, permits, severity
from xbcompute.policy.request import People
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.card import find_card
from xbcompute.specs.pack import PROJECT_RULE
from xbcompute.specs.study import Study

Language = Literal["zh", "en"]


def period_note(study: Study, now: dt.datetime) -> tuple[Note, ...]:
    """X02 where ``now`` lies outside the study's own period ``[from, to)``."""
    period = study.study.period
    if period is None or period.covers(now):
        return ()
    return (Note("X02", f"研究期限之外，现在 {now.isoformat()}", f"outside the study's period, now {now.isoformat()}"),)


def decision_json(
    plan: Plan,
    approvals: Mapping[str, ApprovalResult],
    views: Mapping[str, LocalView],
    *,
    now: dt.datetime,
    extra: Iterable[Note] = (),
) -> dict[str, Any]:
    """The ``decision`` object of a study folder.

    ``views`` are the local views this reader may see (its own party's, or all of them in simulation); ``approvals``
    likewise. Parties without a view are explained by rule ids alone. ``extra`` notes refuse.
    """
    extra = tuple(extra)
    verdict = max([plan.verdict, *(result.verdict for result in approvals.values())])
    if extra:
        verdict = Verdict.DENY
    reasons = _reasons(plan, approvals, views, extra)
    cited = dict.fromkeys([*plan.citations, *(name for reason in reasons for name in reason.citations)])
    roles = sorted({role for party in plan.parties for role in _roles(plan, approvals, party)})
    counted = _largest(plan, views)
    return {
        "verdict": verdict.value,
        "tier": verdict.tier,
        "protocol": None if verdict is Verdict.DENY else plan.protocol,
        "adversary": plan.adversary,
        "cn_path": plan.cn_path,
        "count_before": counted[0].plain(),
        "count_after": counted[1].plain(),
        "export_posture": plan.export_posture,
        "limits": {
            "cell_min": plan.limits.cell_min,
            "cell_scope": plan.limits.cell_scope,
            "model_rules": plan.limits.model_rules,
            "epsilon_release": plan.limits.epsilon_release,
            "epsilon_year": plan.limits.epsilon_year,
            "retention": plan.limits.retention,
        },
        "required_evidence": list(plan.required_evidence),
        "required_roles": roles,
        "rules": list(dict.fromkeys([*(reason.rule for reason in reasons), *plan.rules])),
        "citations": [*(name for name in cited if name != PROJECT_RULE), *(n for n in cited if n == PROJECT_RULE)],
        "reasons": [{"rule": r.rule, "zh": r.zh, "en": r.en, "mark": r.mark} for r in reasons],
        "outputs": list(plan.outputs),
        "estimate": None if plan.estimate is None else plan.estimate.plain(),
        "watermark": "sandbox" if plan.sandbox else None,
        "unmet": {name: list(rules) for name, rules in plan.unmet.items()},
        "by_party": {party: _party(plan, approvals, views, party) for party in plan.parties},
        "packs": [{"id": p.id, "version": p.version, "sha256": p.sha256} for p in plan.packs],
        "plan": plan.digest,
        "application": application_digest(plan),
        "at": now.isoformat(),
    }


def _roles(plan: Plan, approvals: Mapping[str, ApprovalResult], party: str) -> tuple[str, ...]:
    if party in approvals:
        return approvals[party].unsigned
    return tuple(sorted({*plan.parties[party].required_roles, *plan.parties[party].hold_roles}))


def _reasons(
    plan: Plan, approvals: Mapping[str, ApprovalResult], views: Mapping[str, LocalView], extra: tuple[Note, ...]
) -> tuple[Reason, ...]:
    """Refusals and holds first, then each rule once, with local facts where this reader may see them."""
    first = explain([*extra, *(note for result in approvals.values() for note in result.notes)], ())
    local = [reason for party in sorted(views) for reason in views[party].reasons]
    known = {reason.rule for reason in (*first, *local)}
    rest = explain([Note(rule) for rule in plan.rules if rule not in known], ())
    unique = {(reason.rule, reason.en): reason for reason in (*first, *local, *rest)}
    return tuple(sorted(unique.values(), key=lambda reason: severity(reason.rule)))


def _largest(plan: Plan, views: Mapping[str, LocalView]) -> tuple[People, People]:
    """Before and after at the Chinese entity that will have counted most; none: zero."""
    chinese = [view for party, view in views.items() if plan.parties[party].jurisdiction == "CN"]
    if not chinese:
        return People(), People()
    most = max(chinese, key=lambda v: (v.count_after.sensitive, v.count_after.non_sensitive, v.party))
    return most.count_before, most.count_after


def _party(
    plan: Plan, approvals: Mapping[str, ApprovalResult], views: Mapping[str, LocalView], party: str
) -> dict[str, Any]:
    member, view = plan.parties[party], views.get(party)
    verdict = max(member.verdict, Verdict.HOLD if member.required_evidence else Verdict.PERMIT)
    verdict = max(verdict, approvals[party].verdict if party in approvals else Verdict.PERMIT)
    body: dict[str, Any] = {
        "verdict": verdict.value,
        "grade": member.grade,
        "cn_path": member.cn_path,
        "required_evidence": list(member.required_evidence),
        "required_roles": list(_roles(plan, approvals, party)),
        "rules": list(member.rules),
        "refused": {name: list(rules) for name, rules in member.refused.items()},
    }
    if view is not None:
        body["count_before"] = view.count_before.plain()
        body["count_after"] = view.count_after.plain()
    return body


_WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("策略决定", "Policy decision"),
    "verdict": ("结论", "Verdict"),
    "protocol": ("协议", "Protocol"),
    "not": ("不保护什么", "What it does not protect"),
    "leaves": ("原始记录不离开本地；离开的是下列消息", "Raw records stay local; the following messages leave"),
    "whom": ("向谁公开", "Opened to"),
    "assume": ("前提", "Assumption"),
    "allows": ("据以允许的规则", "Rules that allow it"),
    "path": ("出境途径", "Outbound path"),
    "people": (
        "计数（最大的境内主体，本年度，之前 → 之后）",
        "People counted (largest CN entity, this year, before → after)",
    ),
    "cell": ("最小单元", "Minimum cell"),
    "missing": ("还缺的文件", "Documents still missing"),
    "roles": ("还未签署的角色", "Roles that have not signed"),
    "reasons": ("理由", "Reasons"),
    "cites": ("依据", "Citations"),
    "by_party": ("各方", "By party"),
    "none": ("无", "none"),
    "marks": (
        "标记：V 已读原文 · V2 仅见二手来源 · M 凭记忆 · D 本项目的选择，不是法律。",
        "Marks: V read in the instrument · V2 read in a secondary page · M from memory · D this project's choice.",
    ),
    "advice": ("按上列策略包的规则得出；非法律意见。", "Result under the packs named above; not legal advice."),
}


_WHOM: Mapping[str, tuple[str, str]] = {
    "contributors": ("每个出数方与接收方", "every contributor and every recipient"),
    "recipients": ("接收方", "the recipients"),
    "lead": ("牵头方与接收方", "the lead and the recipients"),
}


def _cost_lines(estimate: Mapping[str, Any] | None, lang: Language) -> list[str]:
    if estimate is None:
        return []
    rounds, seconds, size = estimate["rounds"], estimate["milliseconds"] / 1e3, estimate["bytes"] / 1024
    link = f"{estimate['rtt_ms']:g} ms · {estimate['goodput_mbit']:g} Mbit/s"
    if lang == "zh":
        source = "实测" if estimate["measured"] else "协议卡的假定，非实测"
        return [f"  估计: {rounds} 轮 · {size:.0f} KiB · {seconds:.1f} 秒（{link}，{source}）"]
    source = "measured" if estimate["measured"] else "assumed by the card, not measured"
    return [f"  Estimate: {rounds} rounds · {size:.0f} KiB · {seconds:.1f} s ({link}, {source})"]


def explain_text(decision: Mapping[str, Any], lang: Language) -> str:
    """The decision as a page of plain text in Chinese or English."""
    at = 0 if lang == "zh" else 1

    def word(key: str) -> str:
        return _WORDS[key][at]

    lines = [f"{word('title')}: {decision['tier']} · {decision['verdict']}", ""]
    lines.append(f"{word('protocol')}: {decision['protocol'] or word('none')}")
    if decision["protocol"]:
        card = find_card(decision["protocol"])
        lines.append(f"  {word('not')}:")
        lines += [f"    - {getattr(text, lang)}" for text in card.does_not_protect]
        lines.append(f"  {word('leaves')}:")
        lines += [f"    - {getattr(text, lang)}" for text in card.opens]
        lines.append(f"  {word('whom')}: {_WHOM[card.totals_to][at]}")
        lines.append(f"  {word('assume')}: {getattr(card.must_not_collude, lang)}")
        lines += _cost_lines(decision["estimate"], lang)
        allowing = [reason["rule"] for reason in decision["reasons"] if permits(reason["rule"])]
        lines.append(f"  {word('allows')}: {', '.join(dict.fromkeys(allowing)) or word('none')}")
    before, after = decision["count_before"], decision["count_after"]
    lines.append(f"{word('path')}: {decision['cn_path']} · {decision['export_posture']}")
    lines.append(
        f"{word('people')}: {before['sensitive']} → {after['sensitive']} · "
        f"{before['non_sensitive']} → {after['non_sensitive']}"
    )
    limits = decision["limits"]
    lines.append(f"{word('cell')}: {limits['cell_min']} ({limits['cell_scope']})")
    for key, field in (("missing", "required_evidence"), ("roles", "required_roles")):
        lines.append(f"{word(key)}: {', '.join(decision[field]) or word('none')}")
    lines += ["", f"{word('reasons')}:"]
    lines += [f"  [{reason['rule']}] ({reason['mark']}) {reason[lang]}" for reason in decision["reasons"]]
    lines += ["", f"{word('cites')}: {' · '.join(decision['citations'])}", "", f"{word('by_party')}:"]
    for party, body in decision["by_party"].items():
        grade = body["grade"] or "–"
        lines.append(f"  {party}: {body['verdict']} · {grade} · {body['cn_path']}")
    lines += ["", " · ".join(f"{pack['id']} {pack['version']}" for pack in decision["packs"])]
    lines += [word("marks"), word("advice")]
    return "\n".join(lines) + "\n"
