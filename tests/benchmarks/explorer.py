"""The page of a large audit: built from tables by Spark, then opened in Chromium."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import PathSettings
from recsae_lib.explorer.build import write_concepts
from recsae_lib.explorer.overview import overview
from recsae_lib.explorer.site import Site
from recsae_lib.platform.spark.session import open_session
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import Table
from tests.benchmarks.harness import Figure, Usage
from tests.chromium import chromium

LATENTS, ITEMS, USERS, DIMENSION, K, WORDS = 65_536, 100_000, 100_000, 64, 16, 20_000
LISTED, CASES, SEARCHES = 200, 20, 9
HEAP = "1536m"  # Java takes what it may: this shows that it needs no more
DT = date(2026, 11, 20)
CONDITIONS = (
    f"{LATENTS:,} latents with {LISTED} linked items, 40 pushed ones, 20 terms and {CASES} cases each, {ITEMS:,} "
    f"items, {USERS:,} users of {K} latents, {WORDS:,} words; local[2] as in conf/spark/local.conf, with a heap of "
    f"{HEAP}; without a knob; Chromium opens the page from its folder"
)
NAMES = {
    "namespace": "bench",
    "catalog": "recsae",
    "dt": DT.isoformat(),
    "model": "sasrec",
    "recommender_name": "recommender-bench",
    "model_version": 1,
    "sae_name": "recsae-bench",
    "sae_version": 1,
    "mlflow": None,
    "published": "2026-11-20 05:00",
    "publication": 1,
    "tables": ["concepts"],
    "nights": [DT.isoformat()],
    "limits": {"confidence": 0.8, "significance": 0.05, "removal": 0.2, "found_again": 0.7},
    "missing": {"map": None, "knob": "its catalogue is too large"},
    "knob": None,
}


def measure(work: Path) -> list[Figure]:
    spark = open_session("bench", Path("conf/spark/local.conf"), {"spark.driver.memory": HEAP})
    read = tables_at(spark, work / "tables")
    decoder = np.random.default_rng(2026).standard_normal((LATENTS, DIMENSION)).astype(np.float32)
    with Usage() as usage:
        started = time.perf_counter()
        with Site(PathSettings(var=str(work)), "bench", DT) as site:
            live, described = write_concepts(read, decoder, "recommended", False, 2026, site.write)
            summary = overview(read) | {"nights": []}
            page = site.finish(NAMES | described, summary, len(live))
        seconds = time.perf_counter() - started
    spark.stop()
    packed = {str(file.relative_to(page.parent)): _packed_bytes(file) for file in page.parent.glob("data-*/**/*.js")}
    index = sum(size for name, size in packed.items() if "/index/" in name)
    words = sum(size for name, size in packed.items() if "/words/" in name)
    figures = [
        Figure("seconds to build", seconds, "s"),
        Figure("peak memory", usage.gib, "GiB", conditions="driver, JVM, Python workers"),
        Figure("largest shard", max(packed.values()) / 1024, "KiB", conditions="gzip"),
        Figure("index of concepts", index / 2**20, "MiB", conditions="gzip"),
        Figure("words and titles that are searched", words / 2**20, "MiB", conditions="gzip"),
        Figure("whole page", sum(packed.values()) / 2**20, "MiB", conditions="gzip"),
    ]
    return figures + in_browser(page)


def in_browser(page: Path) -> list[Figure]:
    """First paint of the overview, and how long a search takes until its hits stand there."""
    search = """
      const [query, done] = arguments, box = document.getElementById("hits"), input = document.getElementById("query");
      const started = performance.now();
      const end = () => done(performance.now() - started);
      const watch = new MutationObserver(() => { watch.disconnect(); requestAnimationFrame(end); });
      watch.observe(box, { childList: true });
      input.value = query;
      input.dispatchEvent(new Event("input"));
    """
    painted = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    with TemporaryDirectory() as folder, chromium(Path(folder)) as browser:
        paints = []
        for _ in range(5):
            browser.get("about:blank")
            browser.get(page.resolve().as_uri())
            paints.append(_until(lambda: browser.execute_script(painted)))
        _until(lambda: browser.execute_script("return document.body.dataset.ready"))
        queries = [f"w{number * 1741 % WORDS}" for number in range(SEARCHES)]
        seconds = [float(browser.execute_async_script(search, query)) for query in queries]
    return [
        Figure("first paint", median(paints), "ms"),
        Figure("a search", median(seconds), "ms"),
        Figure("the slowest search", max(seconds), "ms"),
    ]


def tables_at(spark: SparkSession, folder: Path) -> Callable[[Table], DataFrame]:
    """Write the tables of a large audit once; returns what reads them."""
    made = made_tables(spark)

    def read(table: Table) -> DataFrame:
        if table.name not in made:
            return spark.createDataFrame([], table.schema)
        place = folder / table.name
        if not (place / "_SUCCESS").exists():
            _filled(made[table.name], table).write.mode("overwrite").parquet(str(place))
        return spark.read.parquet(str(place))

    for table in tables.TABLES.values():
        read(table)
    return read


def made_tables(spark: SparkSession) -> dict[str, DataFrame]:
    """Rows that look like those of an audit: Zipf-like words, some confirmed latents, some without a name."""

    def drawn(salt: str, below: int) -> str:
        return f"cast(pow(rand({sum(map(ord, salt))}), 2) * {below} as int)"

    def word(salt: str) -> str:
        return f"concat('w', {drawn(salt, WORDS)})"

    latents = spark.range(LATENTS).selectExpr("cast(id as int) latent_id")

    def ranked(number: int) -> DataFrame:
        return latents.selectExpr("latent_id", f"explode(sequence(1, {number})) rank")

    label = f"concat({word('a')}, ', ', {word('b')}, ' ', {word('c')})"
    item = f"cast({drawn('item', ITEMS)} as string)"
    pushed = ranked(40).selectExpr("latent_id", "if(rank <= 20, rank, 20 - rank) rank")
    features = ranked(12).selectExpr("latent_id", "if(rank <= 6, rank, 6 - rank) rank")
    linked = f"transform(sequence(1, 20), i -> cast(cast(pow(rand(7), 2) * {ITEMS} as int) as string))"
    users = spark.range(USERS).selectExpr("cast(id as string) user_id", "id")
    return {
        "items": spark.range(ITEMS).selectExpr(
            "cast(id as string) item_id",
            f"concat({word('d')}, ' ', {word('e')}, ' ', {word('f')}, ' (', 1950 + id % 70, ')') title",
            "array(concat('feature ', id % 200)) features",
            "array(concat('released: ', 1950 + id % 70)) derived_features",
        ),
        "concepts": latents.selectExpr(
            "latent_id",
            f"{label} label",
            f"concat('Fires for users whose items stand out by ', {label}) description",
            "if(latent_id % 5 = 0, 'unlabelled', 'labelled') status",
            "latent_id % 5 > 1 interpretable",
            "latent_id % 5 > 2 confirmed",
            "round(0.4 + 0.6 * rand(1), 4) confidence",
            "cast(20 + latent_id % 400 as long) active_users",
            "rand(2) / 100 density",
            "1.5D mean_activation",
            "rand(3) removal_effect",
            "rand(4) found_again",
            "rand(5) / 10 q_value",
        ),
        "concept_terms": ranked(20).selectExpr(
            "latent_id", "rank", f"{word('t')} term", "'word' kind", "rank <= 12 significant", "rand(6) * 9 z_score"
        ),
        "latent_items": ranked(LISTED).selectExpr("latent_id", "rank", f"{item} item_id", "rand(8) weight", "9L users"),
        "latent_effects": pushed.selectExpr(
            "latent_id", "rank", "'item' kind", f"{item} item_id", "rand(9) effect"
        ).unionByName(
            features.selectExpr(
                *("latent_id", "rank", "'feature' kind", "concat('feature ', abs(rank) * latent_id % 200) feature"),
                *("rand(10) effect", "rand(11) - 0.5 output_score", "rand(12) / 10 q_value"),
            ),
            allowMissingColumns=True,
        ),
        "concept_scores": latents.selectExpr("latent_id", "'terms' judge", "rand(13) confidence", "40 cases"),
        "shuffled_scores": latents.selectExpr("latent_id", "'terms' judge", "rand(14) confidence"),
        "concept_drift": latents.selectExpr(
            *("latent_id", "latent_id previous_latent_id", "date'2026-11-19' previous_dt", f"{label} previous_label"),
            *("element_at(array('stable', 'drifted', 'born'), cast(latent_id % 3 + 1 as int)) change",),
        ),
        "verification_cases": ranked(CASES).selectExpr(
            *("latent_id", "'terms' judge", f"cast({drawn('user', USERS)} as string) user_id", "'random' kind"),
            *("rank % 2 = 0 fires", "rand(15) < 0.7 judged"),
        ),
        "recommendations": users.selectExpr("user_id", f"{linked} item_ids", f"{linked} context_ids"),
        "latent_activations": users.selectExpr(
            "user_id",
            f"transform(sequence(1, {K}), i -> cast((id * 31 + i * 4099) % {LATENTS} as int)) latent_ids",
            f"transform(sequence(1, {K}), i -> cast(3 * rand(16) as float)) activations",
        ),
        "audit_metrics": spark.createDataFrame(
            [("sae", "live_units", float(LATENTS)), ("sae", "interpretable_units", 0.6 * LATENTS)],
            "unit_kind string, metric string, value double",
        ),
    }


def _filled(rows: DataFrame, table: Table) -> DataFrame:
    """Rows with all columns of a table: those that matter to nobody here are empty."""
    blank: dict[str, Any] = {"string": "", "boolean": False, "date": DT}
    columns = []
    for field in table.schema.fields:
        kind = field.dataType.simpleString()
        if field.name in rows.columns:
            same = F.col(field.name)
            columns.append(same if kind.startswith("array") else same.cast(field.dataType).alias(field.name))
        elif kind.startswith("array"):
            columns.append(F.array().cast(field.dataType).alias(field.name))
        else:
            value = None if field.nullable else blank.get(kind, 0)
            columns.append(F.lit(value).cast(field.dataType).alias(field.name))
    return rows.select(*columns)


def _packed_bytes(file: Path) -> int:
    packed = base64.b64decode(file.read_text("ascii").split('"')[3])
    assert gzip.decompress(packed)
    return len(packed)


def _until(found: Callable[[], Any], seconds: float = 60.0) -> float:
    end = time.monotonic() + seconds
    while (value := found()) is None:
        if time.monotonic() > end:
            raise TimeoutError("The page does not show what is waited for")
        time.sleep(0.02)
    return float(value) if isinstance(value, int | float) else 0.0
