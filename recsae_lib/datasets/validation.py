"""Which raw rows become interactions and items, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from recsae_lib.config import ColumnMapping, Repeats
from recsae_lib.datasets.parsing.attributes import attributes, no_year
from recsae_lib.datasets.parsing.places import PLACE, splits_of, with_lines
from recsae_lib.datasets.parsing.raw_tables import RawTable
from recsae_lib.datasets.parsing.values import EARLIEST, LATEST, as_id, as_time, as_weight, no_time, no_weight
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.frames import keep_on_disk
from recsae_lib.platform.spark.read_errors import reading
from recsae_lib.platform.spark.unseen import holds_unseen

LINES_OF_A_FILE = 2**40  # more than any file has
LARGEST = 2**63 - 1
UNSEEN_IN_ID = "holds control characters or invisible ones"
REPEATED = "repeated"  # skipped: the last of the repeated rows stands for all


@dataclass(frozen=True)
class Kind:
    """What the rows of a source are.

    Parameters
    ----------
    source : what rejects call it.
    missing : column → why a row is rejected where it is null, in the order in which they are looked at.
    optional : further columns, for none of which a row is rejected.
    group, within : the key: of rows that agree in all these columns only the first is accepted. Those that agree in
        `group` alone are kept apart by `within`, and marked as returning.
    repeated : why a row with a key that was there before is rejected.
    """

    source: Literal["interactions", "items"]
    missing: Mapping[str, str]
    optional: tuple[str, ...]
    group: tuple[str, ...]
    within: tuple[str, ...]
    repeated: str

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns."""
        return (*self.missing, *self.optional)


INTERACTIONS = Kind(
    "interactions",
    {
        "user_id": "the user id is missing",
        "item_id": "the item id is missing",
        "weight": "the weight is missing or not a finite number",
        "ts": "the time is missing or not a time",
    },
    (),
    ("user_id", "item_id"),
    ("ts",),
    "the user has this item at this time already",
)
ITEMS = Kind(
    "items",
    {"item_id": "the item id is missing"},
    ("title", "text", "features", "released", "attributes"),
    ("item_id",),
    (),
    "the catalogue has this item already",
)


@dataclass(frozen=True)
class Validated:
    """Every raw row of one source with whether and why it is rejected; on disk until it is unpersisted.

    Parameters
    ----------
    kind : what the rows are.
    raw : the raw table behind them.
    rows : the columns of `kind`, file, block, position, skipped, returns BOOLEAN (an accepted row with the same `group`
        came before), reason STRING (null where the row is accepted) and record STRING (null where it is accepted).
    parts : what else these rows were made from: it has rejected rows of its own.
    """

    kind: Kind
    raw: RawTable
    rows: DataFrame
    parts: tuple[Validated, ...] = ()

    @property
    def accepted(self) -> DataFrame:
        """Accepted rows with the columns of `kind`; interactions with source_order, which breaks ties of time.

        ::

            source_order = file · 2⁴⁰ + line            files numbered by their paths
                         = hash(user_id, item_id)       from 0 to 2⁶³ − 1, where there are no lines, or they are in no
                                                        order in time
        """
        kept = self.rows.where("skipped IS NULL AND reason IS NULL")
        if self.kind is not INTERACTIONS:
            return kept.select(*self.kind.columns)
        if not (self.raw.has_lines and self.raw.lines_follow_time):
            drawn = F.xxhash64("user_id", "item_id").bitwiseAND(F.lit(LARGEST))
            return kept.select(*self.kind.columns, drawn.alias("source_order"))
        place = F.coalesce(F.col("file") * F.lit(LINES_OF_A_FILE) + F.col("line"), F.lit(0)).alias("source_order")
        return with_lines(kept, self.rows).select(*self.kind.columns, place)

    @property
    def rejected(self) -> DataFrame:
        """Rows of the table rejects, with those of all parts."""
        return reduce(DataFrame.unionByName, [part.rejected for part in self.parts], self._own_rejected())

    @property
    def persisted(self) -> tuple[DataFrame, ...]:
        """What is on disk."""
        return (self.rows, *self.raw.persisted, *[rows for part in self.parts for rows in part.persisted])

    def _own_rejected(self) -> DataFrame:
        rejected = self.rows.where("skipped IS NULL AND reason IS NOT NULL")
        located = with_lines(rejected, self.rows) if self.raw.has_lines else rejected.withColumn("line", F.lit(None))
        names = F.array(*[F.lit(name) for name in self.raw.files])
        return located.select(
            F.lit(self.kind.source).alias("source"),
            F.get(names, F.col("file")).alias("file"),
            F.col("line").cast("long").alias("line"),
            "reason",
            "record",
        )

    def count_accepted(self) -> tuple[int, int]:
        """Number of accepted rows, and of those among them that return; one pass over what is on disk."""
        kept = F.col("skipped").isNull() & F.col("reason").isNull()
        with reading(self.raw.name):
            counts = self.rows.agg(F.count_if(kept), F.count_if(kept & F.col("returns"))).first()
        return (counts[0], counts[1]) if counts else (0, 0)

    def refuse_missing_headers(self) -> None:
        """Raise InputError where a file does not begin with the header line: its columns would be misread.

        The rows of the source are read here, if it has a header.
        """
        for part in self.parts:
            part.refuse_missing_headers()
        if self.raw.header is None:
            return
        with reading(self.raw.name):
            found = splits_of(self.rows).where("block = 0").select("file", "opening").collect()
        openings = {row["file"]: row["opening"] or "row" for row in found}
        for number, file in enumerate(self.raw.files):
            if number not in openings:
                raise InputError(f"File {file} of {self.raw.name} is empty", "Write it again, or delete it")
            if openings[number] != "header":
                raise InputError(
                    f"File {file} of {self.raw.name} does not begin with the header line "
                    f"{self.raw.header[:200]!r} of the other files",
                    "Give every file the same header line",
                )


