"""Approvals: Ed25519 signatures over an application, a purpose, outputs and a half-open interval.

No approval yet, or a role unsigned: HOLD with the roles. An approval that does not cover the purpose, an output or the
date: DENY. What only permits (no roles required) may run without one, but an approval that was given binds.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError
from xbcompute.core.secret import Secret
from xbcompute.policy.decide import Plan, application_digest
from xbcompute.policy.reasons import Note
from xbcompute.policy.verdict import Verdict
from xbcompute.specs.site import Approval

DOMAIN = b"xbcompute/approval/v1\n"


@dataclass(frozen=True)
class Approved:
    """What one person, or a simulated site, has said yes to: a role, a purpose, outputs and ``[from, to)``."""

    party: str
    role: str
    study: str
    purpose: str
    outputs: frozenset[str]
    from_: dt.datetime | None
    to: dt.datetime | None

    def covers(self, moment: dt.datetime) -> bool:
        """Whether ``moment`` lies in ``[from, to)``."""
        return (self.from_ is None or self.from_ <= moment) and (self.to is None or moment < self.to)


@dataclass(frozen=True)
class SignedApproval:
    """An approval as it is stored and sent; ``application`` is the digest it binds to, ``signature`` 64 bytes."""

    party: str
    user: str
    role: str
    study: str
    application: str
    purpose: str
    outputs: tuple[str, ...]
    from_: dt.datetime | None
    to: dt.datetime | None
    signature: bytes = b""

    def statement(self) -> bytes:
        """The bytes that are signed: a domain line and canonical JSON of every field but the signature."""
        return DOMAIN + dumps(self._body())

    def _body(self) -> dict[str, object]:
        return {
            "application": self.application,
            "from": _moment(self.from_),
            "outputs": sorted(self.outputs),
            "party": self.party,
            "purpose": self.purpose,
            "role": self.role,
            "study": self.study,
            "to": _moment(self.to),
            "user": self.user,
        }

    @staticmethod
    def sign(
        *, key: Secret[Ed25519PrivateKey], party: str, user: str, role: str, application: str, approval: Approval
    ) -> SignedApproval:
        """One role's signature over what ``approval`` says, bound to ``application``."""
        unsigned = SignedApproval(
            party=party,
            user=user,
            role=role,
            study=approval.study,
            application=application,
            purpose=approval.purpose,
            outputs=approval.outputs,
            from_=approval.from_,
            to=approval.to,
        )
        return replace(unsigned, signature=key.expose().sign(unsigned.statement()))

    def plain(self) -> dict[str, object]:
        """JSON-ready form, signature in base64."""
        return {**self._body(), "signature": base64.b64encode(self.signature).decode("ascii")}

    @staticmethod
    def read(body: Mapping[str, object]) -> SignedApproval:
        """An approval from its JSON form.

        Raises:
            IntegrityError: a field is missing or of the wrong type.
        """
        try:
            outputs = body["outputs"]
            if not isinstance(outputs, list) or not all(isinstance(output, str) for output in outputs):
                raise ValueError
            return SignedApproval(
                outputs=tuple(outputs),
                from_=_read_moment(body["from"]),
                to=_read_moment(body["to"]),
                signature=base64.b64decode(_text(body["signature"]), validate=True),
                **{key: _text(body[key]) for key in ("party", "user", "role", "study", "application", "purpose")},
            )
        except (KeyError, ValueError, binascii.Error):
            raise IntegrityError("approval.form", "an approval is not of the form this release reads.") from None

    def approved(self) -> Approved:
        """The facts without the signature; only after :func:`verify`."""
        return Approved(self.party, self.role, self.study, self.purpose, frozenset(self.outputs), self.from_, self.to)


@dataclass(frozen=True)
class UserKey:
    """A party's user: the public key and the roles it may sign for."""

    key: Ed25519PublicKey
    roles: frozenset[str]


@dataclass(frozen=True)
class ApprovalResult:
    """What approvals add to one party's finding."""

    verdict: Verdict
    unsigned: tuple[str, ...]
    notes: tuple[Note, ...]


