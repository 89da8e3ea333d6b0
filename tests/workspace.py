"""A folder in which the tests run whole audits of the planted data set, and read back what they wrote."""

from __future__ import annotations

import fcntl
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyspark
import pytest
import yaml
from pyspark.sql import SparkSession

from recsae_lib.cli import main as cli
from recsae_lib.config import load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.platform.tracking.relocation import relocate_artifacts
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_TABLES, Table
from tests import local_files
from tests.planted import write_planted

REPOSITORY = Path(__file__).resolve().parents[1]
CLASS_ARCHIVES = REPOSITORY / "var" / "tests" / f"java-{local_files.DIGEST}"
DT = date(2026, 11, 20)

PLANTED_SETTINGS: dict[str, Any] = {
    "namespace": "planted",
    "spark": {"properties": "conf/tiny.conf"},
    "device": "cpu",
    "dataset": {"format": "csv", "interactions": "data/interactions.csv", "items": "data/items.csv"},
    "recommender": {"dimension": 16, "sasrec": {"inner_dimension": 16, "dropout": 0.1, "epochs": 30}},
    "recommendations": {"top_n": 10, "context_items": 10},
    "sae": {"expansion_factor": 2, "k": 2, "batch_size": 256, "epochs": 30, "learning_rate": 0.002},
}

# What suits the Spark of a test, whose queries are tiny: a list of rows is one task, and what is run once is not worth
# optimising. Audit after audit fills the code cache that a JVM without optimising compiler sets aside. Every sort and
# aggregate takes a page of memory, of 16 MB by itself, with which a small heap is full.
TINY_QUERIES = {
    "spark.driver.memory": "1g",
    "spark.buffer.pageSize": "1m",
    "spark.sql.shuffle.partitions": "2",
    "spark.default.parallelism": "1",
    "spark.sql.adaptive.coalescePartitions.initialPartitionNum": "2",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:+UseSerialGC "
    f"-Dlog4j2.configurationFile={REPOSITORY / 'conf' / 'spark' / 'log4j2.properties'}",
}


