"""How much the stages of a Spark session have read and written, and Python workers past them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any


@dataclass(frozen=True)
class Mark:
    """A moment in the traffic.

    Parameters
    ----------
    stage : number of the latest stage of the Spark session that is open; -1 where there is none.
    rows, bytes : counted with `count_written` by then.
    """

    stage: int
    rows: int
    bytes: int


@dataclass(frozen=True)
class Traffic:
    """What was read and written: by the stages of a Spark session, of the last thousand that it remembers, and by what
    is counted with `count_written`.
    """

    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @classmethod
    def after(cls, mark: Mark) -> Traffic:
        """Sum over what came after a mark."""
        # Asking for one figure of one stage is a call to the JVM: only the stages that count are asked.
        found = list(takewhile(lambda newer: newer.stageId() > mark.stage, _stages_newest_first()))
        return cls(
            sum(stage.inputRecords() for stage in found),
            sum(stage.outputRecords() for stage in found) + _written.rows - mark.rows,
            sum(stage.inputBytes() for stage in found),
            sum(stage.outputBytes() for stage in found) + _written.bytes - mark.bytes,
        )

    def line(self) -> str:
        """Return it as people read it, without what is nothing."""
        rows = {"rows in": self.rows_in, "rows out": self.rows_out}
        return ", ".join(f"{number:,} {what}" for what, number in rows.items() if number)


@dataclass
class _Written:
    """What this process has had written past Spark's stages."""

    rows: int = 0
    bytes: int = 0


_written = _Written()


def count_written(rows: int, size: int) -> None:
    """Count what Python workers have written by themselves: to Spark their rows are nothing.

    Parameters
    ----------
    size : in bytes.
    """
    _written.rows += rows
    _written.bytes += size


def mark_now() -> Mark:
    """Where the traffic has come to."""
    stage = max((stage.stageId() for stage in islice(_stages_newest_first(), 1)), default=-1)
    return Mark(stage, _written.rows, _written.bytes)


def _stages_newest_first() -> Iterator[Any]:
    if "pyspark.sql" not in sys.modules:  # then there is none, and a job that needs none need not wait for the import
        return
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None:
        return
    context: Any = spark.sparkContext
    no_quantiles = context._gateway.new_array(context._gateway.jvm.double, 0)
    no_status = context._jvm.java.util.ArrayList()
    stages = context._jsc.sc().statusStore().stageList(None, False, False, no_quantiles, no_status)
    yield from (stages.apply(number) for number in range(stages.size()))
