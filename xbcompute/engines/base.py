"""The seam between what is computed and how it is kept secret.

A horizontal analysis is a small state machine whose only talk is a sum: each holder turns its rows and the public
state into a contribution, an engine turns the contributions into their total, and every holder turns the total into
the next state. The analysis never learns which protocol made the total.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from xbcompute.core.arrays import Contribution, Layout, Leakage
from xbcompute.core.schema import Rows, Schema

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Done:
    """The end of an analysis: a JSON object in the shape ``study-folder.md`` fixes for its kind."""

    result: Mapping[str, Any]


@runtime_checkable
class Iterative(Protocol, Generic[StateT]):
    """A horizontal analysis.

    ``StateT`` is a frozen dataclass of int, float, str and numpy arrays, since states cross the border.
    """

    @property
    def state_type(self) -> type[StateT]:
        """The dataclass of the state, so that a received state can be rebuilt."""

    def start(self, schema: Schema) -> StateT:
        """The first state, from public facts only; equal at every holder."""

    def layout(self, state: StateT) -> Layout:
        """The public shapes and bounds of what :meth:`local` returns for ``state``; equal at every holder."""

    def local(self, rows: Rows, state: StateT) -> Contribution:
        """This holder's part of the sum. Run by each holder, on plain data, streaming."""

    def combine(self, total: Contribution, state: StateT) -> StateT | Done:
        """The next state, or the result. Run by every holder on the opened total; deterministic."""

    def reveals(self) -> Leakage:
        """What contributors learn besides the result, in words and shapes."""
