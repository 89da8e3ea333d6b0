"""Extraction of representations: assembly of histories, Spark inference, and the price of further probing sites."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pyspark import StorageLevel
from pyspark.sql import SparkSession

from recsae_lib.config import RepresentationSettings, SasrecSettings
from recsae_lib.platform.spark.session import open_session
from recsae_lib.recommenders.histories import histories_from_arrow
from recsae_lib.recommenders.inputs import model_inputs
from recsae_lib.recommenders.store import load_recommender
from recsae_lib.representations.extract import extract, site_column, sites_of
from recsae_lib.representations.layout import RowKind
from recsae_lib.representations.write import write_sets
from tests.benchmarks.harness import Figure, interleaved_seconds, medians
from tests.benchmarks.synthetic import write_histories, write_sasrec

INTERACTIONS, USERS, ITEMS = 50_000_000, 1_000_000, 100_000
SITE_INTERACTIONS, SITE_USERS = 1_500_000, 30_000
PROBED_USERS, DIMENSION, HISTORY = 400_000, 64, 20
SITES = ("last", "blocks.0", "blocks.1")
PARTS = 8
REPETITIONS = 5
CONDITIONS = (
    f"assembly: {INTERACTIONS:,} interactions of {USERS:,} users with {ITEMS:,} items, text ids, Parquet in and out; "
    f"inference: SASRec of 2 blocks, d={DIMENSION}, history {HISTORY}, {PROBED_USERS:,} users, Parquet in and out; "
    f"sites: all rows of an extraction and its assembly, {SITE_INTERACTIONS:,} interactions of {SITE_USERS:,} users; "
    "local[2], warm; the peers are one numpy process (1 thread) and one torch process (2 threads)"
)


def measure(work: Path) -> list[Figure]:
    write_sasrec(work / "model", ITEMS, DIMENSION, SasrecSettings(layers=2, history_length=HISTORY))
    write_interactions(work / "interactions", INTERACTIONS, USERS, PARTS)
    write_interactions(work / "site-interactions", SITE_INTERACTIONS, SITE_USERS, parts=1)
    write_histories(work / "histories", PROBED_USERS, ITEMS, HISTORY, PARTS)
    spark = open_session("bench", Path("conf/spark/local.conf"), {})
    figures = assembly(spark, work)
    figures += inference(spark, work)
    figures += sites(spark, work)
    spark.stop()
    return figures


def assembly(spark: SparkSession, work: Path) -> list[Figure]:
    """Interactions to histories: the join with the vocabulary, the sort by user and time, the grouping."""

    def ours() -> None:
        rows = model_inputs(spark.read.parquet(str(work / "interactions")), work / "model")
        rows.write.mode("overwrite").parquet(str(work / "assembled"))

    with JvmMemory() as memory:
        ours()
    seconds = medians(interleaved_seconds({"spark": ours, "numpy": lambda: assemble_plainly(work)}, 3))
    return [
        Figure("assembly", seconds["spark"], "s", "one numpy process", seconds["spark"] / seconds["numpy"]),
        Figure("assembly, peer", seconds["numpy"], "s"),
        Figure("assembly, memory of the JVM", memory.gib, "GiB", conditions="largest proportional set size"),
    ]


def assemble_plainly(work: Path) -> None:
    """The same by arrays in memory: indices of the ids, one sort by user and time, lists, Parquet."""
    table = pq.read_table(work / "interactions", columns=["user_id", "item_id", "ts"])
    vocabulary = pq.read_table(work / "model" / "items.parquet", columns=["item_id"]).column(0).combine_chunks()
    items = pc.index_in(table.column("item_id"), vocabulary).to_numpy().astype(np.int32)
    users = table.column("user_id").combine_chunks().dictionary_encode()
    if isinstance(users, pa.ChunkedArray):
        users = users.combine_chunks()
    codes = users.indices.to_numpy()
    order = np.lexsort((items, table.column("ts").cast(pa.int64()).to_numpy(), codes))
    counts = np.bincount(codes, minlength=len(users.dictionary))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    lists = pa.ListArray.from_arrays(offsets, pa.array(items[order]))
    (work / "assembled-plainly").mkdir(exist_ok=True)
    pq.write_table(
        pa.table({"user_id": users.dictionary, "item_indices": lists}), work / "assembled-plainly" / "part-0.parquet"
    )


def inference(spark: SparkSession, work: Path) -> list[Figure]:
    """Histories to representations of the default site."""
    settings = RepresentationSettings()

    def ours() -> None:
        rows = extract(spark.read.parquet(str(work / "histories")), work / "model", "last", settings, 0)
        rows.write.mode("overwrite").parquet(str(work / "represented"))

    model = load_recommender(work / "model")
    torch.set_num_threads(2)

    def bare() -> None:
        folder = work / "represented-plainly"
        folder.mkdir(exist_ok=True)
        for part in range(PARTS):
            source = pq.ParquetFile(work / "histories" / f"part-{part}.parquet")
            schema = pa.schema([("user_id", pa.string()), ("representation", pa.list_(pa.float32()))])
            with pq.ParquetWriter(folder / f"part-{part}.parquet", schema) as writer:
                for batch in source.iter_batches(
                    settings.batch_size, columns=["user_id", "user_index", "item_indices"]
                ):
                    histories = histories_from_arrow(batch.column("user_index"), batch.column("item_indices"))
                    x = model.represent(model.build_inputs(histories)).numpy()
                    offsets = np.arange(0, x.size + 1, x.shape[1], dtype=np.int32)
                    lists = pa.ListArray.from_arrays(offsets, pa.array(x.reshape(-1)))
                    writer.write_batch(pa.RecordBatch.from_arrays([batch.column("user_id"), lists], schema=schema))

    ours()
    seconds = medians(interleaved_seconds({"spark": ours, "bare": bare}, REPETITIONS))
    return [
        Figure(
            "inference",
            PROBED_USERS / seconds["spark"],
            "rows/s",
            "one torch process",
            seconds["bare"] / seconds["spark"],
        ),
        Figure("inference, peer", PROBED_USERS / seconds["bare"], "rows/s"),
    ]


def sites(spark: SparkSession, work: Path) -> list[Figure]:
    """What the job extract_representations does between the tables and the written sets, for one site and for three."""
    interactions = spark.read.parquet(str(work / "site-interactions"))

    def run(names: tuple[str, ...]) -> None:
        settings = RepresentationSettings(sites=names)
        histories = model_inputs(interactions, work / "model").persist(StorageLevel.DISK_ONLY)
        for rows in get_args(RowKind):
            found = sites_of(rows, settings)
            targets = {site_column(site): str(work / "sets" / str(len(names)) / site / rows) for site in found}
            extracted = extract(histories, work / "model", rows, settings, 0)
            write_sets(extracted, targets, "representation", settings.row_group_mib, settings.minimum_row_groups)
        histories.unpersist(blocking=True)

    run(SITES)
    seconds = medians(interleaved_seconds({"one": lambda: run(SITES[:1]), "three": lambda: run(SITES)}, 3))
    return [
        Figure("three sites", seconds["three"], "s", "one site", seconds["three"] / seconds["one"]),
        Figure("one site", seconds["one"], "s"),
    ]


class JvmMemory:
    """Largest proportional set size of the Java process while the context is open."""

    def __init__(self) -> None:
        self.gib = 0.0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> JvmMemory:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        java = [p for p in psutil.Process().children(recursive=True) if p.name() == "java"]
        while not self._ended.wait(0.5):
            self.gib = max(self.gib, max(p.memory_full_info().pss for p in java) / 2**30)


def write_interactions(folder: Path, interactions: int, users: int, parts: int) -> None:
    """Write shuffled interactions as the warehouse holds them, once; the same seed gives the same files."""
    if (folder / "_finished").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2026)
    user_ids = pa.array([f"user-{n:07d}" for n in range(users)])
    items = pa.array([f"item-{n:06d}" for n in range(ITEMS)])
    rows = interactions // parts
    for part in range(parts):
        ts = random.integers(1_600_000_000_000_000, 1_700_000_000_000_000, rows)
        columns = {
            "user_id": user_ids.take(pa.array(random.integers(0, users, rows))),
            "item_id": items.take(pa.array((ITEMS * random.random(rows) ** 2).astype(np.int64))),
            "ts": pa.array(ts, pa.timestamp("us", tz="UTC")),
            "source_order": pa.array(np.zeros(rows, np.int64)),
        }
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet")
    (folder / "_finished").touch()
