"""Lines, tables and values in the terminal. What is printed is text, never markup, and steers nothing (`printable`)."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from recsae_lib.cli.layout import Rows, broken_heading, column_widths, whole_heading
from recsae_lib.printable import on_one_line, printable, say

TABLE_ROWS = 1000  # of a table; csv and json stream without a limit
GAP = 2  # between a name and its value, in cells
WIDEST = 200  # of a table in a file or a pipe


class Terminal:
    """Standard output of one command.

    Parameters
    ----------
    width : so wide are lines at most, and in a file or a pipe; in a terminal they are no wider than it is, nor than the
        environment variable COLUMNS says.
    """

    def __init__(self, width: int) -> None:
        self._width = min(width, shutil.get_terminal_size((width, 24)).columns)
        self._console = Console(width=self._width)

    def line(self, text: str, soft_wrap: bool = False) -> None:
        """Print a line, broken between words unless it wraps softly."""
        self._console.print(on_one_line(text), markup=False, emoji=False, soft_wrap=soft_wrap)

    def rule(self, title: str, align: Literal["left", "center"] = "center") -> None:
        """Print a heading."""
        self._console.rule(Text(on_one_line(title)), align=align)

    def tabulate(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; a cell may have several lines. One that does not fit is printed record by record."""
        headings = [_cell(column) for column in columns]
        cells = [[_cell(cell) for cell in row] for row in rows]
        if (widths := column_widths(headings, cells, self._width)) is None:
            self._records([whole_heading(heading) for heading in headings], cells)
            return
        named = zip(headings, widths, strict=True)
        table = Table(*[Column(Text(broken_heading(name, n)), width=n, overflow="fold") for name, n in named])
        for row in cells:
            table.add_row(*map(Text, row))
        self._console.print(table)

    def _records(self, columns: Sequence[str], rows: Rows) -> None:
        """Print a line for each value, after the name of its column; a rule before each row."""
        names = max(map(cell_len, columns))
        for number, row in enumerate(rows, start=1):
            self.rule(f"{number}", align="left")
            record = (self._entry(name, value, names) for name, value in zip(columns, row, strict=True))
            self._console.print(Text("\n".join(record)), overflow="fold")

    def _entry(self, name: str, value: str, names: int) -> str:
        """A value after its name, which takes `names` cells; what does not fit goes on below."""
        room = max(self._width - names - GAP, 1)
        wrapped = [value] if "\n" not in value and cell_len(value) <= room else self._wrapped(value, room)
        begins = [name, *[""] * len(wrapped)]
        return "\n".join(
            f"{set_cell_size(begin, names + GAP)}{line}".rstrip() for begin, line in zip(begins, wrapped, strict=False)
        )

    def _wrapped(self, value: str, room: int) -> list[str]:
        return [str(line) for line in Text(value).wrap(self._console, room, overflow="fold")]


def of_audit(namespace: str, dt: date | str, sae_version: int | None) -> str:
    """Which audit results are of, as it stands above them."""
    return f"{namespace}, dt={dt}" + ("" if sae_version is None else f", SAE version {sae_version}")


def print_table(columns: Sequence[str], rows: Iterator[list[Any]], heading: str = "") -> None:
    """Print rows as a table of at most `TABLE_ROWS`, below its heading; a further one shows that there are more."""
    shown = [[as_text(value) for value in row] for _, row in zip(range(TABLE_ROWS), rows, strict=False)]
    terminal = Terminal(WIDEST)
    if heading:
        terminal.line(heading)
    terminal.tabulate(columns, shown)
    if next(rows, None) is not None:
        terminal.line(f"The first {TABLE_ROWS:,} rows; --format csv or json gives all.")


def _cell(text: str) -> str:
    return printable(text).expandtabs()


class _Lines:
    """Standard output to the csv module, which quotes a carriage return only where it ends lines with one itself."""

    def write(self, row: str) -> None:
        sys.stdout.write(row.removesuffix("\r\n") + "\n")


def print_csv(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows as CSV: into a file or a pipe the values as they are, in a terminal as it may show them. Lines end as
    those of every other tool here.
    """
    show = printable if sys.stdout.isatty() else str
    writer = csv.writer(_Lines())
    writer.writerow([show(column) for column in columns])
    writer.writerows([show(as_text(value)) for value in row] for row in rows)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as a line of JSON."""
    say(json.dumps(value, ensure_ascii=False, default=_as_json))


def as_text(value: Any) -> str:
    """A value as people read it; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(as_text(part) for part in value)
    return str(value)


def _as_json(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)
