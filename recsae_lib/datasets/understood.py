"""What was understood of the raw data, in lines for people, who see at once what was misread."""

from __future__ import annotations

from pyspark.sql import DataFrame, Observation, Window
from pyspark.sql import functions as F

from recsae_lib.datasets.times import is_doubtful
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.warehouse.data_checks import derived_kinds, is_described

SHOWN_ITEMS, SHOWN_FEATURES, SHOWN_SHAPES = 3, 5, 3
LONGEST = 60  # characters of a value


def understood(interactions: DataFrame, items: DataFrame, hiding: int) -> list[str]:
    """Say the ids' shapes, the first and last time, three items (with text or features, if any have), the most
    frequent features and the kinds of derived features; and how many items hid characters that were taken out.

    Texts stand as Python writes them: they may hold anything.

    Parameters
    ----------
    interactions, items : as they are written.
    hiding : see `Dataset`.
    """
    of_each = [lambda: _ids_and_times(interactions, items)]
    of_each += [lambda: [_items(items)], lambda: [_features(items)], lambda: [_derived(items)]]
    ids_and_times, *of_items = side_by_side(lambda ask: ask(), of_each)
    return [*ids_and_times, *(line for lines in of_items for line in lines), _hidden(hiding)]


def _ids_and_times(interactions: DataFrame, items: DataFrame) -> list[str]:
    """Number of users and items, and the commonest shapes of their ids (a for letters, 9 for digits), in one query."""
    times = [end("ts").alias(name) for name, end in (("first", F.min), ("last", F.max))]
    users = interactions.groupBy(F.col("user_id").alias("id")).agg(*times).withColumn("what", F.lit("users"))
    of_items = items.select(F.col("item_id").alias("id"), F.lit("items").alias("what"))
    letters = F.regexp_replace(F.col("id"), r"\p{L}+", "a")
    ids, whole = F.col("ids"), Observation("ids and times")
    counted = (
        users.unionByName(of_items, allowMissingColumns=True)
        .groupBy("what", F.regexp_replace(letters, r"\p{N}+", "9").alias("shape"))
        .agg(
            F.count(F.lit(1)).alias("ids"),
            F.min("id").alias("example"),
            F.min("first").alias("first"),
            F.max("last").alias("last"),
        )
        .observe(
            whole,
            F.coalesce(F.sum(F.when(F.col("what") == "users", ids)), F.lit(0)).alias("users"),
            F.coalesce(F.sum(F.when(F.col("what") == "items", ids)), F.lit(0)).alias("items"),
            F.min("first").cast("string").alias("first"),
            F.max("last").cast("string").alias("last"),
            F.coalesce(F.unix_micros(F.max("last")), F.lit(0)).alias("last_micros"),
        )
    )
    commonest = Window.partitionBy("what").orderBy(F.desc("ids"), "shape")
    most = counted.withColumn("rank", F.row_number().over(commonest)).where(F.col("rank") <= SHOWN_SHAPES).collect()
    lines = []
    for what in ("users", "items"):
        of_what = sorted((row for row in most if row["what"] == what), key=lambda row: row["rank"])
        shown = [
            f"{row['ids']:,} of the shape {_quoted(row['shape'])}, such as {_quoted(row['example'])}" for row in of_what
        ]
        lines.append(f"{whole.get[what]:,} {what}: {'; '.join(shown)}")
    doubt = ": were they of another unit, or are they none?" if is_doubtful(whole.get["last_micros"]) else ""
    return [*lines, f"times from {whole.get['first']} to {whole.get['last']}{doubt}"]


def _items(items: DataFrame) -> str:
    rows = items.orderBy(F.desc(is_described()), "item_id").limit(SHOWN_ITEMS).collect()
    shown = [
        f"{_quoted(row['item_id'])} has the title {_quoted(row['title'])}, the text {_quoted(row['text'])} "
        f"and the features {', '.join(_quoted(one) for one in (row['features'] or [])[:SHOWN_FEATURES]) or 'none'}"
        for row in rows
    ]
    return f"items: {'; '.join(shown)}"


def _features(items: DataFrame) -> str:
    whole = Observation("features")
    counted = items.select(F.explode("features").alias("feature")).groupBy("feature").count()
    counted = counted.observe(whole, F.count(F.lit(1)).alias("total"))
    most = counted.orderBy(F.desc("count"), "feature").limit(SHOWN_FEATURES).collect()
    shown = ", ".join(f"{_quoted(row['feature'])} ({row['count']:,} items)" for row in most)
    return f"{whole.get['total']:,} features{f', most often {shown}' if shown else ''}"


def _derived(items: DataFrame) -> str:
    shown = ", ".join(f"{_quoted(kind)} of {number:,} items" for kind, number in derived_kinds(items))
    return f"derived features: {shown or 'none'}"


def _hidden(items: int) -> str:
    if not items:
        return "no item held control characters or invisible ones"
    return f"{items:,} items held control characters or invisible ones in title, text or features: these are taken out"


def _quoted(text: str | None) -> str:
    return repr((text or "")[:LONGEST])
