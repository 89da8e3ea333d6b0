"""Which raw rows become interactions and items, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.places import PLACE, splits_of, with_lines
from recsae_lib.datasets.raw_tables import RawTable
from recsae_lib.datasets.values import EARLIEST, LATEST, as_id, as_time, as_weight, no_time, no_weight
from recsae_lib.errors import InputError

Source = Literal["interactions", "items"]
LINES_OF_A_FILE = 2**40  # more than any file has
COLUMNS: dict[Source, tuple[str, ...]] = {
    "interactions": ("user_id", "item_id", "weight", "ts"),
    "items": ("item_id", "title", "text", "features"),
}
KEYS: dict[Source, tuple[str, ...]] = {"interactions": ("user_id", "item_id", "ts"), "items": ("item_id",)}
REPEATED: dict[Source, str] = {
    "interactions": "the user has this item at this time already",
    "items": "the catalogue has this item already",
}


@dataclass(frozen=True)
class Judged:
    """Every raw row of one source with the verdict on it; on disk until `release`.

    Parameters
    ----------
    source : what the rows are.
    raw : the raw table behind them.
    rows : the columns of `source`, file, block, position, skipped, reason STRING (null where the row is accepted) and
        record STRING (null where it is accepted).
    """

    source: Source
    raw: RawTable
    rows: DataFrame

    @property
    def accepted(self) -> DataFrame:
        """Rows of the table `source`; interactions of text files keep their place, which breaks ties of time.

        ::

            source_order = file · 2⁴⁰ + line        files numbered by their paths; 0 where there are no lines
        """
        kept = self.rows.where("skipped IS NULL AND reason IS NULL")
        if self.source == "items":
            return kept.select(*COLUMNS["items"])
        if not self.raw.has_lines:
            return kept.select(*COLUMNS["interactions"], F.lit(0).cast("long").alias("source_order"))
        place = F.coalesce(F.col("file") * F.lit(LINES_OF_A_FILE) + F.col("line"), F.lit(0)).alias("source_order")
        return with_lines(kept, self.rows).select(*COLUMNS["interactions"], place)

    @property
    def rejected(self) -> DataFrame:
        """Rows of the table rejects."""
        refused = self.rows.where("skipped IS NULL AND reason IS NOT NULL")
        located = with_lines(refused, self.rows) if self.raw.has_lines else refused.withColumn("line", F.lit(None))
        names = F.array(*[F.lit(name) for name in self.raw.files])
        return located.select(
            F.lit(self.source).alias("source"),
            F.get(names, F.col("file")).alias("file"),
            F.col("line").cast("long").alias("line"),
            "reason",
            "record",
        )

    def refuse_missing_headers(self) -> None:
        """Raise InputError where a file does not begin with the header line: its columns would be misread."""
        if self.raw.header is None:
            return
        opening = F.coalesce(F.col("opening"), F.lit("row"))
        beheaded = splits_of(self.rows).where("block = 0").where(opening != "header").orderBy("file").first()
        if beheaded is not None:
            raise InputError(
                f"File {self.raw.files[beheaded['file']]} of {self.raw.name} does not begin with the header line "
                f"{self.raw.header[:200]!r} of the other files",
                "Give every file the same header line",
            )


def judge_interactions(raw: RawTable, columns: ColumnMapping) -> Judged:
    """Judge interactions whose columns the mapping names; all of them must be there.

    Without a weight column every weight is 1.0; without a time column every time is 1970-01-01 (UTC), so that the order
    of a user's interactions is that of the lines, or, where the source has none, of item_id, as for all ties of time.

    Raises
    ------
    InputError : a column has a type that cannot be read.
    """
    values = {
        "user_id": as_id(columns.user_id, raw.columns[columns.user_id]),
        "item_id": as_id(columns.item_id, raw.columns[columns.item_id]),
        "weight": as_weight(columns.weight, raw.columns[columns.weight]) if columns.weight else no_weight(),
        "ts": as_time(columns.ts, raw.columns[columns.ts]) if columns.ts else no_time(),
    }
    return judge(raw, "interactions", values)


def judge(raw: RawTable, source: Source, values: dict[str, Column]) -> Judged:
    """Accept or reject every raw row; the first rule that is broken is the reason.

    Of rows with the same key the first is kept: by file and line, or, where there are no lines, by all of the row.
    That is the only shuffle. The verdicts are persisted on disk, because the accepted rows, the rejected ones, the
    count of lines and the ids of the items each read them: the raw data is read and parsed once, and all agree on its
    splits.

    Parameters
    ----------
    values : column of `source` → expression over ``raw.rows``; null where the raw value cannot be read.
    """
    read = raw.rows.select(
        *[values[name].alias(name) for name in COLUMNS[source]], *PLACE, "skipped", "fault", "record"
    )
    ruled = read.withColumn("reason", F.coalesce("fault", *_rules(source))).drop("fault")
    # What is refused already is scattered by its position: it takes no part, and many such rows burden no single task.
    refused = F.col("reason").isNotNull() | F.col("skipped").isNotNull()
    # The hash comes first in the sort: comparing whole numbers is faster than comparing ids.
    key_hash = F.when(refused, F.xxhash64("position")).otherwise(F.xxhash64(*KEYS[source]))
    others = [name for name in COLUMNS[source] if name not in KEYS[source]]
    order = PLACE if raw.has_lines else (*others, "record", "file")
    same_key = Window.partitionBy("key_hash", *KEYS[source]).orderBy(*order)
    rows = (
        ruled.withColumn("key_hash", key_hash)
        .withColumn("rank", F.row_number().over(same_key))
        .withColumn("reason", F.coalesce("reason", F.when(F.col("rank") > 1, REPEATED[source])))
        .withColumn("record", F.when(F.col("reason").isNotNull(), F.col("record")))
        .drop("key_hash", "rank")
    )
    return Judged(source, raw, rows.persist(StorageLevel.DISK_ONLY))


def _rules(source: Source) -> list[Column]:
    item = F.when(F.col("item_id").isNull(), "the item id is missing")
    if source == "items":
        return [item]
    return [
        F.when(F.col("user_id").isNull(), "the user id is missing"),
        item,
        F.when(F.col("weight").isNull(), "the weight is missing or not a finite number"),
        F.when(F.col("ts").isNull(), "the time is missing or not a time"),
        F.when(~F.unix_micros("ts").between(EARLIEST, LATEST), "the time is before 1970 or after 2100"),
    ]
