"""Lines, tables and values in the terminal. What is printed is text, never markup, and steers nothing (`printable`)."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from recsae_lib.printable import on_one_line, printable, say

TABLE_ROWS = 1000  # of a table; csv and json stream without a limit


class Terminal:
    """Standard output of one command."""

    def __init__(self, width: int | None) -> None:
        self._console = Console(width=width)

    def line(self, text: str, soft_wrap: bool = False) -> None:
        """Print a line, broken between words unless it wraps softly."""
        self._console.print(on_one_line(text), markup=False, emoji=False, soft_wrap=soft_wrap)

    def rule(self, title: str, align: Literal["left", "center"] = "center") -> None:
        """Print a heading."""
        self._console.rule(Text(on_one_line(title)), align=align)

    def tabulate(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; a cell may have several lines."""
        table = Table(*[Column(Text(printable(column))) for column in columns])
        for row in rows:
            table.add_row(*[Text(printable(cell)) for cell in row])
        self._console.print(table)


def print_table(columns: Sequence[str], rows: Iterator[list[Any]]) -> None:
    """Print rows as a table of at most `TABLE_ROWS`; a further one shows that there are more."""
    shown = [[as_text(value) for value in row] for _, row in zip(range(TABLE_ROWS), rows, strict=False)]
    terminal = Terminal(None if sys.stdout.isatty() else 200)
    terminal.tabulate(columns, shown)
    if next(rows, None) is not None:
        terminal.line(f"The first {TABLE_ROWS:,} rows; --format csv or json gives all.")


def print_csv(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows as CSV: into a file or a pipe the values as they are, in a terminal as it may show them."""
    show = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout)
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
