"""Encoding with the sparse autoencoder: the kernel against torch, and Spark against one bare process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from recsae_lib.sae.encoding import ENCODED_COLUMNS, encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from recsae_lib.shipping import ship_folder
from recsae_lib.spark_session import open_session
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians

ROWS, DIMENSION, NUM_LATENTS, K, PARTS = 2_000_000, 64, 1024, 16, 8
KERNEL_ROWS, KERNEL_LATENTS = 65_536, (1024, 4096)
REPETITIONS = 5
CONDITIONS = (
    f"kernel: {KERNEL_ROWS:,} rows, d={DIMENSION}, k={K}, one thread, against torch linear + relu + topk; Spark: "
    f"{ROWS:,} rows, M={NUM_LATENTS}, Parquet in and out, local[2], warm, against one process with two threads that "
    "reads, encodes with the same kernel and writes Parquet"
)


def measure(work: Path) -> list[Figure]:
    write_representations(work / "representations")
    figures = [figure for latents in KERNEL_LATENTS for figure in kernel(latents)]
    return figures + spark_against_bare(work)


def kernel(num_latents: int) -> list[Figure]:
    torch.set_num_threads(1)
    x = torch.randn(KERNEL_ROWS, DIMENSION, generator=torch.Generator().manual_seed(1))
    sae = SparseAutoencoder.initialise(x[:2000], num_latents, K, seed=0)

    @torch.no_grad()
    def plain() -> None:
        for batch in x.split(4096):
            torch.relu(torch.addmm(sae.b_enc, batch - sae.b_dec, sae.W_enc.T)).topk(K)

    actions = {"recsae": lambda: sae.encode(x), "torch": plain}
    for action in actions.values():
        action()
    seconds = medians(interleaved_seconds(actions, REPETITIONS))
    ours, peer = KERNEL_ROWS / seconds["recsae"], KERNEL_ROWS / seconds["torch"]
    return [
        Figure(f"kernel, M={num_latents}", ours, "rows/s", "torch linear + relu + topk", ours / peer),
        Figure(f"torch, M={num_latents}", peer, "rows/s"),
    ]


def spark_against_bare(work: Path) -> list[Figure]:
    sample = torch.from_numpy(_rows(0, 2000))
    save_sae(SparseAutoencoder.initialise(sample, NUM_LATENTS, K, seed=0), work / "sae", {})
    spark = open_session("bench", Path("conf/spark/local.conf"), {})
    encode = encode_batches(ship_folder(spark, work / "sae"))

    def ours() -> None:
        rows = spark.read.parquet(str(work / "representations")).select("user_id", "representation")
        rows.mapInArrow(encode, ENCODED_COLUMNS).write.mode("overwrite").parquet(str(work / "encoded"))

    def bare() -> None:
        (work / "encoded-plainly").mkdir(exist_ok=True)
        plain = encode_batches(work / "sae")
        for part in range(PARTS):
            source = pq.ParquetFile(work / "representations" / f"part-{part}.parquet")
            writer = None
            for batch in plain(source.iter_batches(10_000)):
                if writer is None:
                    writer = pq.ParquetWriter(work / "encoded-plainly" / f"part-{part}.parquet", batch.schema)
                writer.write_batch(batch)
            if writer is not None:
                writer.close()

    ours()
    with Usage() as usage:
        ours()
    seconds = medians(interleaved_seconds({"spark": ours, "bare": bare}, REPETITIONS))
    spark.stop()
    speed, peer = ROWS / seconds["spark"], ROWS / seconds["bare"]
    return [
        Figure("encode in Spark", speed, "rows/s", "one bare process", speed / peer),
        Figure("one bare process", peer, "rows/s"),
        Figure("encode in Spark, memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
    ]


def write_representations(folder: Path) -> None:
    """Write random representations, once; the same seed gives the same files."""
    if (folder / "_finished").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = ROWS // PARTS
    for part in range(PARTS):
        offsets = np.arange(0, rows * DIMENSION + 1, DIMENSION, dtype=np.int32)
        columns = {
            "user_id": [f"user-{part}-{n:06d}" for n in range(rows)],
            "representation": pa.ListArray.from_arrays(offsets, pa.array(_rows(part, rows).reshape(-1))),
        }
        pq.write_table(pa.table(columns), folder / f"part-{part}.parquet", row_group_size=rows // 4)
    (folder / "_finished").touch()


def _rows(part: int, rows: int) -> np.ndarray:
    return np.random.default_rng([2026, part]).standard_normal((rows, DIMENSION), dtype=np.float32)
