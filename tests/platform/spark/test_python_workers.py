"""Python workers of the session: forked by our daemon, which keeps zip directories and imports before the fork."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from types import ModuleType

import pyarrow as pa
import pytest
from pyspark import daemon
from pyspark.sql import SparkSession

from recsae_lib.platform.spark.python_workers import set_modules_apart


def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Say what a worker has: objects set apart for good, and objects made by dropping its import caches."""
    import gc
    import importlib
    import sys
    import zipimport

    for _ in batches:
        pass
    in_zips = [found for found in sys.path_importer_cache.values() if isinstance(found, zipimport.zipimporter)]
    before = [found._files for found in in_zips]  # type: ignore[attr-defined]
    importlib.invalidate_caches()
    read_again = sum(found._files is not files for found, files in zip(in_zips, before, strict=True))  # type: ignore[attr-defined]
    columns = {"frozen": [gc.get_freeze_count()], "zips": [len(in_zips)], "read_again": [read_again]}
    yield pa.RecordBatch.from_pydict(columns)


def test_a_worker_reads_no_zip_and_sets_its_modules_apart(spark: SparkSession) -> None:
    (worker,) = spark.range(1).repartition(1).mapInArrow(look, "frozen long, zips long, read_again long").collect()
    assert worker["zips"] > 0
    assert worker["read_again"] == 0
    assert worker["frozen"] > 50_000  # objects of numpy, pandas and pyarrow


def import_a_job(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Import the module of a job by the name under which it is installed."""
    from recsae_jobs import encode_latents

    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"module": [encode_latents.run.__module__]})


def test_a_worker_finds_the_jobs_where_they_are_installed(spark: SparkSession) -> None:
    (worker,) = spark.range(1).repartition(1).mapInArrow(import_a_job, "module string").collect()
    assert worker["module"] == "recsae_jobs.encode_latents"


def test_what_a_task_has_imported_is_set_apart_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon, "gc", gc)
    set_modules_apart()
    before = gc.get_freeze_count()
    daemon.gc.collect()
    assert gc.get_freeze_count() == before
    monkeypatch.setitem(sys.modules, "imported_by_a_task", ModuleType("imported_by_a_task"))
    daemon.gc.collect()
    after = gc.get_freeze_count()
    gc.unfreeze()
    assert after > before
