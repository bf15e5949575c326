"""A small table that prints aligned, shows itself in a notebook and becomes a data frame when asked."""

from __future__ import annotations

import enum
import html
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from rich.cells import cell_len

from xbcompute.core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["number", "p", "count", "text"]
WIDTH: Final = 100
_ABSENT = "–"


class Withheld(enum.Enum):
    """Stands where a number was withheld; it prints as its word and cannot be calculated with."""

    SUPPRESSED = "suppressed"

    def __str__(self) -> str:
        return self.value

    __repr__ = __str__


SUPPRESSED: Final = Withheld.SUPPRESSED
Cell: TypeAlias = int | float | str | Withheld | None


def equals_p(value: float) -> str:
    """``= 0.012`` or ``< 0.001``, to follow a p."""
    text = format_p(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def format_p(value: float) -> str:
    """A p value as papers print it: three decimals, ``<0.001`` below."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _decimals(values: Sequence[float]) -> int | None:
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    if not sizes:
        return 1
    small, large = min(sizes), max(sizes)
    if large >= 1e7 or large < 1e-3:
        return None
    wanted = 2 - math.floor(math.log10(max(small, large * 1e-4)))
    return max(1, min(max(wanted, 3), 4, 6 - max(0, math.floor(math.log10(large)))))


def format_column(cells: Sequence[Cell], kind: Kind) -> list[str]:
    """The cells of one column as texts with one number of decimals; None shows as a dash."""
    numbers = [float(cell) for cell in cells if isinstance(cell, (int, float))]
    decimals = _decimals(numbers)
    whole = kind == "count" or (bool(numbers) and all(number.is_integer() for number in numbers))

    def text(cell: Cell) -> str:
        if cell is None:
            return _ABSENT
        if isinstance(cell, (str, Withheld)):
            return str(cell)
        if not math.isfinite(cell):
            return "∞" if cell > 0 else "-∞" if cell < 0 else _ABSENT
        if kind == "p":
            return format_p(cell)
        if whole:
            return f"{cell:,.0f}" if kind == "count" else f"{cell:.0f}"
        return f"{cell:.4g}" if decimals is None else f"{cell:.{decimals}f}"

    return [text(cell) for cell in cells]


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns; ``index`` names the rows where they have names.

    ``kinds`` says how a column prints (``number`` unless said). ``table["coef"]["age"]`` is one cell where there is an
    index; without one, iterate: each row is a mapping from column to cell.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    index: tuple[str, ...] | None = None
    index_name: str = ""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    title: str = ""

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise InputError("table.shape", f"table {self.title or 'without title'}: a row has not one cell a column.")
        if self.index is not None and len(self.index) != len(self.rows):
            raise InputError("table.index", f"table {self.title or 'without title'}: the index has not one name a row.")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def __getitem__(self, column: str) -> dict[str, Cell]:
        """One column, keyed by the index (by ``0``, ``1``, … where the table has none).

        Raises:
            KeyError: naming the columns there are.
        """
        if column not in self.columns:
            raise KeyError(f"no column '{column}'; there are: {', '.join(self.columns)}")
        place = self.columns.index(column)
        names = self.index if self.index is not None else tuple(str(number) for number in range(len(self.rows)))
        return {name: row[place] for name, row in zip(names, self.rows, strict=True)}

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as printed, the index in front where there is one."""
        header: list[str] = []
        printed: list[list[str]] = []
        if self.index is not None:
            header.append(self.index_name)
            printed.append(list(self.index))
        for place, column in enumerate(self.columns):
            header.append(column)
            printed.append(format_column([row[place] for row in self.rows], self.kinds.get(column, "number")))
        return header, [list(row) for row in zip(*printed, strict=True)]

    def is_text(self, column: str) -> bool:
        """Whether the column is written from the left."""
        return self.kinds.get(column) == "text"

    def to_text(self, width: int = WIDTH) -> str:
        """The table as aligned lines of at most ``width`` cells; wider tables continue in further blocks."""
        header, rows = self.texts()
        sizes = [max(cell_len(line[place]) for line in [header, *rows]) for place in range(len(header))]
        kept = 1 if self.index is not None else 0
        blocks: list[list[int]] = [[]]
        used = sum(sizes[:kept])
        for place in range(kept, len(header)):
            if blocks[-1] and used + 2 + sizes[place] > width:
                blocks.append([])
                used = sum(sizes[:kept])
            blocks[-1].append(place)
            used += 2 + sizes[place]
        lines = [self.title] if self.title else []
        for block in blocks:
            if block is not blocks[0]:
                lines.append("")
            for line in [header, *rows]:
                cells = [_pad(line[0], sizes[0], left=True)] if kept else []
                cells += [_pad(line[place], sizes[place], left=self.is_text(header[place])) for place in block]
                lines.append("  ".join(cells).rstrip())
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        header, rows = self.texts()
        kept = 1 if self.index is not None else 0
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = []
        for row in rows:
            cells = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in row[:kept])
            for name, cell in zip(header[kept:], row[kept:], strict=True):
                side = "left" if self.is_text(name) else "right"
                cells += f"<td style='text-align:{side}'>{html.escape(cell)}</td>"
            body.append(f"<tr>{cells}</tr>")
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas data frame; suppressed and absent cells are missing values.

        Raises:
            InputError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise InputError(
                "extra.examples",
                "a data frame needs pandas, which is not installed.",
                todo='Install it with: pip install "xbcompute[examples]".',
            ) from None
        data: dict[str, list[Any]] = {
            column: [None if row[place] is SUPPRESSED else row[place] for row in self.rows]
            for place, column in enumerate(self.columns)
        }
        index = None if self.index is None else pd.Index(list(self.index), name=self.index_name or None)
        return pd.DataFrame(data, index=index)


def _pad(text: str, size: int, *, left: bool) -> str:
    space = " " * (size - cell_len(text))
    return text + space if left else space + text
