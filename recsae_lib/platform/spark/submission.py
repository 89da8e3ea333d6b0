"""What spark-submit needs to know of this machine to start a job, and the archive that lets its JVM start sooner."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyspark

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.java import find_java_home, locale_for_java
from recsae_lib.platform.spark.session import (
    JAVA_OPTIONS,
    absolute_paths,
    iceberg_jars,
    java_options,
    open_session,
    read_property,
)


def submit_options(properties: Path, class_archives: Path | None = None) -> dict[str, Any]:
    """Return what spark-submit needs to know of this machine, as the extra of Airflow's connection ``recsae_spark``
    names it, and the master, which is its host.

    Parameters
    ----------
    properties : Spark properties file.
    class_archives : folder for the JVM's archive of Spark's classes, see `archive_classes`; None for none. Properties
        that name an archive keep theirs.

    Raises
    ------
    InputError : as `open_session`.
    """
    if not properties.is_file():
        raise InputError(f"There is no Spark properties file {properties}", "Set spark.properties to one")
    overrides, options = absolute_paths(properties), java_options(properties)
    has_its_own = "SharedArchiveFile" in options  # a JVM takes one, and does not start to make another
    if class_archives is not None and not has_its_own and (archive := archive_classes(properties, class_archives)):
        overrides[JAVA_OPTIONS] = f"{options} -XX:SharedArchiveFile={archive}".strip()
    return {
        "master": read_property(properties, "spark.master") or "local[*]",
        "home": str(Path.cwd()),
        "python": sys.executable,
        "jobs": str(files("recsae_jobs")),
        "properties-file": str(properties),
        "properties": overrides,
        "jars": ",".join(iceberg_jars()),
        "environment": {
            "JAVA_HOME": str(find_java_home()),
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            **locale_for_java(),
        },
    }


def archive_classes(properties: Path, folder: Path) -> Path | None:
    """Return an archive of the classes that a job loads, made where there is none yet of this Spark and Java.

    Reading and verifying them anew is most of what the start of a JVM costs; one whose archive does not fit leaves it
    alone. Gain: a JVM with one trivial query needs 7 s of processor time instead of 13, and so does each of the ten
    drivers of a night. It matters where jobs are JVMs of their own and short. Delete this when Java 17 is no longer
    supported: later ones keep such an archive by themselves (-XX:+AutoCreateSharedArchive).

    Returns
    -------
    None where this Java cannot make one.
    """
    made_of = [pyspark.__version__, str(find_java_home()), *iceberg_jars()]
    archive = folder.absolute() / f"spark-{hashlib.sha256(str(made_of).encode()).hexdigest()[:16]}.jsa"
    if not archive.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory() as warehouse, TemporaryDirectory(dir=folder) as beside:
            written = Path(beside).absolute() / archive.name
            options = f"{java_options(properties)} -XX:ArchiveClassesAtExit={written} -Xlog:disable"
            catalog = "spark.sql.catalog.archive"
            overrides = {
                JAVA_OPTIONS: options.strip(),
                catalog: "org.apache.iceberg.spark.SparkCatalog",
                f"{catalog}.type": "hadoop",
                f"{catalog}.warehouse": warehouse,
            }
            session = open_session("class-archive", properties, overrides)
            rows = (
                session.range(1000).selectExpr("id", "id % 7 AS latent").mapInArrow(_unchanged, "id long, latent long")
            )
            session.sql("CREATE TABLE archive.a.b (id BIGINT, latent BIGINT) USING iceberg")
            rows.writeTo("archive.a.b").append()
            session.table("archive.a.b").groupBy("latent").count().orderBy("count").collect()
            gateway: Any = session.sparkContext._gateway
            session.stop()
            gateway.shutdown()
            gateway.proc.stdin.close()  # the JVM ends, and writes the archive
            gateway.proc.wait()
            if written.is_file():
                written.replace(archive)
    return archive if archive.is_file() else None


def _unchanged(batches: Iterable[pyarrow.RecordBatch]) -> Iterable[pyarrow.RecordBatch]:
    return batches
