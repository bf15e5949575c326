"""A whole federation on this machine: throwaway keys, real nodes, approvals signed and handed in the real way."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from xbcompute.client.progress import ProgressView
from xbcompute.client.results import Decision, Run
from xbcompute.client.session import Caller, Progress, explained, followed
from xbcompute.client.study import Study
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, XbError, from_public
from xbcompute.core.parties import PartyId
from xbcompute.ledger.verify import verify_file
from xbcompute.node.config import STORE_NAME
from xbcompute.node.store import open_store
from xbcompute.policy.approvals import SignedApproval
from xbcompute.simulate.keys import make_keys, node_body, user_of
from xbcompute.simulate.merge import merged
from xbcompute.simulate.nodes import MemoryNodes, Nodes, ProcessNodes
from xbcompute.specs.load import StudyFolder, load_folder
from xbcompute.specs.site import Approval

PEER_GRACE = 10.0


class Simulation:
    """Use it as a context manager: nodes start on entering and end on leaving.

    ``in_process`` runs everything in this process: fast, no TLS, no isolation. ``state`` keeps the nodes' keys and
    stores (ledger, counters, openings) in a folder of yours, and a later simulation goes on from there; without it they
    are thrown away.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        in_process: bool = False,
        state: str | Path | None = None,
        peer_grace: float = PEER_GRACE,
        worker_threads: int | None = 1,
    ) -> None:
        self.folder: StudyFolder = load_folder(Path(folder))
        self._in_process = in_process
        self._peer_grace = peer_grace
        self._worker_threads = worker_threads
        self._kept = None if state is None else Path(state)
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._nodes: Nodes | None = None
        self._keys = make_keys(self.folder, self._kept)
        self.start_s = 0.0

    # ---- life ----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        begun = time.monotonic()
        self._directory = tempfile.TemporaryDirectory(prefix="xbcompute-")
        try:
            self._nodes = self._start(Path(self._directory.name), self._kept or Path(self._directory.name))
        except BaseException:
            self._directory.cleanup()
            raise
        self.start_s = time.monotonic() - begun
        return self

    def _start(self, directory: Path, state: Path) -> Nodes:
        self._make_stores(directory, state)
        bodies = {
            party.id: node_body(
                self.folder,
                party.id,
                self._keys,
                state,
                peer_grace=self._peer_grace,
                worker_threads=self._worker_threads,
            )
            for party in self.folder.federation.parties
        }
        if self._in_process:
            return MemoryNodes(bodies)
        return ProcessNodes(bodies, self._keys, state / "nodes.log", threads=self._worker_threads)

    def _make_stores(self, directory: Path, state: Path) -> None:
        """An empty store for every node: migrated once, copied, so that no node has to migrate its own."""
        template = directory / "template"
        template.mkdir(mode=0o700)
        open_store(template / STORE_NAME).close()
        for party in self.folder.federation.parties:
            place = state / party.id
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (place / STORE_NAME).exists():
                shutil.copy(template / STORE_NAME, place / STORE_NAME)

    def __exit__(self, *_: object) -> None:
        if self._nodes is not None:
            self._nodes.stop()
        if self._directory is not None:
            self._directory.cleanup()

    @property
    def nodes(self) -> Nodes:
        """The running nodes."""
        if self._nodes is None:
            raise InputError("simulate.stopped", "the simulation is not running.", todo="Use it in a with statement.")
        return self._nodes

    @property
    def state_dir(self) -> Path:
        """Where the nodes keep their stores and their log while the simulation runs."""
        if self._directory is None:
            raise InputError("simulate.stopped", "the simulation is not running.", todo="Use it in a with statement.")
        return self._kept or Path(self._directory.name)

    # ---- studies -------------------------------------------------------------------------------------------------

    def _study(self, study: Study | None) -> Study:
        return Study(self.folder.study) if study is None else study

    def _lead(self, study: Study) -> Caller:
        lead = PartyId(study.spec.study.lead)
        if lead not in self.nodes.callers:
            raise InputError("study.party", f"study '{study.id}' names lead '{lead}', which is no party here.")
        return self.nodes.callers[lead]

    def explain(self, study: Study | None = None) -> Decision:
        """What policy says of the study (the folder's own, unless given), approvals of the folder signed first."""
        return Decision(self._decided(self._study(study)))

    def _decided(self, study: Study) -> dict[str, Any]:
        lead = self._lead(study)
        decision, application = explained(lead, study)
        if self._approve(study, application):
            decision, _ = explained(lead, study)
        return decision

    def _approve(self, study: Study, application: str) -> int:
        """Sign the folder's approvals with throwaway keys and hand them to each site's node; how many."""
        handed = 0
        for party, site in self.folder.sites.items():
            signed = [
                self._signed(party, role, approval, application).plain()
                for approval in site.approval
                if approval.study == study.id
                for role in approval.roles
            ]
            if signed:
                self.nodes.callers[party].approve(dumps(signed))
                handed += len(signed)
        return handed

    def _signed(self, party: PartyId, role: str, approval: Approval, application: str) -> SignedApproval:
        key = self._keys[party].signers[role]
        return SignedApproval.sign(
            key=key, party=party, user=user_of(role), role=role, application=application, approval=approval
        )

    def run(self, study: Study | None = None, *, progress: Progress | bool | None = None) -> Run:
        """Run the study over all nodes; the first recipient's results, every node's crossings and ledger.

        ``progress`` is called with each event of the lead's node; ``True`` shows them on standard error.

        Raises:
            RefusedError, HeldError: policy or an output check said no. PeerError: a peer or the channel failed.
            IntegrityError: someone broke the protocol.
        """
        return Run(self.run_json(study, progress=progress))

    def run_json(self, study: Study | None = None, *, progress: Progress | bool | None = None) -> dict[str, Any]:
        """As :meth:`run`; the plain object that ``simulate --json`` prints."""
        if progress is True:
            with ProgressView() as view:
                return self.run_json(study, progress=view)
        chosen = self._study(study)
        self._decided(chosen)
        session = followed(self._lead(chosen), chosen, progress or None)
        return self._collect(chosen, session)

    def _collect(self, study: Study, session: str) -> dict[str, Any]:
        answers: dict[PartyId, dict[str, Any]] = {}
        for party, caller in self.nodes.callers.items():
            try:
                for _ in caller.watch(session):
                    pass
                answers[party] = json.loads(caller.results(session))
            except InputError:
                continue  # a party that took no part in this study
            if answers[party]["error"] is not None:
                # It ended well for its lead, and not for this party.
                raise from_public(answers[party]["error"])
        ledgers = {party: self._ledger(party) for party in answers}
        return merged(study.spec, answers, ledgers, start_s=self.start_s)

    def _ledger(self, party: PartyId) -> dict[str, Any]:
        path = self.export_ledger(party)
        keys = {str(p): k.identity.signing_public for p, k in self._keys.items()}
        try:
            report = verify_file(path, keys)
        except XbError as error:
            return {"size": 0, "root": "", "verified": False, "error": error.text}
        return {"size": report.size, "root": report.root, "verified": True}

    def export_ledger(self, party: PartyId, to: Path | None = None) -> Path:
        """Write one node's ledger file, as ``xbcompute ledger verify`` reads it."""
        path = to or self.state_dir / f"{party}.ledger"
        path.write_bytes(b"".join(self.nodes.callers[party].ledger()))
        return path

    def public_keys(self) -> Mapping[PartyId, str]:
        """Every party's public signing key."""
        return {party: keys.identity.signing_public for party, keys in self._keys.items()}
