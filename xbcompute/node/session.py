"""One study at one node, from proposal to countersigned ledgers, or to the error that ends it everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xbcompute.core.canonical import digest
from xbcompute.core.errors import InputError, IntegrityError, PeerError, XbError, from_public
from xbcompute.core.frame import Frame
from xbcompute.core.grades import Grade
from xbcompute.core.parties import PartyId
from xbcompute.core.release import Release
from xbcompute.node.application import Application
from xbcompute.node.conversation import NO_PLAN, Conversation
from xbcompute.node.crossings import graded, opened_rows
from xbcompute.node.events import Events, state_of
from xbcompute.node.findings import LocalFinding
from xbcompute.node.workers import Worker
from xbcompute.specs.study import Study

if TYPE_CHECKING:
    from xbcompute.node.app import Node

SESSION_KEYS_DOMAIN = "xbcompute/masked-sum/v1/session-keys"
BEFORE_PLAN = frozenset({"session.propose", "session.finding", "session.plan", "session.abort"})
"""Control messages that may come without the plan's digest: their sender may not know it yet."""


class Session:
    """Every node that takes part runs one; the lead's differs in proposing it and in sending each step's state.

    ``execute`` is False for a session that only explains: it ends once the decision is known.
    """

    def __init__(self, node: Node, session: bytes, study: Study, *, execute: bool) -> None:
        self.node = node
        self.id = session
        self.study = study
        self.execute = execute
        self.me = node.config.me
        self.lead = PartyId(study.study.lead)
        federation = node.config.federation
        self.holders = tuple(party.id for party in federation.holders())
        self.recipients = tuple(PartyId(r) for r in study.study.recipients)
        self.members = tuple(party.id for party in federation.parties if party.roles != {"supervisor"})
        self.others = tuple(party for party in self.members if party != self.me)
        self.stepper = self.lead if self.lead in self.holders else self.holders[0]
        self.talk = Conversation(session, node.links)
        self.events = Events(session.hex(), self.me)
        self.application: Application | None = None
        self.error: XbError | None = None
        self.release: Release | None = None
        self.decision: dict[str, Any] | None = None
        self.crossings: list[dict[str, Any]] = []
        self.timing: dict[str, Any] = {"setup_s": 0.0, "run_s": 0.0, "rounds": 0}
        self._worker: Worker | None = None
        self._counted = LocalFinding(people=b"", n=0)
        self._started = time.monotonic()
        self._opening_recorded = False
        self._crossings_recorded = False
        self._begun = False
        self._worker_report: dict[str, Any] = {}
        self._release_digest = ""
        self._suppressed: dict[str, int] = {}

    # ---- what comes in -------------------------------------------------------------------------------------------

    async def frame(self, sender: PartyId, frame: Frame) -> None:
        """Take one frame from the border; an engine's must carry the plan's digest.

        No honest party sends an engine's frame before it has this node's ``session.plan``, and so not before this node
        knows the plan.

        Raises:
            IntegrityError: it does not belong into this session, or not under this plan.
        """
        if sender not in self.members:
            raise IntegrityError("session.member", f"{sender} takes no part in this session.")
        if frame.channel == "control":
            if frame.plan != self.talk.plan and not (frame.plan == NO_PLAN and frame.kind in BEFORE_PLAN):
                raise IntegrityError("session.plan", f"{sender} acts under another plan than this node's.")
            if frame.kind == "session.abort" and frame.last:
                self._peer_aborted(sender, frame)
            else:
                self.talk.arrived(sender, frame)
            return
        if not self.execute or sender not in self.holders:
            raise IntegrityError("session.member", f"{sender} sent {frame.kind}, which is not its part here.")
        if self.talk.plan == NO_PLAN or frame.plan != self.talk.plan:
            raise IntegrityError("session.plan", f"{sender} acts under another plan than this node's.")
        if self.talk.failed.done() or self._worker is None:
            return
        await self._worker.deliver(sender, frame.kind, frame.last, frame.payload)

    def _peer_aborted(self, sender: PartyId, frame: Frame) -> None:
        self.talk.arrived(sender, frame)
        body = self.talk.waiting(sender, "session.abort")
        self.fail(from_public(body) if body else IntegrityError("session.abort", f"{sender} ended the session."))

    def fail(self, error: XbError) -> None:
        """End the session with ``error`` from outside: a link, a violation, a peer's abort."""
        self.talk.fail(error)

    # ---- the way through -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From proposal to the end; never raises."""
        try:
            await self.events.add("proposed")
            await self._find()
            await self._agree()
            if self.execute:
                assert self.application is not None
                self.application.require_permit()
                self.node.findings.restart_allowed(self.study, frozenset(self.holders), self._counted.people)
                await self._compute()
                await self._countersign()
            await self.events.add("closed", {"executed": self.execute})
        except XbError as error:
            await self._end(error)
        except Exception as error:
            self.node.log.exception("session %s failed", self.id.hex()) if self.node.config.simulation else None
            await self._end(IntegrityError("node.fault", f"{self.me}: the node failed ({type(error).__name__})."))
        finally:
            await self._leave()

    async def _find(self) -> None:
        """Read the study's rows, build this node's finding, exchange findings."""
        self.talk.require()
        request = await self.node.findings.request(self.study, await self._prepare())
        self.application = Application(self.node.findings, request)
        await self.talk.tell(self.others, "session.finding", self.application.mine())
        limit = self.node.config.prepare_limit
        for sender, body in (await self.talk.hear_all(self.others, "session.finding", within=limit)).items():
            self.application.add(sender, body)

    async def _prepare(self) -> LocalFinding:
        config = self.node.config
        dataset = config.site.find_dataset(self.study.study.data.dataset)
        if self.me not in self.holders:
            return LocalFinding(people=b"", n=0)
        if dataset is None:
            raise InputError(
                "dataset.missing", f"{self.me}: no dataset '{self.study.study.data.dataset}' is registered here."
            )
        self._worker, self._counted = await self.node.prepared_worker(self.study, dataset)
        self._worker.serve(self)
        return self._counted

    async def _agree(self) -> None:
        """Join the findings, compare the plan with every peer, learn who has signed; the decision is then known."""
        assert self.application is not None
        application = self.application
        application.join()
        self.talk.plan = application.plan_digest
        # Before a peer hears of it: once a session is agreed anywhere, its application can be approved everywhere.
        await self.node.keep_application(application)
        body = {"plan": application.plan_name, "approval": await application.approval(), "execute": self.execute}
        # Sent without the plan's digest: a peer that is still joining does not know it yet.
        await self.talk.tell(self.others, "session.plan", body, plan=NO_PLAN)
        replies = await self.talk.hear_all(self.others, "session.plan", within=self.node.config.prepare_limit)
        for sender, reply in replies.items():
            if reply.get("plan") != application.plan_name:
                raise IntegrityError("session.plan", f"{sender} joined the findings to another plan than this node.")
            if reply.get("execute") is not self.execute:
                # A lead that asks some to run and others to explain would leave those who run waiting.
                raise IntegrityError("session.propose", f"{self.lead} did not propose the same to {sender} as to us.")
            application.peer_approval(sender, reply.get("approval"))
        self.decision = application.decision()
        await self.events.add("agreed", {"verdict": self.decision["verdict"], "protocol": self.decision["protocol"]})

    async def _compute(self) -> None:
        assert self.application is not None
        await self.application.recheck()
        await self.node.session_begins(self)
        self._begun = True
        await self.node.record("decision", self.application.record(), self)
        await self.events.add("keyed")
        self.timing["setup_s"] = time.monotonic() - self._started
        begun = time.monotonic()
        vote: dict[str, Any] = {}
        body: dict[str, Any] | None = None
        if self._worker is not None:
            body = await self._run_worker(self._worker)
            self._worker_report = body
            self.timing["rounds"] = body["rounds"]
            await self.events.add("checking")
            await self.application.recheck()
            self.release = self._release(body["results"])
            vote = {"release": self.release.digest}
            await self.talk.tell(self.others, "session.vote", vote)
        await self._settle_release(vote)
        self.timing["run_s"] = time.monotonic() - begun
        await self.events.add("released")

    async def _run_worker(self, worker: Worker) -> dict[str, Any]:
        assert self.application is not None
        command = self.application.command(session=self.id, stepper=self.stepper, keys=self.node.raw_signing_keys)
        running = asyncio.ensure_future(worker.do("run", command, limit=self.node.config.run_limit))
        both: set[asyncio.Future[Any]] = {running, self.talk.failed}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            error = self.talk.failed.exception()
            assert isinstance(error, XbError)
            await worker.fail(error)
            # A worker in the middle of its own arithmetic does not hear; it is given a moment and then ended.
            with contextlib.suppress(XbError, TimeoutError):
                await asyncio.wait_for(running, 2.0)
            raise error
        _, payload = running.result()
        result = json.loads(payload)
        assert isinstance(result, dict)
        return result

    def _release(self, results: Mapping[str, Mapping[str, Any]]) -> Release:
        assert self.application is not None
        return Release(self.study.digest, self.application.plan_name, self.id.hex(), results)

    async def _settle_release(self, mine: Mapping[str, Any]) -> None:
        """Every holder must have digested the same release; only then is it kept, or sent to a recipient."""
        holders = [party for party in self.holders if party != self.me]
        limit = self.node.config.run_limit
        votes = await self.talk.hear_all(holders, "session.vote", within=limit)
        digests = {str(vote.get("release")) for vote in votes.values()} | ({mine["release"]} if mine else set())
        if len(digests) != 1:
            raise IntegrityError("release.differs", "the holders did not reach the same release; nothing was released.")
        if self.me == self.stepper:
            assert self.release is not None
            outside = [party for party in self.recipients if party not in self.holders and party != self.me]
            await self.talk.tell(outside, "session.release", self.release.body())
        if self.release is None and self.me in self.recipients:
            assert self.application is not None
            await self.application.recheck()
            body = await self.talk.hear(self.stepper, "session.release", within=limit)
            if digest(body) not in digests:
                raise IntegrityError("release.digest", f"{self.stepper} sent another release than the holders checked.")
            self.release = self._release(body["results"])
        (self._release_digest,) = digests
        if self.release is not None:
            self._suppressed = {key: len(r.get("suppressed", ())) for key, r in self.release.results.items()}
        if self.release is not None and self.me in self.recipients:
            await self.node.keep_release(self.release)

    async def _countersign(self) -> None:
        """Append this session to the ledger and exchange checkpoints with every member."""
        assert self.application is not None
        self._collect_crossings()
        await self.node.record("crossings", {"crossings": self.crossings}, self)
        self._crossings_recorded = True
        summary = {
            "release": self._release_digest,
            "plan": self.application.plan_name,
            "suppressed": self._suppressed,
            "recipients": list(self.recipients),
        }
        await self.node.record("release", summary, self)
        await self.node.ledger.countersign(self.talk, self.others, within=self.node.config.peer_grace)
        await self.events.add("countersigned")
        self._collect_crossings()

    def _collect_crossings(self) -> None:
        inputs = outputs = Grade.G1  # before the plan is joined, nothing but control messages can have left
        if self.application is not None and self.application.joined:
            inputs, outputs = self.application.grade, self.application.output_grade
        sent = graded(self.node.links.accounts.crossings(self.id), inputs=inputs, outputs=outputs)
        opened = self._worker_report.get("opened")
        totals = opened_rows(self.me, self.holders, opened, inputs) if opened else []
        self.crossings = sent + totals

    # ---- the worker's calls --------------------------------------------------------------------------------------

    async def worker_frame(self, to: list[str], kind: str, last: bool, payload: bytes) -> None:
        """Carry one chunk of the engine's to peers, unless the session has failed: then nothing more may leave."""
        self.talk.require()
        await self.talk.engine_chunk([PartyId(party) for party in to], kind, last, payload)

    async def worker_call(self, method: str, body: Mapping[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Serve what only the node may do: sign session keys, write the journal, re-check before each round."""
        self.talk.require()
        assert self.application is not None
        if method == "sign":
            return {}, self._sign(payload)
        if method == "round":
            await self.application.recheck()
            if not self._opening_recorded and self.application.card == "clear-aggregate":
                await self._record_opening()
            await self.events.add("running", {"analysis": body["analysis"], "round": body["round"]})
            return {}, b""
        if method == "begin_round":
            await self.node.begin_round(self.id, body["epoch"], body["round"])
            return {}, b""
        if method == "seed_released":
            if not self._opening_recorded:
                await self._record_opening()
            await self.node.seed_released(self, self._counted.people, body["epoch"], body["round"])
            return {}, b""
        raise IntegrityError("worker.call", "the worker asked for something no node serves.")

    def _sign(self, statement: bytes) -> bytes:
        """Sign a session-key statement, and nothing else: it must name this session, plan and party."""
        assert self.application is not None
        try:
            body = json.loads(statement)
        except ValueError:
            body = {}
        expected = {
            "domain": SESSION_KEYS_DOMAIN,
            "session": self.id.hex(),
            "plan": self.application.plan_digest.hex(),
            "party": self.me,
        }
        if not isinstance(body, dict) or any(body.get(key) != value for key, value in expected.items()):
            raise IntegrityError("worker.sign", "the worker asked to sign something that is not this session's keys.")
        return self.node.config.identity.sign(statement)

    async def _record_opening(self) -> None:
        """One session at a time, on what the store holds now: another may have opened nearly these people meanwhile."""
        assert self.application is not None
        async with self.node.opening:
            await self.application.recheck(await self.node.findings.request(self.study, self._counted))
            await self.node.record_opening(self.study, self.id, self._counted.people)
        self._opening_recorded = True

    # ---- the end -------------------------------------------------------------------------------------------------

    async def _end(self, error: XbError) -> None:
        self.error = error
        self.talk.fail(error)
        # Whoever ended it may have told this node alone, so the others hear it from here as well.
        await asyncio.gather(*(self._tell_end(party, error) for party in self.others))
        try:
            await self._record_end(error)
        except Exception as fault:  # whatever it is, those who wait must hear that the session has ended
            self.node.log.error("the end of session %s is not in the ledger: %s", self.id.hex(), type(fault).__name__)
        await self.events.add(state_of(error), {"error": error.public()})

    async def _record_end(self, error: XbError) -> None:
        """What left before a session broke off is in the ledger as well, unless it stands there already."""
        self._collect_crossings()
        if not self.execute:
            return
        if not self._crossings_recorded:
            await self.node.record("crossings", {"crossings": self.crossings}, self)
        rules = [] if self.decision is None else list(self.decision["rules"])
        await self.node.record("refusal", {"code": error.code, "rules": rules}, self)

    async def _tell_end(self, party: PartyId, error: XbError) -> None:
        with contextlib.suppress(XbError, TimeoutError):
            # Without the plan's digest: the peer may not have joined the plan yet, and must hear why this ends.
            end = self.talk.tell([party], "session.abort", error.public(), plan=NO_PLAN)
            await asyncio.wait_for(end, 2.0)

    async def _leave(self) -> None:
        if self._begun:
            with contextlib.suppress(XbError):
                await self.node.session_ends(self)
        if self._worker is not None:
            self._worker.serve(None)
            keep = not self.execute and self.error is None
            await self.node.return_worker(self.study, self._worker, self._counted, keep=keep)
        await self.node.session_over(self)

    def lost(self, peer: PartyId) -> None:
        """The link to ``peer`` is down."""
        if peer in self.members:
            self.fail(PeerError("peer.lost", f"{peer} is gone: its link broke.", todo="Ask the party, then run again."))
