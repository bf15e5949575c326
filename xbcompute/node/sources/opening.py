"""A registered file or database, opened read-only: where its rows are and which columns it has."""

# ruff: noqa: S608 - names and values in SQL text are quoted by sql.identifier and sql.literal
from __future__ import annotations

import csv
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import duckdb
from numpy.typing import NDArray

from xbcompute.core.errors import InputError
from xbcompute.node.sources.sql import Kind, identifier, kind_of, literal
from xbcompute.specs.site import Dataset

T = TypeVar("T")

BUDGET: Final = 1 << 30
"""Bytes of typed columns that are kept in memory; a larger dataset is read anew in each pass."""

HEADER_MAX: Final = 1 << 20
"""Bytes within which a CSV file's header must end."""


class Source:
    """One dataset's rows, behind a DuckDB connection that can read this file and nothing else.

    ``shown`` is the file's name for errors; ``relation`` the SQL that yields its rows; ``columns`` maps local names
    to SQL identifier and stored kind. Run by the worker; close it, or use it as a context manager.
    """

    def __init__(self, path: Path, shown: str, spill: Path, connection: Any) -> None:
        self.path = path
        self.shown = shown
        self.relation = ""
        self.columns: Mapping[str, tuple[str, Kind]] = {}
        self.repeated: frozenset[str] = frozenset()
        self.connection = connection
        self._spill = spill
        self._stamp = _stamp(path)

    def run(self, query: str) -> None:
        """Run SQL that gives no rows; raises as :meth:`guarded`."""
        self.guarded(lambda: self.connection.execute(query))

    def one(self, query: str) -> tuple[Any, ...]:
        """The only row of ``query``; raises as :meth:`guarded`."""
        row: tuple[Any, ...] = self.guarded(lambda: self.connection.execute(query).fetchone())
        return row

    def table(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of ``query``; raises as :meth:`guarded`."""
        return self.guarded(lambda: list(self.connection.execute(query).fetchall()))

    def arrays(self, query: str) -> dict[str, NDArray[Any]]:
        """All rows of ``query`` as one array a column; raises as :meth:`guarded`."""
        return self.guarded(lambda: dict(self.connection.execute(query).fetchnumpy()))

    def guarded(self, work: Callable[[], T]) -> T:
        """What ``work`` gives; DuckDB's errors, whose texts quote rows, become one that names file and line.

        Raises:
            InputError: ``source.unreadable`` or ``source.memory``.
        """
        try:
            return work()
        except duckdb.OutOfMemoryException:
            fault = InputError("source.memory", f"{self.shown}: reading it needs more memory than the limit allows.")
        except duckdb.Error as error:
            line = re.search(r"CSV Error on Line: (\d+)", str(error))
            place = f" (line {line.group(1)})" if line else ""
            fault = InputError(
                "source.unreadable",
                f"{self.shown}: cannot be read{place}: it is damaged, not UTF-8, or not of the kind its name says.",
                todo="Check the file; CSV needs commas, double quotes and as many fields in a line as in the header.",
            )
        raise fault  # outside the handler, so that no context keeps DuckDB's text

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that changed since it was opened: its values were checked then.

        Raises:
            InputError: ``source.changed``.
        """
        if _stamp(self.path) != self._stamp:
            raise InputError(
                "source.changed", f"{self.shown}: the file changed while a study was reading it.", todo="Run again."
            )

    def close(self) -> None:
        """End the connection and remove its temporary files."""
        self.connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(dataset: Dataset, base: Path, *, memory: int = 4 * BUDGET) -> Source:
    """The source of a registered dataset; a relative path starts at ``base``. Reads no rows.

    ``memory`` limits what DuckDB may use, in bytes; sorting beyond it uses a private temporary folder.

    Raises:
        InputError: the kind is not known, the file is missing, empty or has no readable header.
    """
    scheme = urlsplit(dataset.source).scheme if "://" in dataset.source else ""
    if scheme in ("postgresql", "postgres"):
        raise InputError(
            "source.postgres",
            f"dataset '{dataset.id}': PostgreSQL sources need the extra 'postgres', which this release does not have.",
            todo="Export the table to Parquet and register the file.",
        )
    if scheme == "duckdb":
        return _open_duckdb(dataset, base, memory)
    suffix = Path(dataset.source).suffix.lower()
    if scheme or suffix not in (".csv", ".parquet"):
        raise InputError(
            "source.kind",
            f"dataset '{dataset.id}': the kind of its source is not known.",
            todo="Use a .csv or .parquet file, or duckdb://FILE?table=NAME.",
        )
    path = base / dataset.source
    source = _connect(path, memory)
    try:
        if suffix == ".csv":
            _describe_csv(source)
        else:
            _describe_parquet(source)
        _lock(source, allowed=path)
    except BaseException:
        source.close()
        raise
    return source


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _connect(path: Path, memory: int) -> Source:
    shown = path.name
    if not path.is_file():
        raise InputError("source.missing", f"{shown}: there is no such file.", todo="Correct 'source' in site.toml.")
    if not os.access(path, os.R_OK):
        raise InputError("source.unreadable", f"{shown}: this process may not read the file.")
    if path.stat().st_size == 0:
        raise InputError("source.empty", f"{shown}: the file is empty.")
    connection = duckdb.connect(
        ":memory:", config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    )
    spill = Path(tempfile.mkdtemp(prefix="xbcompute-"))
    connection.execute(f"SET memory_limit = '{max(memory // 1024, 1)}KiB'")
    connection.execute(f"SET temp_directory = {literal(str(spill))}")
    return Source(path, shown, spill, connection)


def _lock(source: Source, allowed: Path | None) -> None:
    # From here on no SQL, ours or a view's, reaches another file, the network or an extension.
    if allowed is not None:
        # The pattern without wildcards, which DuckDB compares as written, and the path it stands for.
        source.run(f"SET allowed_paths = [{_no_glob(allowed)}, {literal(str(allowed.resolve()))}]")
    source.run("SET enable_external_access = false")
    source.run("SET lock_configuration = true")


def _no_glob(path: Path) -> str:
    return literal(re.sub(r"[\[*?]", r"[\g<0>]", str(path.resolve())))


def _describe_csv(source: Source) -> None:
    header = _csv_header(source.path, source.shown)
    # Positional names: two headers that differ in case only are one identifier to DuckDB.
    fields = ", ".join(f"'c{position}': 'VARCHAR'" for position in range(len(header)))
    source.relation = (
        f"read_csv({_no_glob(source.path)}, header = true, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', columns = {{{fields}}}, hive_partitioning = false)"
    )
    source.columns = {name: (f"c{position}", "text") for position, name in enumerate(header)}
    source.repeated = frozenset(name for name in header if header.count(name) > 1)


def _csv_header(path: Path, shown: str) -> list[str]:
    with path.open("rb") as file:
        head = file.read(HEADER_MAX)
    try:
        # The last character may be cut in two by the limit; only the header has to decode.
        lines = head.decode("utf-8-sig", errors="strict" if len(head) < HEADER_MAX else "ignore").splitlines(True)
        header = next(csv.reader(lines, strict=True), [])
    except UnicodeDecodeError:
        raise InputError("source.encoding", f"{shown}: the file is not UTF-8 text.", todo="Save it as UTF-8.") from None
    except csv.Error:
        raise InputError("source.header", f"{shown}: the header is not a line of CSV.") from None
    if not any(header):
        raise InputError("source.header", f"{shown}: the first line is empty; it must name the columns.")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise InputError(
            "source.delimiter",
            f"{shown}: the header has one field; the file is separated by something else than commas.",
            todo="Save it as comma-separated values.",
        )
    return header


def _describe_parquet(source: Source) -> None:
    source.relation = f"read_parquet({_no_glob(source.path)}, hive_partitioning = false)"
    described = source.table(f"DESCRIBE SELECT * FROM {source.relation}")
    tree = source.table(f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({_no_glob(source.path)})")
    names = _top_level(tree)
    if len(names) != len(described):
        raise InputError("source.unreadable", f"{source.shown}: its columns could not be told apart.")
    source.columns = {name: (identifier(row[0]), kind_of(row[1])) for name, row in zip(names, described, strict=True)}
    source.repeated = frozenset(name for name in names if names.count(name) > 1)


def _top_level(tree: list[tuple[str, int]]) -> list[str]:
    """Names of the top-level columns, as the file has them, from its schema in depth-first order."""
    names: list[str] = []
    position = 1  # the root
    while position < len(tree):
        names.append(tree[position][0])
        open_nodes = 1
        while open_nodes:
            open_nodes += tree[position][1] - 1
            position += 1
    return names


def _open_duckdb(dataset: Dataset, base: Path, memory: int) -> Source:
    rest = dataset.source.removeprefix("duckdb://")
    file, _, query = rest.partition("?")
    tables = parse_qs(query).get("table", [])
    if len(tables) != 1 or not file:
        raise InputError(
            "source.table",
            f"dataset '{dataset.id}': a DuckDB source names its file and one table.",
            todo="Write duckdb://FILE?table=NAME.",
        )
    path = base / file
    source = _connect(path, memory)
    try:
        source.run(f"ATTACH {literal(str(path.resolve()))} AS site (READ_ONLY)")
        _lock(source, allowed=None)
        source.relation = f"site.{identifier(tables[0])}"
        described = source.table(f"DESCRIBE SELECT * FROM {source.relation}")
        source.columns = {row[0]: (identifier(row[0]), kind_of(row[1])) for row in described}
    except BaseException:
        source.close()
        raise
    return source
