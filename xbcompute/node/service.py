"""What a node answers its party's own users."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError
from xbcompute.node.archive import stored_results
from xbcompute.node.events import ENDED
from xbcompute.node.session import Session
from xbcompute.specs.study import Study, parse_study

if TYPE_CHECKING:
    from xbcompute.node.app import Node

NO_PRIVACY = {"mechanism": None, "statement": "no differential privacy"}
"""What every release states until a noise mechanism is built."""


class Service:
    """:class:`xbcompute.gate.service.NodeService` of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def explain(self, user: str, study: bytes) -> bytes:
        """The decision on a study, and the digest of the application that approvals sign; nothing is computed."""
        session = await self._node.propose(_study(study), execute=False)
        await session.events.ended()
        if session.error is not None:
            raise session.error
        assert session.application is not None
        return dumps({"decision": session.decision, "application": session.application.digest})

    async def submit(self, user: str, study: bytes) -> str:
        """Start a study as its lead."""
        return (await self._node.propose(_study(study), execute=True)).id.hex()

    async def watch(self, user: str, session: str) -> AsyncIterator[bytes]:
        """The events of a session until it ends."""
        async for event in self._find(session).events.watch():
            yield dumps(event)

    async def results(self, user: str, session: str) -> bytes:
        """How a session ended: decision, release if this party is a recipient, crossings, ledger head, timing."""
        node = self._node
        if bytes.fromhex(session) not in node.sessions:
            return dumps(await node.store_call(stored_results, node.store, session, node.config.me))
        found = self._find(session)
        if found.events.state not in ENDED:
            raise InputError("session.running", "the session has not ended yet.", todo="Watch it to its end.")
        head = await self._node.store_call(self._node.store.ledger.check)
        body: dict[str, Any] = {
            "study": found.study.id,
            "digest": found.study.digest,
            "session": session,
            "state": found.events.state,
            "error": None if found.error is None else found.error.public(),
            "decision": found.decision,
            "crossings": found.crossings,
            "privacy": NO_PRIVACY,
            "ledger": {self._node.config.me: {"size": head.size, "root": head.root.hex(), "verified": True}},
            "timing": found.timing,
            "results": None,
        }
        if found.release is not None and found.error is None and self._node.config.me in found.recipients:
            body["results"] = dict(found.release.results)
        return dumps(body)

    async def approve(self, user: str, body: bytes) -> bytes:
        """Keep signed approvals; each must verify under the key and roles of the user it names."""
        try:
            approvals = json.loads(body)
        except ValueError:
            raise InputError("request.approvals", "the approvals are no JSON.") from None
        if not isinstance(approvals, list):
            raise InputError("request.approvals", "approvals come as a list.")
        for approval in approvals:
            await self._node.approve(approval)
        return dumps({"kept": len(approvals)})

    async def ledger(self, user: str, since: int) -> AsyncIterator[bytes]:
        """The ledger file, sealed now, in pieces of at most 1 MiB."""
        if since:
            raise InputError("ledger.since", "this release exports whole ledgers only.", todo="Ask from 0.")
        data = await self._node.export_ledger()
        for start in range(0, len(data), 1 << 20):
            yield data[start : start + (1 << 20)]

    async def status(self, user: str) -> bytes:
        """The node's state: links, sessions, ledger head."""
        node = self._node
        head = await node.store_call(node.store.ledger.head)
        return dumps(
            {
                "party": node.config.me,
                "federation": node.config.federation.id,
                "links": {party: party in node.links.up for party in node.peers},
                "sessions": {s.id.hex(): s.events.state for s in node.sessions.values()},
                "applications": await node.store_call(self._applications),
                "ledger": {"size": head.size, "root": head.root.hex()},
            }
        )

    def _applications(self) -> list[dict[str, Any]]:
        """What this party's people may approve: each application with what it asks for and who has signed."""
        listed: list[dict[str, Any]] = []
        store = self._node.store.applications
        for name in store.digests():
            kept = store.application(name)
            if kept is not None:
                listed.append(
                    {
                        "application": name,
                        "study": kept.plan["study_id"],
                        "purpose": kept.plan["purpose"],
                        "outputs": kept.plan["outputs"],
                        "protocol": kept.plan["protocol"],
                        "verdict": kept.plan["verdict"],
                        "required_roles": kept.plan["parties"][self._node.config.me]["required_roles"],
                        "signed": sorted({str(approval["role"]) for approval in kept.approvals}),
                    }
                )
        return listed

    def _find(self, session: str) -> Session:
        found = self._node.sessions.get(bytes.fromhex(session))
        if found is None:
            raise InputError("session.unknown", "this node has no such session.")
        return found


def _study(data: bytes) -> Study:
    try:
        body = json.loads(data)
    except ValueError:
        raise InputError("study.form", "the study is no JSON.") from None
    if not isinstance(body, dict):
        raise InputError("study.form", "the study is no object.")
    return parse_study(body, "study")
