"""Tables and values in the terminal. What comes from tables is printed as text, never as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

TABLE_ROWS = 1000  # of a table; csv and json stream without a limit


def print_table(columns: Sequence[str], rows: Iterator[list[Any]]) -> None:
    """Print rows as a table of at most `TABLE_ROWS`; a further one shows that there are more."""
    table = Table(*[escape(column) for column in columns])
    count = 0
    for row in rows:
        count += 1
        if count <= TABLE_ROWS:
            table.add_row(*[Text(as_text(value)) for value in row])  # Text: item text is no markup
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    if count > TABLE_ROWS:
        console.print(f"The first {TABLE_ROWS:,} rows; --format csv or json gives all.")


def as_text(value: Any) -> str:
    """A value as people read it; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(as_text(part) for part in value)
    return str(value)


def as_json(value: Any) -> str:
    """A value that JSON has no form for, as text."""
    return value.isoformat() if isinstance(value, date) else str(value)
