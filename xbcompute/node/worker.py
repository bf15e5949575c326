"""The worker: the only process of a party that opens its data. One session at a time, synchronous from top to bottom.

The node sends it ``prepare`` (read the study's rows, count people) and ``run`` (compute); it answers with public
facts, with calls that only the node may serve (sign, journal, re-check) and at last with a result.
"""

from __future__ import annotations

import importlib
import json
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, PeerError, XbError
from xbcompute.core.schema import Limits
from xbcompute.gate.allocator import keep_freed_memory
from xbcompute.node.channel import NodeLink
from xbcompute.node.pipe import BlockingPipe
from xbcompute.node.program import StudyRun
from xbcompute.node.sources import Prepared, open_source, prepare
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.schema import column_facts, join_schema
from xbcompute.specs.site import Dataset
from xbcompute.specs.study import Study


class Worker:
    """Serves one node until the pipe closes."""

    def __init__(self, pipe: BlockingPipe) -> None:
        self._link = NodeLink(pipe)
        self._prepared: Prepared | None = None
        self._study: Study | None = None

    def serve(self) -> None:
        """Answer commands in order; an error answers its command and leaves the worker ready.

        When the node closes its end, the source goes too, with what it may have spilt to disk.
        """
        try:
            while (packet := self._link.commands.get()) is not None:
                method = str(packet.head["m"])
                body = json.loads(bytes(packet.payload))
                head: dict[str, Any] = {"t": "did", "m": method}
                payload = b""
                try:
                    if method == "prepare":
                        head["body"], payload = self._prepare(body)
                    elif method == "run":
                        payload = dumps(self._run(body))
                except XbError as error:
                    head["error"] = error.public()
                except MemoryError:
                    head["error"] = InputError("worker.memory", "the worker ran out of memory.").public()
                except Exception as error:
                    # A fault of ours: its type may be told, its text may hold data and stays here.
                    head["error"] = {"code": "worker.fault", "exit": 1, "text": _where(error), "todo": "Report this."}
                try:
                    self._link.pipe.send(head, payload)
                except PeerError:
                    return  # the node ended the session, and with it its worker
        finally:
            if self._prepared is not None:
                self._prepared.close()
            self._link.pipe.close()

    def _prepare(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        study = parse(Study, body["study"], "study")
        dataset = parse(Dataset, body["dataset"], "dataset")
        me = [p for p in parse(Federation, body["federation"], "federation").holders() if p.id == body["party"]]
        # Its own facts are enough to read and check the rows; bounds and levels of all holders come with the run.
        schema = join_schema(study, {party.id: column_facts(dataset) for party in me}, me, Limits())
        try:
            self._prepared = prepare(open_source(dataset, Path(body["base"])), dataset, study, schema)
        except XbError as error:
            raise error.at(body["party"]) from None
        self._study = study
        people = self._prepared.people(bytes.fromhex(body["key"]))
        return {"n": self._prepared.n, "people": len(people)}, np.ascontiguousarray(people).tobytes()

    def _run(self, body: Mapping[str, Any]) -> dict[str, Any]:
        if self._prepared is None or self._study is None:
            raise InputError("worker.order", "the worker was told to run before it had read the study's rows.")
        try:
            return StudyRun(self._study, self._prepared, body, self._link).run()
        finally:
            self._link.forget()


def _where(error: Exception) -> str:
    """Type and place of a fault, without its text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return f"the worker failed with {type(error).__name__}{place}."


def preload() -> None:
    """Import what any study may need, so that a warm worker has it before its first study."""
    for name in ("cox", "describe", "glm", "kaplan_meier", "linear", "table"):
        importlib.import_module(f"xbcompute.analyses.{name}")


def main(descriptor: int) -> None:
    """Serve the node at the other end of an inherited socket."""
    keep_freed_memory()  # the arrays of one batch of rows, or of one frame, are those of the next
    worker = Worker(BlockingPipe(socket.socket(fileno=descriptor)))
    preload()
    worker.serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))
