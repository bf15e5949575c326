"""A node: the gate, the store and the ledger of one party, and the sessions that run between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.canonical import digest, digest_bytes
from xbcompute.core.errors import InputError, IntegrityError, PeerError, XbError
from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Clock
from xbcompute.core.release import Release
from xbcompute.gate.border import Border
from xbcompute.gate.links import Links
from xbcompute.gate.memory import MemoryBorder, MemoryHub
from xbcompute.gate.tls import Peer, User
from xbcompute.node.application import Application
from xbcompute.node.config import STORE_NAME, FixedClock, NodeConfig, SystemClock, raw_key
from xbcompute.node.conversation import NO_PLAN
from xbcompute.node.events import ENDED
from xbcompute.node.findings import Findings, LocalFinding
from xbcompute.node.ledgers import NodeLedger
from xbcompute.node.service import Service
from xbcompute.node.session import Session
from xbcompute.node.store import Store, open_store
from xbcompute.node.workers import Worker, WorkerPool
from xbcompute.specs.site import Dataset
from xbcompute.specs.study import Study, parse_study

WAITING_FRAMES = 256
WAITING_BYTES = 8 << 20
"""Of each peer: frames in sessions that this node has not heard of yet."""
ENDED_KEPT = 200
LED_MAX = 16
"""Sessions that one peer may lead here at once: each holds a worker and the rows of its study."""
ALIVE_SHARE = 0.6
"""Of ``peer_grace``: how long a link may answer nothing, so that what is left suffices to end the session."""


class Node:
    """One party's node.

    ``hub`` links nodes of one process instead of opening a port; ``warm`` is a worker that runs already: the descriptor
    of this end of its socket, and its process id.
    """

    def __init__(
        self, config: NodeConfig, *, hub: MemoryHub | None = None, warm: tuple[int, int] | None = None
    ) -> None:
        self.config = config
        self.log = logging.getLogger(f"xbcompute.node.{config.me}")
        self.clock: Clock = FixedClock(config.site.site.clock) if config.site.site.clock else SystemClock()
        self.raw_signing_keys = {party: raw_key(key, whose=party) for party, key in config.signing_keys.items()}
        self.store: Store = open_store(config.state_dir / STORE_NAME, folder=config.state_dir)
        self.ledger = NodeLedger(self.store, config, self.clock)
        self.findings = Findings(config, self.store, self.clock)
        self.sessions: dict[bytes, Session] = {}
        self.service = Service(self)
        self._pool = WorkerPool(in_process=config.in_process, threads=config.worker_threads, running=warm)
        self._prepared: dict[str, tuple[Worker, LocalFinding]] = {}
        self._ended: deque[bytes] = deque()
        self._early: dict[PartyId, deque[Frame]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.opening = asyncio.Lock()
        self.links: Links = self._make_links(hub)

    def _make_links(self, hub: MemoryHub | None) -> Links:
        config = self.config
        peers = [
            Peer(party, config.addresses.get(party), certificate)
            for party, certificate in config.certificates.items()
            if party != config.me
        ]
        users = [User(user.id, user.certificate, user.roles) for user in config.users if user.certificate]
        make: Callable[..., Links] = Border if hub is None else lambda **more: MemoryBorder(hub, **more)
        return make(
            federation=config.federation.id,
            identity=config.identity,
            me=config.me,
            listen=config.listen,
            peers=peers,
            users=users,
            service=self.service,
            on_frame=self._on_frame,
            on_link=self._on_link,
            on_violation=self._on_violation,
            silence=ALIVE_SHARE * config.peer_grace,
        )

    @property
    def peers(self) -> tuple[PartyId, ...]:
        """The other parties, sorted."""
        return tuple(sorted(party for party in self.config.certificates if party != self.config.me))

    # ---- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> int | None:
        """Check the ledger on disk, open the gate, keep a worker warm; the bound port."""
        await self._pool.warm()
        await asyncio.to_thread(self.store.ledger.check)
        await asyncio.to_thread(self._close_interrupted)
        return await self.links.start()

    def set_address(self, peer: PartyId, address: str) -> None:
        """Tell the gate where a peer listens; a simulation learns ports late."""
        if isinstance(self.links, Border):
            self.links.set_address(peer, address)

    async def stop(self) -> None:
        """End sessions, workers and the gate; close the store."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._pool.stop()
        await self.links.stop()
        self.store.close()

    # ---- sessions ------------------------------------------------------------------------------------------------

    async def propose(self, study: Study, *, execute: bool) -> Session:
        """Open a session as its lead and tell every member."""
        if study.study.lead != self.config.me:
            raise InputError(
                "study.lead",
                f"study '{study.id}' names {study.study.lead} as lead; this node is {self.config.me}.",
                todo="Hand the study to the lead's node.",
            )
        session = self._open(secrets.token_bytes(16), study, execute=execute)
        body = {"study": study.plain(), "execute": execute}
        try:
            await session.talk.tell(session.others, "session.propose", body)
        except XbError as error:
            session.fail(error)
        self._run(session)
        return session

    def _open(self, session_id: bytes, study: Study, *, execute: bool) -> Session:
        session = self.sessions[session_id] = Session(self, session_id, study, execute=execute)
        for party in session.others:
            if party not in self.links.up:
                session.lost(party)
        return session

    def _run(self, session: Session) -> None:
        task = asyncio.create_task(session.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_frame(self, sender: PartyId, frame: Frame) -> None:
        session = self.sessions.get(frame.session)
        if session is None:
            if frame.kind == "session.propose":
                await self._proposed(sender, frame)
            elif frame.kind != "session.abort":
                self._keep_early(sender, frame)
            return
        try:
            await session.frame(sender, frame)
        except XbError as error:
            session.fail(error)

    def _keep_early(self, sender: PartyId, frame: Frame) -> None:
        """A peer may answer a proposal that has not arrived here yet: keep the latest of such frames."""
        waiting = self._early.setdefault(sender, deque(maxlen=WAITING_FRAMES))
        waiting.append(frame)
        while sum(len(kept.payload) for kept in waiting) > WAITING_BYTES:
            waiting.popleft()

    async def _proposed(self, sender: PartyId, frame: Frame) -> None:
        """Join a session that a lead proposes. Only the study's own lead may, in one frame, before any plan."""
        from xbcompute.wire.codec import decode_fields

        try:
            body = json.loads(bytes(decode_fields(frame.payload)["body"]))  # type: ignore[arg-type]
            study = parse_study(body["study"], "the proposed study")
            if not frame.last or frame.plan != NO_PLAN or study.study.lead != sender:
                raise IntegrityError("session.propose", f"{sender} proposed a study that it does not lead.")
        except (XbError, ValueError, KeyError, TypeError) as error:
            self.log.warning("a proposal of %s was not taken: %s", sender, type(error).__name__)
            return
        led = sum(one.lead == sender and one.events.state not in ENDED for one in self.sessions.values())
        session = self._open(frame.session, study, execute=bool(body.get("execute")))
        session.talk.arrived(sender, frame)  # its number counts
        if led >= LED_MAX:
            session.fail(
                PeerError(
                    "node.busy",
                    f"{self.config.me}: {sender} leads {led} sessions here that have not ended.",
                    todo="Run again when one of them has ended.",
                )
            )
        self._run(session)
        for early_sender, waiting in list(self._early.items()):
            ready = [early for early in waiting if early.session == frame.session]
            for early in ready:
                waiting.remove(early)
                await self._on_frame(early_sender, early)

    def _on_link(self, peer: PartyId, up: bool) -> None:
        if not up:
            for session in list(self.sessions.values()):
                session.lost(peer)

    def _on_violation(self, peer: PartyId, session: bytes | None, error: XbError) -> None:
        self.log.warning("%s broke the rules of the gate: %s", peer, error.code)
        running = self.sessions.get(session) if session is not None else None
        if running is not None:
            running.fail(error)

    async def session_over(self, session: Session) -> None:
        """Forget the oldest ended sessions: frames of a recent one may still arrive and must find their numbers."""
        self._ended.append(session.id)
        while len(self._ended) > ENDED_KEPT:
            oldest = self._ended.popleft()
            self.links.forget(oldest)
            self.links.accounts.forget(oldest)
            self.sessions.pop(oldest, None)

    # ---- workers -------------------------------------------------------------------------------------------------

    async def prepared_worker(self, study: Study, dataset: Dataset) -> tuple[Worker, LocalFinding]:
        """A worker that has read the study's rows, and what it counted; one that an explanation left behind, if any."""
        kept = self._prepared.pop(study.digest, None)
        if kept is not None and not kept[0].gone.is_set():
            return kept
        worker = await self._pool.take()
        command = {
            "study": study.plain(),
            "dataset": dataset.plain(),
            "base": str(self.config.site_dir),
            "federation": self.config.federation.plain(),
            "party": self.config.me,
            "key": self.store.site_key().expose().hex(),
        }
        try:
            body, people = await worker.do("prepare", command, limit=self.config.prepare_limit)
        except XbError:
            await self._pool.give_back(worker)
            raise
        return worker, LocalFinding(people=people, n=int(body["n"]))

    async def return_worker(self, study: Study, worker: Worker, counted: LocalFinding, *, keep: bool) -> None:
        """End a session's worker, or keep it with its rows for the study that was only explained."""
        if keep and not worker.gone.is_set() and study.digest not in self._prepared:
            while self._prepared:
                _, (oldest, _) = self._prepared.popitem()
                await self._pool.give_back(oldest)
            self._prepared[study.digest] = (worker, counted)
        else:
            await self._pool.give_back(worker)

    # ---- what sessions write -------------------------------------------------------------------------------------

    async def store_call(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """A storage call in a thread."""
        return await asyncio.to_thread(call, *arguments, **named)

    async def record(self, kind: str, body: Mapping[str, Any], session: Session) -> None:
        """Append one record of a session to the ledger."""
        await asyncio.to_thread(
            self.store.ledger.append_record,
            kind,
            body,
            self.clock.now(),
            session=session.id.hex(),
            study=session.study.digest,
        )

    async def begin_round(self, session: bytes, epoch: int, round: int) -> None:
        """On disk before anything of the round is sent."""
        await asyncio.to_thread(self.store.journal.begin_round, session.hex(), epoch, round)

    async def seed_released(self, session: Session, people: bytes, epoch: int, round: int) -> None:
        """On disk before a self-mask seed is sent."""
        await asyncio.to_thread(
            self.store.journal.seed_released,
            session.id.hex(),
            epoch,
            round,
            participants=session.holders,
            dataset=session.study.study.data.dataset,
            population=digest_bytes(people),
            study=session.study.digest,
        )

    async def record_opening(self, study: Study, session: bytes, people: bytes) -> None:
        """On disk before the first total of a session can be known: whose data it is over (policy C4.9)."""
        await asyncio.to_thread(
            self.store.openings.add_opening,
            study.study.data.dataset,
            study=study.id,
            session=session.hex(),
            analyses=[analysis.id for analysis in study.analysis],
            at=self.clock.now(),
            people=people,
        )
        await self.findings.count(study, people)

    async def approve(self, body: Mapping[str, Any]) -> None:
        """Keep one signed approval and put it into the ledger."""
        approval = await self.findings.add_approval(body)
        record = {
            "application": approval.application,
            "approval": digest(approval.plain()),
            "role": approval.role,
            "act": "sign",
        }
        await asyncio.to_thread(self.store.ledger.append_record, "approval", record, self.clock.now())

    async def session_begins(self, session: Session) -> None:
        """Remember a session that is about to compute, so that a restarted node knows of it."""
        await asyncio.to_thread(
            self.store.sessions.start,
            session.id.hex(),
            study=session.study.digest,
            lead=session.lead,
            state="running",
            at=self.clock.now(),
        )

    async def session_ends(self, session: Session) -> None:
        """Remember how it ended."""
        error = None if session.error is None else session.error.public()
        await asyncio.to_thread(
            self.store.sessions.move, session.id.hex(), session.events.state, ended=self.clock.now(), error=error
        )

    def _close_interrupted(self) -> None:
        """Sessions that ran when this node last stopped are over: nothing of them is run again."""
        error = {"code": "node.stopped", "exit": 5, "text": "the node stopped during the session.", "todo": ""}
        for row in self.store.sessions.sessions(running=True):
            self.store.sessions.move(row.id, "interrupted", ended=self.clock.now(), error=error)

    async def keep_application(self, application: Application) -> None:
        """Keep the application, so that approvals may bind to it."""
        await asyncio.to_thread(
            self.store.applications.add_application,
            application.digest,
            study=application.study.plain(),
            plan=application.plan.plain(),
        )

    async def keep_release(self, release: Release) -> None:
        """Keep a release at a recipient."""
        await asyncio.to_thread(
            self.store.releases.add_release,
            release.session,
            study=release.study,
            plan=release.plan,
            body=release.encode(),
            at=self.clock.now(),
        )

    async def export_ledger(self) -> bytes:
        """The ledger file of this node, sealed now."""
        path = self.config.state_dir / f"ledger-{secrets.token_hex(4)}.jsonl"
        me = self.config.me
        witnesses = {str(party): key for party, key in self.config.signing_keys.items() if party != me}
        try:
            await asyncio.to_thread(
                self.store.ledger.export,
                path,
                origin=self.ledger.origin,
                key=self.config.signing_keys[me],
                witnesses=witnesses,
                sign=self.config.identity.sign,
                at=self.clock.now(),
            )
            return await asyncio.to_thread(path.read_bytes)
        finally:
            with contextlib.suppress(OSError):
                Path(path).unlink()