@dataclass(frozen=True)
class Workspace:
    """A folder in which audits run, with its own warehouse, registry and bulk files.

    Parameters
    ----------
    folder : working directory of the commands.
    catalog : name under which the tests' Spark session knows its warehouse.
    """

    folder: Path
    catalog: str
    spark: SparkSession

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command `recsae` in this folder."""
        command = [sys.executable, "-m", "recsae_lib.cli", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
        )

    def recsae(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command `recsae` in this folder and wait."""
        with self.start(*arguments) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def audit(self) -> subprocess.CompletedProcess[str]:
        """Run the whole audit."""
        return self.recsae("audit", "--conf", "conf/planted.yaml", "--dt", DT.isoformat())

    def recsae_here(self, *arguments: str) -> int:
        """Run the command `recsae` in the tests' process and warm Spark session; returns its exit code."""
        settings = [argument for setting in self._here for argument in ("--set", setting)]
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *settings])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    def relocate_models(self) -> None:
        """Give a copied MLflow the place that it has now, as `recsae relocate` does."""
        var = self.folder / "var"
        address = (var / "mlflow" / "artifacts").resolve().as_uri()
        assert list(relocate_artifacts(f"sqlite:///{var}/mlflow/mlflow.db", address))

    def context(self, job: str, *overrides: str, dt: date = DT) -> JobContext:
        """Return the context of a job that runs in the tests' process, on the same warehouse, registry and files."""
        settings = load_settings(None, self.folder / "conf" / "planted.yaml", [*self._here, *overrides])
        return JobContext(job, settings, dt)

    @property
    def places(self) -> list[str]:
        """Settings by which what runs in the tests' process writes into this folder and its warehouse."""
        return [
            f"catalog={self.catalog}",
            f"paths.var={self.folder}/var",
            f"paths.bulk={self.folder}/var/bulk",
            f"paths.tracking_uri=sqlite:///{self.folder}/var/mlflow/mlflow.db",
            f"paths.artifacts={self.folder}/var/mlflow/artifacts",
        ]

    @property
    def _here(self) -> list[str]:
        """The same, with the planted data in this folder."""
        return [
            *self.places,
            f"dataset.interactions={self.folder}/data/interactions.csv",
            f"dataset.items={self.folder}/data/items.csv",
        ]

    def warehouse(self, dt: date = DT) -> Warehouse:
        """Return the tables as the audit of `dt` sees them."""
        return Warehouse(self.spark, self.catalog, self.context("tests").namespaces, dt)

    def published(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rows of this date on main of every table that audits publish, sorted."""
        return {table.name: self.rows(table) for table in AUDIT_TABLES}

    def rows(self, table: Table, dt: date = DT) -> list[tuple[Any, ...]]:
        """Rows of one table on main, sorted."""
        return sorted((tuple(row) for row in self.warehouse(dt).read_published(table).collect()), key=repr)


def alike(left: Any, right: Any) -> bool:
    """Whether two values, rows or tables are the same, floats to 1e-6."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-6, abs_tol=1e-6) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(alike(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def different_tables(left: dict[str, Any], right: dict[str, Any]) -> list[str]:
    """Names of the tables that are not the same."""
    return [name for name in left if not alike(left[name], right[name])]


def open_workspace(spark: SparkSession, folder: Path, catalog: str) -> Workspace:
    """Lay out the data and settings of a workspace; the session learns its warehouse as `catalog`."""
    folder.mkdir(exist_ok=True)
    write_planted(folder / "data")
    (folder / "conf").mkdir()
    tiny = {**tiny_spark(), "spark.driver.extraJavaOptions": java_options()}
    write_properties(folder / "conf" / "tiny.conf", tiny)
    write_mlflow_database(folder / "var" / "mlflow" / "mlflow.db")
    (folder / "conf" / "planted.yaml").write_text(yaml.safe_dump(PLANTED_SETTINGS), encoding="utf-8")
    spark.conf.set(f"spark.sql.catalog.{catalog}", "org.apache.iceberg.spark.SparkCatalog")
    spark.conf.set(f"spark.sql.catalog.{catalog}.type", "hadoop")
    spark.conf.set(f"spark.sql.catalog.{catalog}.warehouse", str(folder / "var" / "warehouse"))
    spark.conf.set(f"spark.sql.catalog.{catalog}.cache-enabled", "false")
    return Workspace(folder, catalog, spark)


def write_properties(path: Path, properties: dict[str, str]) -> None:
    """Write the Spark properties that the suite ships with, changed by these."""
    shipped = (REPOSITORY / "conf" / "spark" / "local.conf").read_text(encoding="utf-8")
    path.write_text(shipped + "".join(f"{name} {value}\n" for name, value in properties.items()), encoding="utf-8")


def own_spark_home(folder: Path) -> Path:
    """Return a folder with the Spark of this environment in which a cluster may keep its work."""
    home = folder / "spark"
    home.mkdir()
    for part in Path(pyspark.__file__).parent.iterdir():
        (home / part.name).symlink_to(part)
    return home


@cache
def tiny_spark(*drivers: Path) -> dict[str, str]:
    """Spark properties of `TINY_QUERIES`, on the local file system of `tests.local_files`.

    Parameters
    ----------
    drivers : further jars; those that are not there are left out.
    """
    CLASS_ARCHIVES.mkdir(parents=True, exist_ok=True)
    jar = CLASS_ARCHIVES / "files.jar"
    with (CLASS_ARCHIVES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jar.is_file():
            local_files.make_jar(jar)
    class_path = ":".join(str(path) for path in (jar, *drivers) if path.is_file())
    return {**TINY_QUERIES, "spark.driver.extraClassPath": class_path, "spark.hadoop.fs.file.impl": local_files.NAME}


@cache
def java_options() -> str:
    """Java options of `tiny_spark`, with an archive of classes that all tests share: a JVM starts twice as fast."""
    tiny, properties = tiny_spark(), CLASS_ARCHIVES / "tiny.conf"
    with (CLASS_ARCHIVES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_properties(properties, tiny)
        command = [sys.executable, "-m", "recsae_lib.cli", "spark", "--class-archives", str(CLASS_ARCHIVES)]
        told = subprocess.run(
            [*command, "--set", f"spark.properties={properties}"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    options = json.loads(told.stdout.splitlines()[-1])["properties"]["spark.driver.extraJavaOptions"]
    assert isinstance(options, str)
    return options


def write_mlflow_database(path: Path) -> None:
    """Write the database of an MLflow server that holds nothing yet; to lay one out takes MLflow seconds each time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_new_mlflow_database())


@cache
def _new_mlflow_database() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        Registry(f"sqlite:///{path}", folder, Path(folder) / "models")
        return path.read_bytes()
