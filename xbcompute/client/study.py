"""A study as a script holds it."""

from __future__ import annotations

from pathlib import Path

from xbcompute.core.canonical import dumps
from xbcompute.specs import study as specs
from xbcompute.specs.load import load_study


class Study:
    """The question, read from ``study.toml``; hand it to ``explain`` and ``run`` of a simulation or a connection."""

    def __init__(self, spec: specs.Study) -> None:
        self.spec = spec

    @staticmethod
    def load(path: str | Path) -> Study:
        """Read ``study.toml``, or the one in a study folder.

        Raises:
            InputError: naming the file, the key and what is wrong.
        """
        return Study(load_study(Path(path)))

    @property
    def id(self) -> str:
        """The study's id."""
        return self.spec.id

    @property
    def digest(self) -> str:
        """``sha256:…`` of the canonical study; approvals and plans bind to it."""
        return self.spec.digest

    @property
    def analyses(self) -> tuple[str, ...]:
        """The ids of its analyses, in order."""
        return tuple(analysis.id for analysis in self.spec.analysis)

    def encode(self) -> bytes:
        """Canonical JSON, as a node takes it."""
        return dumps(self.spec.plain())

    def __repr__(self) -> str:
        header = self.spec.study
        return f"<Study {self.id}: {header.title} ({header.partition}, {', '.join(self.analyses)})>"
