"""How much the stages of a Spark session have read and written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any


@dataclass(frozen=True)
class Traffic:
    """What the stages of a Spark session have read and written, of the last thousand that it remembers."""

    rows_in: int = 0
    rows_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    @classmethod
    def after(cls, stage: int) -> Traffic:
        """Sum over the stages of the open session that came after one; nothing where no session is open."""
        # Asking for one figure of one stage is a call to the JVM: only the stages that count are asked.
        found = list(takewhile(lambda newer: newer.stageId() > stage, _stages_newest_first()))
        return cls(
            sum(stage.inputRecords() for stage in found),
            sum(stage.outputRecords() for stage in found),
            sum(stage.inputBytes() for stage in found),
            sum(stage.outputBytes() for stage in found),
        )


def newest_stage() -> int:
    """Number of the latest stage of the Spark session that is open; -1 where there is none."""
    return max((stage.stageId() for stage in islice(_stages_newest_first(), 1)), default=-1)


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
