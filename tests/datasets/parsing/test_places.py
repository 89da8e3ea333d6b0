"""Line numbers against a plain count, however Spark cuts the files."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark import StorageLevel
from pyspark.sql import SparkSession

from recsae_lib.datasets.parsing.delimited import Layout, read_delimited
from recsae_lib.datasets.parsing.places import with_lines

LINES = st.lists(st.text(alphabet="ab,é\r€", max_size=8), max_size=8)


@example(files=[["a\r\r", "", "\r", "é€"], []], split_bytes=3, ended=False)
@given(files=st.lists(LINES, min_size=1, max_size=3), split_bytes=st.integers(8, 60), ended=st.booleans())
@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_line_gets_its_own_number_in_any_partitioning(
    spark: SparkSession, files: list[list[str]], split_bytes: int, ended: bool
) -> None:
    expected = []
    with tempfile.TemporaryDirectory() as folder:
        for index, lines in enumerate(files):
            text = "\n".join(lines) + ("\n" if ended else "")
            Path(folder, f"{index}.txt").write_bytes(text.encode())
            found = text.split("\n")[: -1 if text.endswith("\n") or not text else None]
            expected += [(index, number, line.removesuffix("\r")) for number, line in enumerate(found, start=1)]
        spark.conf.set("spark.sql.files.maxPartitionBytes", str(split_bytes))
        try:
            raw = read_delimited(spark, folder, Layout(",", names=("only",)))
            every = raw.rows.repartition(3).persist(StorageLevel.DISK_ONLY)
            rows = with_lines(every, every).select("file", "line", "record").collect()
            every.unpersist()
        finally:
            spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert sorted(tuple(row) for row in rows) == sorted(expected)
