"""A running node, from a researcher's script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from xbcompute.client.results import Decision, Run
from xbcompute.client.session import Caller, Progress, explained, followed, in_order
from xbcompute.client.study import Study
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.policy.approvals import SignedApproval


class Connection:
    """One party's node as one of its users sees it; a context manager."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        close = getattr(self._caller, "close", None)
        if close is not None:
            close()

    def explain(self, study: Study) -> Decision:
        """What policy says of ``study``; nothing is computed."""
        return Decision(explained(self._caller, study)[0])

    def run(self, study: Study, *, progress: Progress | None = None) -> Run:
        """Run ``study`` and return what this party received.

        Raises:
            XbError: what refused, held, interrupted or aborted it; RefusedError if this party is no recipient.
        """
        return self.results(followed(self._caller, study, progress), study)

    def results(self, session: str, study: Study | None = None) -> Run:
        """The release of an earlier session, from this party's node; in the order of ``study`` if that is given."""
        body: dict[str, Any] = json.loads(self._caller.results(session))
        if body.get("results") is None:
            raise RefusedError(
                "release.recipient",
                "this party is no recipient of the study: its node has the status only.",
                todo="Ask a recipient named in study.toml.",
            )
        if study is not None:
            body["results"] = in_order(study.spec, body["results"])
        return Run(body)

    def status(self) -> dict[str, Any]:
        """The node's links, sessions and ledger head."""
        return dict(json.loads(self._caller.status()))

    def applications(self) -> list[dict[str, Any]]:
        """Applications this node knows, with purpose, outputs, protocol, roles that must sign and those that have."""
        return list(self.status()["applications"])

    def approve(self, approval: SignedApproval) -> None:
        """Hand in one signed approval of this party's people.

        Raises:
            IntegrityError: the signature, the user or the role is not one the node knows.
            InputError: the node knows no such application.
        """
        self._caller.approve(dumps([approval.plain()]))

    def export_ledger(self, path: str | Path) -> Path:
        """Write the node's sealed ledger file; ``xbcompute ledger verify`` reads it offline."""
        file = Path(path)
        file.write_bytes(b"".join(self._caller.ledger()))
        return file


def connect(address: str, *, identity: str | Path, certificate: str | Path) -> Connection:
    """Connect to your party's node at ``host:port``.

    ``identity`` is your own file of certificate and keys, ``certificate`` the node's certificate, which is pinned.

    Raises:
        InputError: a file is missing or wrong.
    """
    from xbcompute.gate.client import NodeClient
    from xbcompute.gate.pki import Identity

    try:
        pem = Path(certificate).read_bytes()
    except OSError:
        raise InputError(
            "connect.certificate", f"{Path(certificate).name}: the node's certificate cannot be read."
        ) from None
    return Connection(NodeClient(address, pem, Identity.load(Path(identity))))
