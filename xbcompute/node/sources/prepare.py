"""One holder's rows made ready for a study: every value checked, rows chosen, columns derived, people counted."""

# ruff: noqa: S608 - names and values in SQL text are quoted by sql.identifier and sql.literal
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError, IntegrityError, RefusedError
from xbcompute.core.parties import Jurisdiction, Party, PartyId
from xbcompute.core.schema import Limits, Rows, Schema
from xbcompute.node.sources.opening import BUDGET, Source, open_source
from xbcompute.node.sources.rows import CachedRows, StreamedRows, read_only
from xbcompute.node.sources.sql import condition, derived, number, subject, typed
from xbcompute.specs.derive import derivation_order
from xbcompute.specs.load import no_column
from xbcompute.specs.schema import column_facts, join_schema
from xbcompute.specs.site import Dataset
from xbcompute.specs.study import Derivation, Study

DIGEST = 16
"""Bytes of a person's keyed digest."""


@dataclass(frozen=True)
class Names:
    """The SQL name of each study column, registered ones first, and the steps that make the others."""

    sql: Mapping[str, str]
    registered: tuple[str, ...]
    steps: tuple[Derivation, ...]


class Prepared:
    """The study's population at one holder. Made by :func:`prepare`; lives as long as its source is open.

    ``n``: rows in the population; ``n_dropped``: rows that meet ``where`` and are in no analysis because a value is
    missing; ``n_people``: distinct subjects in the population.
    """

    def __init__(
        self,
        source: Source,
        schema: Schema,
        names: Names,
        used: Sequence[str],
        *,
        chosen: int,
        per_analysis: bool,
        cached: bool,
    ) -> None:
        self._source = source
        self._schema = schema
        self._names = names
        self._used = tuple(name for name in used if schema.columns[name].type != "text")
        self._per_analysis = per_analysis
        self._arrays = self._load() if cached else None
        self._codes: NDArray[np.int64] | None = None
        self._people_table = False
        self.n, self.n_people = source.one("SELECT count(*), count(DISTINCT s) FROM population")
        self.n_dropped = chosen - self.n
        self._chosen = chosen

    def rows(self, columns_used: Sequence[str]) -> Rows:
        """The complete cases of one analysis: all of the population, or under ``missing = "analysis"`` its own.

        Raises:
            InputError: a column is not one the study uses.
        """
        for name in columns_used:
            if name not in self._used:
                raise InputError("rows.columns", f"column '{name}' is not one the study's analyses use.")
        used = list(dict.fromkeys(columns_used))
        if self._arrays is None:
            return self._streamed(used)
        kept = {name: self._arrays[name] for name in used}
        mask = self._complete(kept) if self._per_analysis else None
        if mask is None or bool(mask.all()):
            return CachedRows(kept, self.n, self._chosen - self.n, self._subject_codes)
        n = int(mask.sum())
        kept = {name: read_only(array[mask]) for name, array in kept.items()}
        return CachedRows(kept, n, self._chosen - n, lambda: self._subject_codes()[mask])

    def people(self, key: bytes) -> NDArray[np.bytes_]:
        """Keyed 16-byte digests (BLAKE2b) of the population's distinct subjects, sorted; dtype ``S16``.

        ``key`` stays at this holder: without it a digest cannot be tried against guessed identifiers. A digest that
        ends in NUL bytes keeps them in the array's buffer; single items lose them, as numpy's do.
        """
        found = self._source.arrays("SELECT DISTINCT s FROM population")["s"]
        keyed = hashlib.blake2b(key=key, digest_size=DIGEST)

        def one(text: str) -> bytes:
            state = keyed.copy()
            state.update(text.encode("utf-8"))
            return state.digest()

        digests = np.frombuffer(b"".join([one(text) for text in found]), dtype=f"S{DIGEST}")
        return np.sort(digests)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _load(self) -> dict[str, NDArray[Any]]:
        shown = ", ".join(self._filled(name) for name in self._used)
        if not shown:
            return {}
        found = self._source.arrays(f"SELECT {shown} FROM population")
        return {name: read_only(np.asarray(found[self._names.sql[name]])) for name in self._used}

    def _filled(self, name: str) -> str:
        sql, kind = self._names.sql[name], self._schema.columns[name].type
        if not self._per_analysis:
            return sql
        return f"coalesce({sql}, {-1 if kind == 'category' else number(float('nan'))}) AS {sql}"

    def _complete(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        mask = np.ones(self.n, dtype=bool)
        for array in arrays.values():
            mask &= (array >= 0) if array.dtype.kind == "i" else ~np.isnan(array)
        return mask

    def _subject_codes(self) -> NDArray[np.int64]:
        if self._codes is None:
            if self._schema.subjects == "one":
                self._codes = np.arange(self.n, dtype=np.int64)
            else:
                subjects = self._source.arrays("SELECT s FROM population")["s"]
                seen: dict[str, int] = {}
                self._codes = np.array([seen.setdefault(text, len(seen)) for text in subjects], dtype=np.int64)
            read_only(self._codes)
        return self._codes

    def _streamed(self, used: list[str]) -> StreamedRows:
        relation = "SELECT * FROM population"
        n = self.n
        if self._per_analysis:
            relation += " WHERE " + all_present(used, self._names.sql)
            (n,) = self._source.one(f"SELECT count(*) FROM ({relation})")
        people = None
        if self._schema.subjects == "many":
            people = "people"
            if not self._people_table:
                self._source.run(
                    "CREATE TABLE people AS SELECT s, row_number() OVER (ORDER BY min(row)) - 1 AS code "
                    "FROM population GROUP BY s"
                )
                self._people_table = True
        names = {name: self._names.sql[name] for name in used}
        return StreamedRows(self._source, relation, names, people=people, n=n, n_dropped=self._chosen - n)


def prepare(source: Source, dataset: Dataset, study: Study, schema: Schema, *, budget: int = BUDGET) -> Prepared:
    """The study's population at this holder, after every value of every column the study needs was checked.

    Run by the worker before anything leaves. ``schema`` is the joined one; ``budget`` is the size in bytes up to
    which typed columns are kept in memory. With ``missing = "analysis"`` the analyses' populations are compared.

    Raises:
        InputError: the file lacks a column or row, or a value is not what site.toml declares; names file and column.
        RefusedError: two analyses' populations differ by fewer people than the minimum cell.
    """
    names = _names(study, schema, dataset)
    cached = _make_base(source, dataset, names, budget)
    _check_rows(source, dataset)
    _check_values(source, dataset, names)
    analysis_columns = [analysis.columns_used() for analysis in study.analysis]
    per_analysis = study.study.data.missing == "analysis"
    _choose(source, study, schema, names)
    if per_analysis:
        _check_populations(source, study, names, schema.limits.cell_min)
    complete = all_present(study.columns(), names.sql)
    if per_analysis:
        complete = " OR ".join(f"({all_present(columns, names.sql)})" for columns in analysis_columns)
    chosen = _make_population(source, complete, cached=cached)
    used = dict.fromkeys(name for columns in analysis_columns for name in columns)
    return Prepared(source, schema, names, tuple(used), chosen=chosen, per_analysis=per_analysis, cached=cached)


def count_people(dataset: Dataset, base: Path, study: Study, *, party: PartyId = PartyId("this party")) -> int:  # noqa: B008 - a name, not state
    """Distinct subjects in the study's population at this holder, for the counts policy needs before a run.

    In a vertical study that is everybody in the dataset: each of them takes part in the linkage.

    Raises:
        InputError: as :func:`prepare`, and for a study that does not fit this dataset.
    """
    try:
        return _count(dataset, base, study, party)
    except InputError as error:
        raise error.at(party) from None


def _count(dataset: Dataset, base: Path, study: Study, party: PartyId) -> int:
    if study.study.partition == "vertical":
        return _count_everybody(dataset, base, study, party)
    holder = Party(party, Jurisdiction(dataset.origin), party, frozenset({"holder"}))
    facts = {party: column_facts(dataset, study.source_columns())}
    schema = join_schema(study, facts, [holder], Limits(cell_min=1))
    with open_source(dataset, base) as source:
        prepared = prepare(source, dataset, study, schema)
        return int(prepared.n_people)


def _count_everybody(dataset: Dataset, base: Path, study: Study, party: PartyId) -> int:
    own = tuple(name.removeprefix(f"{party}.") for name in study.source_columns() if name.startswith(f"{party}."))
    for name in own:
        if name not in dataset.columns:
            raise no_column(party, dataset.id, name)
    names = Names({name: f"v{position}" for position, name in enumerate(own)}, own, ())
    with open_source(dataset, base) as source:
        _make_base(source, dataset, names, BUDGET)
        _check_rows(source, dataset)
        _check_values(source, dataset, names)
        (people,) = source.one("SELECT count(DISTINCT s) FROM base")
        return int(people)


def all_present(columns: Sequence[str], sql: Mapping[str, str]) -> str:
    """The condition that no column is missing."""
    return " AND ".join(f"{sql[name]} IS NOT NULL" for name in columns) or "true"


def _names(study: Study, schema: Schema, dataset: Dataset) -> Names:
    registered = study.source_columns()
    steps = tuple(derivation_order(study.study.data.derive, dataset.columns, set(study.columns())))
    every = (*registered, *(step.name for step in steps))
    for name in registered:
        mine, shared = dataset.columns.get(name), schema.columns.get(name)
        if mine is None or shared is None or mine.type != shared.type or mine.levels != shared.levels:
            raise IntegrityError(
                "schema.column", f"column '{name}' is not registered here as the joined schema has it."
            )
    if dataset.rows_per_subject != schema.subjects:
        raise IntegrityError("schema.stale", "rows_per_subject is not the one of the joined schema.")
    return Names({name: f"v{position}" for position, name in enumerate(every)}, registered, steps)


def _make_base(source: Source, dataset: Dataset, names: Names, budget: int) -> bool:
    """Make ``base``: subject and typed registered columns, as a table if it fits the budget, else as a view."""
    select = f"SELECT {', '.join(_base_columns(source, dataset, names))} FROM {source.relation}"
    fits = budget // (8 * (len(names.sql) + 4))  # the subject as text and DuckDB's own copy count for four
    most = min(dataset.rows_max, fits)
    source.run(f"CREATE TABLE base AS {select} LIMIT {most + 1}")
    (found,) = source.one("SELECT count(*) FROM base")
    if found > fits and found <= dataset.rows_max:
        source.run("DROP TABLE base")
        source.run(f"CREATE VIEW base AS {select}")
        return False
    return True


def _base_columns(source: Source, dataset: Dataset, names: Names) -> Iterator[str]:
    sql, kind = _local(source, dataset.subjects)
    expression = subject(sql, kind)
    if expression is None:
        raise _fault(
            source, "source.subject_type", dataset.subjects, "identifies subjects and is neither text nor whole numbers"
        )
    yield f"{expression} AS s"
    for name in names.registered:
        spec = dataset.columns[name]
        local = spec.from_ or name
        sql, kind = _local(source, local)
        expression = typed(spec, sql, kind)
        if expression is None:
            raise _fault(source, "source.type", local, f"is stored as {kind} and registered as {spec.type}")
        yield f"{expression} AS {names.sql[name]}"


def _local(source: Source, local: str) -> tuple[str, Any]:
    if local not in source.columns:
        raise InputError(
            "source.column",
            f"{source.shown}: the file has no column '{local}'.",
            todo="Correct 'from' in site.toml, or the file; CSV is separated by commas and starts with a header.",
        )
    if local in source.repeated:
        raise _fault(source, "source.column_twice", local, "stands twice in the file")
    return source.columns[local]


def _check_rows(source: Source, dataset: Dataset) -> None:
    unique = "count(DISTINCT s)" if dataset.rows_per_subject == "one" else "count(s)"
    rows, subjects, distinct = source.one(f"SELECT count(*), count(s), {unique} FROM base")
    if rows == 0:
        raise InputError("source.no_rows", f"{source.shown}: the file has no rows.")
    if rows > dataset.rows_max:
        raise InputError(
            "source.rows_max", f"{source.shown}: more rows than rows_max of dataset '{dataset.id}'.", todo=_ROWS_TODO
        )
    if rows < (dataset.rows_min or 0):
        raise InputError(
            "source.rows_min", f"{source.shown}: fewer rows than rows_min of dataset '{dataset.id}'.", todo=_ROWS_TODO
        )
    if subjects != rows:
        raise _fault(source, "source.subject_missing", dataset.subjects, "has rows without a subject")
    if distinct != subjects:
        raise _fault(
            source, "source.subject_twice", dataset.subjects, "holds a subject twice though rows_per_subject is 'one'"
        )


_ROWS_TODO = "Correct the bound in site.toml; it is public and goes into the application."


def _check_values(source: Source, dataset: Dataset, names: Names) -> None:
    """One pass over all rows, chosen or not: a wrong value is a wrong file, whatever ``where`` says."""
    tests: list[tuple[str, str, str, str]] = []  # code, local name, what is wrong, SQL
    facts = column_facts(dataset)["columns"]
    for name in names.registered:
        spec, sql, local = dataset.columns[name], names.sql[name], dataset.columns[name].from_ or name
        if spec.type in ("number", "date"):
            wrong = "a value that is not a number" if spec.type == "number" else "a value that is not a date (ISO 8601)"
            tests.append(("source.value", local, f"holds {wrong}", f"isnan({sql})"))
            tests.append(("source.infinite", local, "holds an infinite value", f"isinf({sql})"))
        if spec.type == "category":
            tests.append(("source.level", local, "holds a value that is none of its declared levels", f"{sql} = -1"))
        if spec.bounds is not None:
            low, high = number(facts[name]["lower"]), number(facts[name]["upper"])
            tests.append(
                (
                    "source.bounds",
                    local,
                    "holds a value outside its declared bounds",
                    f"{sql} < {low} OR {sql} > {high}",
                )
            )
    if not tests:
        return
    flags = source.one("SELECT " + ", ".join(_any(test) for *_, test in tests) + " FROM base")
    for (code, local, wrong, _), flag in zip(tests, flags, strict=True):
        if flag:
            raise _fault(source, code, local, wrong)


def _choose(source: Source, study: Study, schema: Schema, names: Names) -> None:
    """Make ``chosen``: the rows that meet ``where``, derived columns added."""
    relation = "base"
    for step in names.steps:
        expression = derived(step, names.sql, schema.columns)
        relation = f"(SELECT *, {expression} AS {names.sql[step.name]} FROM {relation})"
    where = " AND ".join(f"({condition(item, names.sql, schema.columns)})" for item in study.study.data.where) or "true"
    source.run(f"CREATE VIEW chosen AS SELECT * FROM {relation} WHERE {where}")
    _check_cuts(source, names)


def _make_population(source: Source, complete: str, *, cached: bool) -> int:
    """Make ``population``, the complete cases of ``chosen``, each with its number; gives the rows of ``chosen``."""
    kind = "TABLE" if cached else "VIEW"
    (chosen,) = source.one("SELECT count(*) FROM chosen")
    source.run(f"CREATE {kind} population AS SELECT *, row_number() OVER () AS row FROM chosen WHERE {complete}")
    if cached:
        source.run("DROP VIEW chosen")
        source.run("DROP TABLE base")
    return int(chosen)


def _check_cuts(source: Source, names: Names) -> None:
    cuts = [step for step in names.steps if step.fn == "cut"]
    if not cuts:
        return
    flags = source.one("SELECT " + ", ".join(_any(f"{names.sql[step.name]} = -1") for step in cuts) + " FROM chosen")
    for step, flag in zip(cuts, flags, strict=True):
        if flag:
            raise InputError(
                "derive.edges",
                f"study.toml: derive '{step.name}': a value of '{step.sources[0]}' lies outside all edges.",
                todo="Widen the edges (inf and -inf are allowed), or choose rows with where.",
            )


def _check_populations(source: Source, study: Study, names: Names, cell_min: int) -> None:
    """Two analyses over populations that differ by a few people would show those few by subtraction."""
    complete = {analysis.id: all_present(analysis.columns_used(), names.sql) for analysis in study.analysis}
    pairs = [(a, b) for a, b in combinations(complete, 2) if complete[a] != complete[b]]
    if not pairs:
        return
    counts = ", ".join(f"count(DISTINCT s) FILTER (WHERE ({complete[a]}) <> ({complete[b]}))" for a, b in pairs)
    found = source.one(f"SELECT {counts} FROM chosen")
    for (a, b), people in zip(pairs, found, strict=True):
        if 0 < people < cell_min:
            raise RefusedError(
                "disclosure.populations",
                f"analyses '{a}' and '{b}': their complete cases differ by fewer people than the minimum cell.",
                todo='Use missing = "study".',
            )


def _any(test: str) -> str:
    return f"coalesce(bool_or({test}), false)"


def _fault(source: Source, code: str, local: str, wrong: str) -> InputError:
    return InputError(code, f"{source.shown}: column '{local}' {wrong}.", todo="Correct the file or its registration.")
