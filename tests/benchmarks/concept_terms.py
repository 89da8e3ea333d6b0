"""Evidence and terms: 100 thousand users × 100 thousand items, and 1 million × 1 million."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import TermSettings
from recsae_lib.platform.spark.session import open_session
from tests.benchmarks.harness import Figure, Usage, interleaved_seconds, medians

LATENTS, K, TOP_N, ITEMS_PER_LATENT = 4096, 8, 20, 200
VOCABULARY, CATEGORIES = 30_000, 200
BLOCK_LATENTS = 128  # of the peer's sparse product: all of it at once would not fit into memory
CONDITIONS = (
    f"M={LATENTS}, k={K}, top {TOP_N}, {ITEMS_PER_LATENT} items a latent; Parquet in, Parquet out, both in the time; "
    "local[2] as in conf/spark/local.conf; the peer is one scipy and scikit-learn process, its data in memory already"
)


@dataclass(frozen=True)
class Size:
    """Users, items, and how often it is measured (medians)."""

    name: str
    users: int
    items: int
    repetitions: int


SIZES = (Size("100k", 100_000, 100_000, 3), Size("1M", 1_000_000, 1_000_000, 3))


def measure(work: Path) -> list[Figure]:
    for size in SIZES:
        write_data(work / size.name, size)
    spark = open_session(
        "bench", Path("conf/spark/local.conf"), {"spark.sql.catalog.recsae.warehouse": str(work / "warehouse")}
    )
    figures = []
    for size in SIZES:  # before the peer's matrices are there
        for name, step in (("evidence", run_evidence), ("terms", run_terms)):
            with Usage() as usage:
                step(spark, work / size.name)
            figures += [
                Figure(f"{name} {size.name}, peak memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
                Figure(f"{name} {size.name}, processor time", usage.cpu_seconds, "s", conditions="sum over the cores"),
            ]
    totals = {}
    for size in SIZES:
        folder = work / size.name
        peer = Peer.load(folder)
        seconds = medians(
            interleaved_seconds(
                {
                    "evidence": partial(run_evidence, spark, folder),
                    "evidence peer": peer.evidence,
                    "terms": partial(run_terms, spark, folder),
                    "terms peer": peer.terms,
                },
                size.repetitions,
            )
        )
        del peer
        for measured, peer_name in (
            ("evidence", "scipy CSR product, top 200"),
            ("terms", "CountVectorizer, CSR product"),
        ):
            value, bare = seconds[measured], seconds[f"{measured} peer"]
            figures += [
                Figure(f"{measured} {size.name}", value, "s", peer_name, value / bare, f"{size.users} x {size.items}"),
                Figure(f"{measured} {size.name}, peer", bare, "s"),
            ]
        totals[size.name] = seconds["evidence"] + seconds["terms"]
        figures.append(Figure(f"evidence and terms {size.name}", totals[size.name], "s"))
    spark.stop()
    figures.append(
        Figure("1M over 100k", totals["1M"] / totals["100k"], "times", "100k", totals["1M"] / totals["100k"])
    )
    return figures


def run_evidence(spark: SparkSession, folder: Path) -> None:
    evidence = link_latents_to_items(
        _read(spark, folder, "activations"), _read(spark, folder, "linked"), ITEMS_PER_LATENT
    )
    evidence.write.mode("overwrite").parquet(str(folder / "latent_items"))


def run_terms(spark: SparkSession, folder: Path) -> None:
    terms = concept_terms(_read(spark, folder, "latent_items"), _read(spark, folder, "items"), TermSettings())
    terms.write.mode("overwrite").parquet(str(folder / "concept_terms"))


def _read(spark: SparkSession, folder: Path, name: str) -> DataFrame:
    return spark.read.parquet(str(folder / name))


def write_data(folder: Path, size: Size) -> None:
    """Write activations, linked items and catalogue, once; the same seed gives the same files.

    Popular items are linked more often (density of the item's rank r: 1/√r), latents fire alike, words and categories
    follow Zipf's law, a title has 2 to 7 words, an item 1 to 3 categories.
    """
    if (folder / "finished").exists():
        return
    random = np.random.default_rng(2026)
    users = [f"user-{n:07d}" for n in range(size.users)]
    latents = random.integers(0, LATENTS - K, (size.users, K)).astype(np.int32)
    latents = (np.sort(latents, axis=1) + np.arange(K, dtype=np.int32)).astype(np.int32)  # distinct
    activations = random.exponential(1.0, latents.shape).astype(np.float32)
    _write(folder / "activations", user_id=users, latent_ids=_lists(latents), activations=_lists(activations))
    item_ids = np.array([f"item-{n:07d}" for n in random.permutation(size.items)], dtype=object)
    linked = (size.items * random.random((size.users, TOP_N)) ** 2).astype(np.int64)
    _write(folder / "linked", user_id=users, item_ids=_lists(linked, pa.array(item_ids)))
    stop_words = sorted(ENGLISH_STOP_WORDS)
    words = np.array(
        [stop_words[n // 8] if n % 8 == 3 and n < 800 else f"word{n}x" for n in range(VOCABULARY)], dtype=object
    )
    frequency = 1 / np.arange(1, VOCABULARY + 1)
    drawn = random.choice(VOCABULARY, size=(size.items, 7), p=frequency / frequency.sum())
    lengths = random.integers(2, 8, size.items)
    titles = [" ".join(words[row[:length]]).title() for row, length in zip(drawn, lengths, strict=True)]
    share = 1 / np.arange(1, CATEGORIES + 1)
    category = random.choice(CATEGORIES, size=(size.items, 3), p=share / share.sum())
    counts = random.integers(1, 4, size.items)
    features = pa.ListArray.from_arrays(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        pa.array([f"Category {n}" for n in category[np.arange(3) < counts[:, None]]]),
    )
    _write(folder / "items", item_id=item_ids, title=titles, text=titles, features=features)
    (folder / "finished").touch()


def _lists(matrix: np.ndarray, values: pa.Array | None = None) -> pa.ListArray:
    flat = pa.array(matrix.ravel())
    offsets = np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, flat if values is None else values.take(flat))


def _write(path: Path, **columns: object) -> None:
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path / "part-0.parquet", row_group_size=65_536)


@dataclass
class Peer:
    """The bare operation: sparse products in one process, ids as indices from the start."""

    activations: csr_matrix
    linked: csr_matrix
    texts: list[str]
    features: list[list[str]]
    weights: csr_matrix | None = None

    @classmethod
    def load(cls, folder: Path) -> Peer:
        """Read the data and number ids, which is not part of the peer's time."""
        fired = pq.read_table(folder / "activations").combine_chunks()
        latents, values = (fired.column(name).combine_chunks().flatten() for name in ("latent_ids", "activations"))
        users = fired.num_rows
        rows = np.repeat(np.arange(users), K)
        activations = csr_matrix((values.to_numpy(), (latents.to_numpy(), rows)), shape=(LATENTS, users))
        catalogue = pq.read_table(folder / "items")
        links = pq.read_table(folder / "linked", columns=["item_ids"]).column(0).combine_chunks().flatten()
        indices = np.array(pc.index_in(links, catalogue.column("item_id").combine_chunks()))
        linked = csr_matrix(
            (np.ones(len(indices), np.float32), indices, np.arange(0, len(indices) + 1, TOP_N)),
            shape=(users, catalogue.num_rows),
        )
        linked.sum_duplicates()
        linked.data[:] = 1
        return cls(activations, linked, catalogue.column("text").to_pylist(), catalogue.column("features").to_pylist())

    def evidence(self) -> None:
        blocks = []
        for start in range(0, LATENTS, BLOCK_LATENTS):
            product = self.activations[start : start + BLOCK_LATENTS] @ self.linked
            for row in range(product.shape[0]):
                low, high = product.indptr[row], product.indptr[row + 1]
                data = product.data[low:high]
                best = np.argpartition(-data, min(ITEMS_PER_LATENT, len(data) - 1))[:ITEMS_PER_LATENT]
                blocks.append(
                    csr_matrix(
                        (data[best], product.indices[low:high][best], [0, len(best)]), shape=(1, product.shape[1])
                    )
                )
        self.weights = vstack(blocks).tocsr()

    def terms(self) -> None:
        assert self.weights is not None
        needed = np.unique(self.weights.indices)
        words = CountVectorizer(ngram_range=(1, 2), stop_words="english").fit_transform(
            self.texts[item] for item in needed
        )
        features = CountVectorizer(analyzer=lambda names: set(names)).fit_transform(
            self.features[item] for item in needed
        )
        for terms in (words, features):
            evidence = self.weights[:, needed] @ terms
            evidence.sum(axis=0)
