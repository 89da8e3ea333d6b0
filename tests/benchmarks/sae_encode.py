"""Encoding with the sparse autoencoder: the kernel against torch, and Spark against one bare process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import torch

from recsae_lib.config import Scope
from recsae_lib.platform.spark.session import open_session
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.representations.parts import parts_of, read_part
from recsae_lib.sae.encoding import encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians
from tests.benchmarks.synthetic import write_representations

ROWS, DIMENSION, NUM_LATENTS, K, THREADS = 2_000_000, 64, 1024, 16, 2
KERNEL_ROWS, KERNEL_LATENTS = 65_536, (1024, 4096)
REPETITIONS, SPARK_REPETITIONS = 5, 9
WARMING_RUNS = 4  # after which a JVM has compiled what a commit takes
REPEATING = ["user_id", "latent_ids.list.element"]  # columns of which Parquet keeps a dictionary, as in the table
CONDITIONS = (
    f"kernel: {KERNEL_ROWS:,} rows, d={DIMENSION}, k={K}, one thread, against torch linear + relu + topk; Spark: "
    f"{ROWS:,} rows, M={NUM_LATENTS}, what the job does from the Parquet of extraction to the committed partition of "
    f"the Iceberg table, local[{THREADS}], warm, against one process whose {THREADS} threads read files, encode with "
    "the same kernel and write Parquet with the same options, without a table"
)


def measure(work: Path) -> list[Figure]:
    write_representations(work / "representations", ROWS, DIMENSION)
    figures = [figure for latents in KERNEL_LATENTS for figure in kernel(latents)]
    return figures + spark_against_bare(work)


def kernel(num_latents: int) -> list[Figure]:
    torch.set_num_threads(1)
    x = torch.randn(KERNEL_ROWS, DIMENSION, generator=torch.Generator().manual_seed(1))
    sae = SparseAutoencoder.initialise(x[:2000], num_latents, K, seed=0)

    @torch.no_grad()
    def plain() -> torch.Tensor:
        parts = (torch.addmm(sae.b_enc, batch - sae.b_dec, sae.W_enc.T) for batch in x.split(4096))
        return torch.cat([torch.relu(part).topk(K).values for part in parts])

    actions = {"recsae": lambda: sae.encode(x), "torch": plain}
    torch.testing.assert_close(sae.encode(x)[0], plain())  # of ties, either may name another latent
    seconds = medians(interleaved_seconds(actions, REPETITIONS))
    ours, peer = KERNEL_ROWS / seconds["recsae"], KERNEL_ROWS / seconds["torch"]
    return [
        Figure(f"kernel, M={num_latents}", ours, "rows/s", "torch linear + relu + topk", ours / peer),
        Figure(f"torch, M={num_latents}", peer, "rows/s"),
    ]


def spark_against_bare(work: Path) -> list[Figure]:
    representations = work / "representations"
    sample = torch.from_numpy(np.random.default_rng(0).standard_normal((2000, DIMENSION), dtype=np.float32))
    save_sae(SparseAutoencoder.initialise(sample, NUM_LATENTS, K, seed=0), work / "sae", {})
    overrides = {"spark.sql.catalog.recsae.warehouse": str((work / "warehouse").absolute())}
    spark = open_session("bench", Path("conf/spark/local.conf"), overrides)
    scopes: dict[Scope, str] = {"data": "bench", "model": "bench", "audit": "bench"}
    warehouse = Warehouse(spark, "recsae", scopes, date(2026, 11, 20), SimpleNamespace(model_version=1, sae_version=1))
    encode = encode_batches(ship_folder(spark, work / "sae"), sample.numpy())

    def ours() -> None:
        parts = parts_of(str(representations), spark.sparkContext.defaultParallelism)
        encoded = warehouse.replace_by_files(tables.LATENT_ACTIVATIONS, parts, lambda part: encode(read_part(part)))
        assert encoded == ROWS

    plain = encode_batches(work / "sae", sample.numpy())
    (work / "encoded-plainly").mkdir(exist_ok=True)

    def bare_file(path: Path) -> None:
        source = pq.ParquetFile(path).iter_batches(10_000, columns=["user_id", "representation"], use_threads=False)
        batches = plain(source)
        first = next(iter(batches))
        target = work / "encoded-plainly" / path.name
        with pq.ParquetWriter(target, first.schema, compression="zstd", use_dictionary=REPEATING) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)

    def bare() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(bare_file, sorted(representations.glob("*.parquet"))))

    for _ in range(WARMING_RUNS):
        ours()
    bare()
    with Usage() as usage:
        ours()
    with Usage() as bare_usage:
        bare()
    seconds = medians(interleaved_seconds({"spark": ours, "bare": bare}, SPARK_REPETITIONS))
    spark.stop()
    speed, peer = ROWS / seconds["spark"], ROWS / seconds["bare"]
    cpu, bare_cpu = usage.cpu_seconds, bare_usage.cpu_seconds
    return [
        Figure("encode in Spark", speed, "rows/s", "one bare process", speed / peer),
        Figure("one bare process", peer, "rows/s"),
        Figure("encode in Spark, processor time", cpu, "s", "one bare process", cpu / bare_cpu),
        Figure("encode in Spark, memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
    ]
