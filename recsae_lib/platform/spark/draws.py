"""Rows drawn by hash: the same ones in every run, however they are partitioned."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame

HASHES = 2**64  # from −2^63 on


def first_by_hash(rows: DataFrame, draw: Column, number: int, ties: str = "user_id") -> DataFrame:
    """Return the `number` rows of the smallest hash, all where there are no more; `rows` are counted first.

    Of each of the many tasks of large rows Spark would bring the first `number` to one place. So only rows with a hash
    that some 2 · number + 100 rows of all have, or a smaller one, are looked at. That fewer than `number` rows have one
    is 8 standard deviations off or more.

    Parameters
    ----------
    draw : LONG, a hash of each row.
    ties : column by which rows of equal hash stand in order.
    """
    among = rows.count()
    looked_at = 2 * number + 100
    if looked_at < among:
        rows = rows.where(draw < HASHES * looked_at // among - HASHES // 2)
    return rows.orderBy(draw, ties).limit(number)
