"""Records of quoted text from its lines, in the splits that Spark cuts files into: a record may lie in several.

Most text has no record of several lines: one pass over the lines with quote marks sees that, and they stay as they are.
Else the lines are put on disk, each split is read both ways (as if it began with a record, or in one), the driver puts
these few facts about each split together, and each split is read again, by then as it is. No rows are shuffled, and no
task sees more than its split.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby, islice

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.places import PLACE
from recsae_lib.datasets.parsing.quoting import (
    Borders,
    Line,
    Part,
    Quoting,
    Scanner,
    Summary,
    Summing,
    assembled,
    borders_of,
)

BATCH = 10_000  # rows that a kernel gives at once
_ROWS = pa.schema(
    [
        ("file", pa.int32()),
        ("block", pa.int64()),
        ("position", pa.int64()),
        ("line", pa.string()),
        ("fault", pa.string()),
        ("continued", pa.bool_()),
    ]
)
Split = tuple[int, int]


def with_records(lines: DataFrame, quoting: Quoting, fields: int) -> tuple[DataFrame, tuple[DataFrame, ...]]:
    """Put the lines of each record into the first of its lines.

    Parameters
    ----------
    lines : (file, block, position, line, fault), every line of the source.
    fields : columns of the source.

    Returns
    -------
    (file, block, position, line, fault, continued BOOLEAN), a row for each line, `continued` where it belongs to the
    record of an earlier one; and what was persisted for them.
    """
    if _all_plain(lines, quoting):
        return lines.withColumn("continued", F.lit(False)), ()
    kept = lines.select(*PLACE, "line", "fault").persist(StorageLevel.DISK_ONLY)
    borders = _borders(kept, quoting, fields)

    def assemble(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scanner = Scanner(quoting)
        rows = (
            (*split, *row)
            for split, of_split in _by_split(batches)
            for row in assembled(of_split, scanner, borders[split], fields)
        )
        while some := list(islice(rows, BATCH)):
            columns = zip(*some, strict=True)
            yield pa.RecordBatch.from_arrays(
                [pa.array(column, kind) for column, kind in zip(columns, _ROWS.types, strict=True)], schema=_ROWS
            )

    schema = "file INT, block LONG, position LONG, line STRING, fault STRING, continued BOOLEAN"
    return kept.mapInArrow(assemble, schema), (kept,)


def _all_plain(lines: DataFrame, quoting: Quoting) -> bool:
    """Whether every line is a record of its own, and no quote is misplaced."""

    def find(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scanner = Scanner(quoting)
        for text in (text for batch in batches for text in batch.column(0).to_pylist()):
            scan = scanner.scan(text)
            if scan.inside or scan.misplaced:
                yield pa.RecordBatch.from_pydict({"found": [True]})
                return

    marked = lines.select("line").where(F.col("line").contains(F.lit(quoting.quote)))
    return marked.mapInArrow(find, "found BOOLEAN").isEmpty()


def _borders(lines: DataFrame, quoting: Quoting, fields: int) -> dict[Split, Borders]:
    def summarise(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scanner = Scanner(quoting)
        for (file, block), of_split in _by_split(batches):
            summing = Summing(scanner)
            for line in of_split:
                summing.feed(line)
            found = summing.summary()
            told = json.dumps([found.rest, found.open_from_outside, found.open_from_inside])
            yield pa.RecordBatch.from_pydict({"file": [file], "block": [block], "summary": [told]})

    found = lines.mapInArrow(summarise, "file LONG, block LONG, summary STRING").collect()
    borders: dict[Split, Borders] = {}
    for file, of_file in groupby(sorted(found, key=lambda row: (row["file"], row["block"])), lambda row: row["file"]):
        splits = {(file, row["block"]): _summary(row["summary"]) for row in of_file}
        borders.update(zip(splits, borders_of(list(splits.values()), fields), strict=True))
    return borders


def _summary(told: str) -> Summary:
    rest, *tails = json.loads(told)
    return Summary(Part(*rest), *[Part(*tail) if tail else None for tail in tails])


def _by_split(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Split, Iterator[Line]]]:
    rows = (row for batch in batches for row in zip(*[column.to_pylist() for column in batch.columns], strict=True))
    for split, of_split in groupby(rows, lambda row: (row[0], row[1])):
        yield split, (Line(*row[2:]) for row in of_split)
