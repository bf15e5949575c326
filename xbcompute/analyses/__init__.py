"""What is computed: horizontal analyses, each a state machine whose only talk is a sum."""

from __future__ import annotations

from typing import Any

from xbcompute.core.errors import InputError
from xbcompute.core.schema import Schema
from xbcompute.engines.base import Iterative
from xbcompute.specs.analysis import AnalysisSpec, Cox, Describe, KaplanMeier, Linear, Logistic, Poisson, Table

BUILT: frozenset[str] = frozenset({"describe", "table", "linear", "logistic", "poisson", "kaplan_meier", "cox"})
"""Kinds that :func:`build` can make."""


def build(spec: AnalysisSpec, schema: Schema) -> Iterative[Any]:
    """The analysis that ``spec`` asks for, over the columns and holders of ``schema``. Run by every party.

    Raises:
        InputError: ``analysis.unavailable`` a kind that is not built; or what its columns, terms and levels lack.
    """
    match spec:
        case Logistic() | Poisson():
            from xbcompute.analyses import glm

            return glm.Glm(spec, schema)
        case Linear():
            from xbcompute.analyses import linear

            return linear.Linear(spec, schema)
        case Describe():
            from xbcompute.analyses import describe

            return describe.Describe(spec, schema)
        case Table():
            from xbcompute.analyses import table

            return table.Table(spec, schema)
        case KaplanMeier():
            from xbcompute.analyses import kaplan_meier

            return kaplan_meier.KaplanMeier(spec, schema)
        case Cox():
            from xbcompute.analyses import cox

            return cox.Cox(spec, schema)
        case _:
            raise InputError(
                "analysis.unavailable",
                f"analysis {spec.id}: no protocol here carries the kind {spec.kind}.",
                todo=f"Use one of {', '.join(sorted(BUILT))}.",
            )
