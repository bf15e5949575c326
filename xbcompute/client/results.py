"""What a finished study gives back: one result an analysis, the decision it ran under, and what crossed the border."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xbcompute.client.decision import Decision
from xbcompute.client.kinds import result_from
from xbcompute.client.result import Result, copy
from xbcompute.client.table import Table
from xbcompute.core.errors import InputError

__all__ = ["Decision", "Result", "Run", "Table"]


class Run(Mapping[str, Result]):
    """One finished run: a mapping from analysis id to :class:`Result`, in the order of the study."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        """Wrap the object that ``xbcompute simulate --json`` prints.

        Raises:
            InputError: a key is missing.
        """
        for name in ("study", "digest", "decision", "results", "privacy", "crossings", "ledger", "timing"):
            if name not in body:
                raise InputError("run.shape", f"the run's JSON has no '{name}'.", todo="Pass what --json printed.")
        self._body: dict[str, Any] = copy(body)
        results = {name: result_from(name, value) for name, value in self._body["results"].items()}
        self._results: Mapping[str, Result] = MappingProxyType(results)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """A run that :meth:`save` wrote.

        Raises:
            InputError: the file is missing or is not such a run.
        """
        file = Path(path)
        try:
            body = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError("run.file", f"{file.name}: cannot be read as the JSON of a run.") from None
        if not isinstance(body, dict):
            raise InputError("run.file", f"{file.name}: is not the JSON object of a run.")
        return cls(body)

    def __getitem__(self, id: str) -> Result:
        try:
            return self._results[id]
        except KeyError:
            raise KeyError(f"no analysis '{id}'; there are: {', '.join(self._results)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)

    @property
    def study(self) -> str:
        """The study's id."""
        return str(self._body["study"])

    @property
    def digest(self) -> str:
        """The study's digest."""
        return str(self._body["digest"])

    @property
    def results(self) -> Mapping[str, Result]:
        """The results by analysis id."""
        return self._results

    @property
    def decision(self) -> Decision:
        """What policy said, and why."""
        return Decision(self._body["decision"])

    @property
    def privacy(self) -> Mapping[str, Any]:
        """The mechanism of differential privacy, or the statement that there is none."""
        return MappingProxyType(self._body["privacy"])

    @property
    def crossings(self) -> Table:
        """What left, from whom to whom: one row a sender, receiver and kind."""
        columns = ("from", "to", "kind", "grade", "frames", "bytes", "sha256")
        return Table(
            columns=columns,
            rows=tuple(tuple(item.get(name) for name in columns) for item in self._body["crossings"]),
            kinds={name: "count" if name in ("frames", "bytes") else "text" for name in columns},
        )

    @property
    def ledger(self) -> Table:
        """Each party's ledger after the run: size, root, whether it verified."""
        ledgers: Mapping[str, Mapping[str, Any]] = self._body["ledger"]
        return Table(
            columns=("size", "root", "verified"),
            rows=tuple((item["size"], item["root"], "yes" if item["verified"] else "NO") for item in ledgers.values()),
            index=tuple(ledgers),
            index_name="party",
            kinds={"size": "count", "root": "text", "verified": "text"},
        )

    @property
    def verified(self) -> bool:
        """Whether every party's ledger verified."""
        return bool(self._body["ledger"]) and all(item["verified"] is True for item in self._body["ledger"].values())

    @property
    def timing(self) -> Mapping[str, float]:
        """Seconds of setting up and running, and the number of rounds."""
        return MappingProxyType(self._body["timing"])

    def to_dict(self) -> dict[str, Any]:
        """A copy of the JSON object."""
        return copy(self._body)

    def to_json(self) -> str:
        """The object as ``--json`` prints it."""
        return json.dumps(self._body, ensure_ascii=False, indent=1, allow_nan=False)

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json` to a file, which :meth:`load` reads."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    def _lines(self) -> list[str]:
        statement = str(self.privacy.get("statement", ""))
        total = sum(int(item["bytes"]) for item in self._body["crossings"])
        state = "all ledgers verified" if self.verified else "A LEDGER DID NOT VERIFY"
        return [
            f"{self.study}: {self.decision['verdict']} by {self.decision['protocol']}",
            *(result.heading() for result in self.values()),
            f"{statement[:1].upper()}{statement[1:]}; {total:,} bytes crossed; {state}.",
        ]

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _repr_html_(self) -> str:
        return "<p>" + "<br>".join(html.escape(line) for line in self._lines()) + "</p>"
