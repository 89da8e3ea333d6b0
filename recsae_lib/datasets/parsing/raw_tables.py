"""Raw rows of one source, before they are validated: what the reader of each format returns."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import types as T

from recsae_lib.errors import InputError

RECORD_LENGTH = 1000  # characters of a raw row that are kept with its reject


@dataclass(frozen=True)
class RawTable:
    """Raw rows of one source.

    Parameters
    ----------
    name : path or table, for messages.
    rows : a row for each raw row or line: what `columns` refers to; file, block and position (`places.PLACE`); skipped
        STRING (header, blank or continued, a line of the record before; null for a row), fault STRING (why the row
        cannot be read; null where it can) and record STRING (the row as it was read, cut).
    columns : name in the source → expression over `rows`, and its type.
    files : name of each file by its index.
    has_lines : whether a row is a line of a text file.
    header : line that every file must begin with; None where there is none.
    persisted : what is on disk for the rows.
    lines_follow_time : whether the lines of a user, where they have no time, stand in the order of time. Where they do
        not (sorted by count, say), the order is drawn from a hash of user and item instead: the same in every run.
    """

    name: str
    rows: DataFrame
    columns: Mapping[str, tuple[Column, T.DataType]]
    files: tuple[str, ...]
    has_lines: bool = False
    header: str | None = None
    persisted: tuple[DataFrame, ...] = ()
    lines_follow_time: bool = True


def refuse_missing_columns(wanted: Iterable[str], found: Iterable[str], name: str, remedy: str) -> None:
    """Check that a source has every wanted column.

    Raises
    ------
    InputError : names all missing columns, each with the nearest existing one, whatever its case.
    """
    existing = list(found)
    missing = []
    for column in wanted:
        if column not in existing:
            by_lower = {name.lower(): name for name in existing}
            close = difflib.get_close_matches(column.lower(), by_lower, n=1, cutoff=0.0)
            nearest = [by_lower[name] for name in close]
            missing.append(f"{column!r}" + (f" (the nearest is {nearest[0]!r})" if nearest else ""))
    if missing:
        raise InputError(f"{name} has no column {', '.join(missing)}", remedy)