def validate_interactions(raw: RawTable, columns: ColumnMapping, repeats: Repeats = "reject") -> Validated:
    """Validate interactions whose columns the mapping names; all of them must be there.

    Without a weight column every weight is 1.0; without a time column every time is 1970-01-01 (UTC), so that the order
    of a user's interactions is that of the lines, or, where the source has none, drawn, as for all ties of time.

    Parameters
    ----------
    repeats : what becomes of a further interaction of a user with an item at the same time (`validate`).

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
    return validate(raw, INTERACTIONS, values, repeats=repeats)


def validate_items(raw: RawTable, values: dict[str, Column], parts: tuple[Validated, ...] = ()) -> Validated:
    """Validate items; what `values` lacks of released and attributes, no item has (`validate`)."""
    return validate(raw, ITEMS, {"released": no_year(), "attributes": attributes({}), **values}, parts)


def validate(
    raw: RawTable,
    kind: Kind,
    values: dict[str, Column],
    parts: tuple[Validated, ...] = (),
    repeats: Repeats = "reject",
) -> Validated:
    """Accept or reject every raw row; the first rule that is broken is the reason.

    Of rows with the same key the first is kept: by file and line, or, where there are no lines, by all of the row.
    Where repeats are no fault the last one is kept in its place, with the sum of their weights if that is asked for.
    That is the only shuffle. The outcome is persisted on disk, because the accepted rows, the rejected ones, the
    count of lines and the ids of the items each read them: the raw data is read and parsed once, and all agree on its
    splits.

    Parameters
    ----------
    values : column of `kind` → expression over ``raw.rows``; null where the raw value cannot be read.
    repeats : reject the repeated rows; or skip all but the last one (last), which gets the sum of their weights (sum).
    """
    read = raw.rows.select(*[values[name].alias(name) for name in kind.columns], *PLACE, "skipped", "fault", "record")
    ruled = read.withColumn("reason", F.coalesce("fault", *_rules(kind))).drop("fault")
    # What is rejected already is scattered by its position: it takes no part, and many such rows burden no single task.
    rejected = F.col("reason").isNotNull() | F.col("skipped").isNotNull()
    # The hash comes first in the sort: comparing whole numbers is faster than comparing ids.
    key_hash = F.when(rejected, F.xxhash64("position")).otherwise(F.xxhash64(*kind.group))
    others = [name for name in kind.columns if name not in (*kind.group, *kind.within)]
    order = PLACE if raw.has_lines else (*others, "record", "file")
    same_group = Window.partitionBy("key_hash", *kind.group).orderBy(*kind.within, *order)
    # The row before, or, where the last one is kept, the row after it.
    beside = F.lag if repeats == "reject" else F.lead
    same_key, returns = beside(F.lit(True), 1, False).over(same_group), F.lit(False)
    for name in kind.within:
        same_key = same_key & beside(name).over(same_group).eqNullSafe(F.col(name))
        returns = returns | (F.first(name).over(same_group) != F.col(name))
    rows = (
        ruled.withColumn("key_hash", key_hash)
        .withColumn("repeats", same_key & F.col("reason").isNull())
        .withColumn("returns", returns & ~F.col("repeats") & F.col("reason").isNull())
    )
    if repeats == "sum":
        # Added up in the order of the rows, so that every run gives the same bits.
        total = F.sum("weight").over(Window.partitionBy("key_hash", *kind.group, *kind.within).orderBy(*order))
        rows = rows.withColumn("weight", F.when(F.col("reason").isNull(), total).otherwise(F.col("weight")))
    repeated, column = (kind.repeated, "reason") if repeats == "reject" else (REPEATED, "skipped")
    rows = (
        rows.withColumn(column, F.coalesce(column, F.when(F.col("repeats"), repeated)))
        .withColumn("record", F.when(F.col("reason").isNotNull(), F.col("record")))
        .drop("key_hash", "repeats")
    )
    return Validated(kind, raw, keep_on_disk(rows), parts)


def _rules(kind: Kind) -> list[Column]:
    rules = [F.when(F.col(name).isNull(), reason) for name, reason in kind.missing.items()]
    # An id is not mended: without such characters it may be the id of another.
    ids = [name for name in kind.missing if name.endswith("_id")]
    rules += [F.when(holds_unseen(F.col(name)), f"the {name.replace('_', ' ')} {UNSEEN_IN_ID}") for name in ids]
    if "ts" in kind.missing:
        rules.append(F.when(~F.unix_micros("ts").between(EARLIEST, LATEST), "the time is before 1970 or after 2100"))
    return rules