def from_site(party: str, approvals: Iterable[Approval]) -> tuple[Approved, ...]:
    """The approvals of a simulated site, one for each role, taken as signed for the application at hand."""
    return tuple(
        Approved(party, role, entry.study, entry.purpose, frozenset(entry.outputs), entry.from_, entry.to)
        for entry in approvals
        for role in (entry.roles or ("",))
    )


def verify(approval: SignedApproval, keys: Mapping[tuple[str, str], UserKey], application: str) -> Approved | None:
    """The approved facts; None where it binds to another application, which is then no approval of this one.

    ``keys`` maps (party, user) to the user's key.

    Raises:
        IntegrityError: the user is unknown, may not sign for this role, or the signature is wrong.
    """
    user = keys.get((approval.party, approval.user))
    if user is None:
        raise IntegrityError("approval.user", f"{approval.party}: an approval is by a user the site does not know.")
    try:
        user.key.verify(approval.signature, approval.statement())
    except InvalidSignature:
        raise IntegrityError("approval.signature", f"{approval.party}: an approval's signature is wrong.") from None
    if approval.role not in user.roles:
        raise IntegrityError("approval.role", f"{approval.party}: a user signed as {approval.role} without that role.")
    return approval.approved() if approval.application == application else None


def check_signed(
    plan: Plan,
    approvals: Iterable[SignedApproval],
    keys: Mapping[tuple[str, str], UserKey],
    now: dt.datetime,
    party: str,
) -> ApprovalResult:
    """As :func:`check`, after every signature of ``party`` was verified against this plan's application digest."""
    wanted = application_digest(plan)
    verified = [verify(approval, keys, wanted) for approval in approvals if approval.party == party]
    return check(plan, [approval for approval in verified if approval is not None], now, party)


def check(plan: Plan, approvals: Iterable[Approved], now: dt.datetime, party: str) -> ApprovalResult:
    """What the approvals of ``party`` add to the plan at ``now``: nothing, HOLD with unsigned roles, or DENY.

    Approvals for other outputs are none where no role has to sign, and where a rule waits for a ruling first.
    """
    member = plan.parties[party]
    mine = [approval for approval in approvals if approval.party == party and approval.study == plan.study_id]
    wide = [approval for approval in mine if _wide(approval, plan)]
    covering = [approval for approval in wide if approval.covers(now)]
    decisive = bool(member.required_roles) and not any(other.hold_roles for other in plan.parties.values())
    other_outputs = not wide and any(a.purpose == plan.purpose and a.covers(now) for a in mine)
    if mine and not covering and (decisive or not other_outputs):
        note = Note("X02", *_dates(now)) if wide else Note("X01", *_lacking(mine, plan))
        return ApprovalResult(Verdict.DENY, _unsigned(member.required_roles, ()), (note,))
    unsigned = _unsigned(member.required_roles, covering)
    pending = tuple(sorted({*unsigned, *member.hold_roles}))
    if unsigned:
        return ApprovalResult(Verdict.HOLD, pending, (Note("APPROVAL", "、".join(unsigned), ", ".join(unsigned)),))
    return ApprovalResult(Verdict.PERMIT, pending, ())


def _wide(approval: Approved, plan: Plan) -> bool:
    return approval.purpose == plan.purpose and set(plan.outputs) <= approval.outputs


def _unsigned(required: Iterable[str], covering: Iterable[Approved]) -> tuple[str, ...]:
    return tuple(sorted(set(required) - {approval.role for approval in covering}))


def _lacking(mine: Iterable[Approved], plan: Plan) -> tuple[str, str]:
    if all(approval.purpose != plan.purpose for approval in mine):
        return f"目的 {plan.purpose}", f"purpose {plan.purpose}"
    names = ", ".join(plan.outputs)
    return f"输出 {names}", f"outputs {names}"


def _dates(now: dt.datetime) -> tuple[str, str]:
    return f"现在 {now.isoformat()}", f"now {now.isoformat()}"


def _moment(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _read_moment(value: object) -> dt.datetime | None:
    if value is None:
        return None
    moment = dt.datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError
    return moment


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value
