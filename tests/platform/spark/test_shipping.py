"""Model files on executors that are processes of their own, with working directories of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workspace import REPOSITORY, TINY_QUERIES, own_spark_home, write_properties

PROGRAM = """
import sys
from pathlib import Path
import pyarrow
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.spark.session import open_session

spark = open_session("shipping", Path(sys.argv[1]))
shipped = ship_folder(spark, Path(sys.argv[2]))

def contents(batches):
    for batch in batches:
        words = [(Path(shipped) / name).read_text() for name in ("a.txt", "b.txt")]
        yield pyarrow.RecordBatch.from_pydict({"words": [" ".join(words)] * batch.num_rows})

rows = spark.range(4, numPartitions=4).mapInArrow(contents, "words string").collect()
print(sorted({row.words for row in rows}), len(rows))
spark.stop()
"""


@pytest.mark.integration
def test_executors_of_a_cluster_read_the_files_under_their_names(tmp_path: Path) -> None:
    (folder := tmp_path / "model").mkdir()
    for name, word in {"a.txt": "first", "b.txt": "second"}.items():
        (folder / name).write_text(word, encoding="utf-8")
    properties = tmp_path / "cluster.conf"
    cluster = {"spark.master": "local-cluster[1,1,512]", "spark.executor.memory": "512m"}
    write_properties(properties, {**TINY_QUERIES, **cluster})
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "SPARK_HOME": str(own_spark_home(tmp_path))}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(properties), str(folder)],
        cwd=REPOSITORY,
        env={**environment, "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout.splitlines()[-1:] == ["['first second'] 4"], ended.stderr[-3000:]
