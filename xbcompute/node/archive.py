"""What a node can still tell of a session it no longer has in memory: from its releases, applications and ledger."""

from __future__ import annotations

import json
from typing import Any

from xbcompute.core.canonical import digest
from xbcompute.core.errors import InputError, from_public
from xbcompute.core.parties import PartyId
from xbcompute.ledger.record import read_record
from xbcompute.node.store import Store


def stored_results(store: Store, session: str, me: PartyId) -> dict[str, Any]:
    """The answer to ``Results`` for a release of an earlier run of this node, in the same form.

    The decision has what the ledger keeps of it: verdict, protocol and rules, without local reasons. Times are not
    kept.

    Raises:
        InputError: the node knows no such session. XbError: what ended the session, if it was not its own end.
    """
    row = store.sessions.session(session)
    if row is not None and row.error is not None:
        raise from_public(dict(row.error))
    kept = store.releases.release(session)
    if kept is None or row is None or row.state != "closed":
        raise InputError("session.unknown", "this node has no such session, or no release of it.")
    records = [read_record(json.loads(entry.record)) for entry in store.ledger.entries()]
    mine = {record.kind: record.body for record in records if record.session == session}
    decided = mine.get("decision", {})
    head = store.ledger.check()
    return {
        "study": _study_id(store, kept.study),
        "digest": kept.study,
        "session": session,
        "state": "closed",
        "error": None,
        "decision": {key: decided[key] for key in ("verdict", "protocol", "rules") if key in decided},
        "crossings": list(mine.get("crossings", {}).get("crossings", [])),
        "privacy": {"mechanism": None, "statement": "no differential privacy"},
        "ledger": {me: {"size": head.size, "root": head.root.hex(), "verified": True}},
        "timing": {},
        "results": json.loads(kept.body)["results"],
    }


def _study_id(store: Store, wanted: str) -> str:
    for name in store.applications.digests():
        application = store.applications.application(name)
        if application is not None and digest(application.study) == wanted:
            return str(application.study["study"]["id"])
    return wanted
