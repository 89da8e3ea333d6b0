"""What was understood of the raw data, in lines for people, who see at once what was misread."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.datasets.times import is_doubtful
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse.data_checks import is_described

SHOWN_ITEMS, SHOWN_FEATURES, SHOWN_SHAPES = 3, 5, 3
LONGEST = 60  # characters of a value


def understood(interactions: DataFrame, items: DataFrame) -> list[str]:
    """Say the ids' shapes, the first and last time, three items (with text or features, if any have) and the most
    frequent features.

    Texts stand as Python writes them: they may hold anything.

    Parameters
    ----------
    interactions, items : as they are written.
    """
    asked = [
        lambda: _ids("users", interactions.select(F.col("user_id").alias("id"))),
        lambda: _ids("items", items.select(F.col("item_id").alias("id"))),
        lambda: _times(interactions),
        lambda: _items(items),
        lambda: _features(items),
    ]
    return side_by_side(lambda ask: ask(), asked)


def _ids(what: str, ids: DataFrame) -> str:
    """Number of different ids, and their commonest shapes: a for letters, 9 for digits."""
    letters = F.regexp_replace(F.col("id"), r"\p{L}+", "a")
    shapes = ids.distinct().withColumn("shape", F.regexp_replace(letters, r"\p{N}+", "9"))
    counted = shapes.groupBy("shape").agg(F.count(F.lit(1)).alias("ids"), F.min("id").alias("example"))
    total = counted.agg(F.sum("ids")).first()
    most = counted.orderBy(F.desc("ids"), "shape").limit(SHOWN_SHAPES).collect()
    told = [f"{row['ids']:,} of the shape {_quoted(row['shape'])}, such as {_quoted(row['example'])}" for row in most]
    return f"{(total[0] if total else None) or 0:,} {what}: {'; '.join(told)}"


def _times(interactions: DataFrame) -> str:
    text = [end("ts").cast("string") for end in (F.min, F.max)]
    ends = interactions.agg(*text, F.coalesce(F.unix_micros(F.max("ts")), F.lit(0))).first()
    assert ends is not None  # an aggregate without groups has one row
    doubt = ": were they of another unit, or are they none?" if is_doubtful(ends[2]) else ""
    return f"times from {ends[0]} to {ends[1]}{doubt}"


def _items(items: DataFrame) -> str:
    rows = items.orderBy(F.desc(is_described()), "item_id").limit(SHOWN_ITEMS).collect()
    told = [
        f"{_quoted(row['item_id'])} has the title {_quoted(row['title'])}, the text {_quoted(row['text'])} "
        f"and the features {', '.join(_quoted(one) for one in (row['features'] or [])[:SHOWN_FEATURES]) or 'none'}"
        for row in rows
    ]
    return f"items: {'; '.join(told)}"


def _features(items: DataFrame) -> str:
    counted = items.select(F.explode("features").alias("feature")).groupBy("feature").count()
    total = counted.count()
    most = counted.orderBy(F.desc("count"), "feature").limit(SHOWN_FEATURES).collect()
    told = ", ".join(f"{_quoted(row['feature'])} ({row['count']:,} items)" for row in most)
    return f"{total:,} features{f', most often {told}' if told else ''}"


def _quoted(text: str | None) -> str:
    return repr((text or "")[:LONGEST])
