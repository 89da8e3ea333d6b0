"""The Spark session, and the properties file that it comes from where spark-submit did not prepare it."""

from __future__ import annotations

import locale
import os
import re
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.java import find_java_home, locale_for_java

if TYPE_CHECKING:  # pyspark takes a third of a second, and properties files are read without it
    from pyspark.sql import SparkSession

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
    from pyspark.sql import SparkSession

    from recsae_lib.platform.spark.jvm_names import remember_names

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    under_spark_submit = "PYSPARK_GATEWAY_PORT" in os.environ
    if not under_spark_submit and SparkSession.getActiveSession() is None:
        if not properties.is_file():
            raise InputError(f"There is no Spark properties file {properties}", "Set spark.properties to one")
        os.environ["JAVA_HOME"] = str(find_java_home())
        refuse_other_spark()
        os.environ.update(locale_for_java())
        arguments = ["--properties-file", str(properties)]
        if jars := iceberg_jars():
            arguments += ["--jars", ",".join(jars)]
        for key, value in {**absolute_paths(properties), **(overrides or {})}.items():
            arguments += ["--conf", f"{key}={value}"]
        if locale.nl_langinfo(locale.CODESET) != "UTF-8":
            os.environ["LC_ALL"] = "C.UTF-8"  # in the locale C Java spells no path beyond ASCII
        os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join([*arguments, "pyspark-shell"])
    session = SparkSession.builder.appName(application).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # The folder item_id=0001 is the item 0001: Spark would take it for the number 1.
    session.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
    remember_names(session.sparkContext._jvm)
    return session


def refuse_other_spark() -> None:
    """Refuse a SPARK_HOME whose Spark is not the one that the installed PySpark speaks with.

    Raises
    ------
    InputError : names both versions.
    """
    import pyspark

    home = os.environ.get("SPARK_HOME")
    if not home:
        return
    jars = [re.fullmatch(r"spark-core_[\d.]+-(.+)\.jar", jar.name) for jar in Path(home).glob("jars/spark-core_*.jar")]
    found = next((jar[1] for jar in jars if jar), None)
    if found is None or found.split(".")[:2] != pyspark.__version__.split(".")[:2]:
        has = f"Spark {found}" if found else "no Spark"
        raise InputError(
            f"SPARK_HOME is {home}, which has {has}; PySpark {pyspark.__version__} is installed",
            "Unset SPARK_HOME, or set it to a Spark of that version",
        )


def read_property(properties: Path, key: str) -> str:
    """Return one property of a file, the last of several as Java does; empty where it has none."""
    found = re.findall(rf"^\s*{re.escape(key)}[\s=:]+(.+?)\s*$", properties.read_text("utf-8"), re.M)
    return str(found[-1]) if found else ""


def read_properties(properties: Path, prefix: str) -> dict[str, str]:
    """Return the properties of a file whose keys begin with `prefix`, without it."""
    found = re.findall(rf"^\s*{re.escape(prefix)}(\S+?)[\s=:]+(.+?)\s*$", properties.read_text("utf-8"), re.M)
    return dict(found)


def absolute_paths(properties: Path) -> dict[str, str]:
    """Complete the relative paths in a properties file, and return the properties that change by it.

    The warehouse folders of catalogs lie in the working directory. Iceberg writes paths into its metadata as it gets
    them: relative ones would hold in one directory only.
    """
    lines = re.findall(r"^\s*(spark\.sql\.catalog\.\w+\.warehouse)[\s=:]+(\S+)", properties.read_text("utf-8"), re.M)
    completed = {key: str(Path(value).absolute()) for key, value in lines if ":" not in value}
    if (options := java_options(properties)) != read_property(properties, JAVA_OPTIONS):
        completed[JAVA_OPTIONS] = options
    return completed


def java_options(properties: Path) -> str:
    """Return the driver's Java options. The file with the settings of its log lies in the working directory, as the
    option says, or beside the properties file where the suite is installed.
    """
    options = read_property(properties, JAVA_OPTIONS)
    if (log := re.search(r"-Dlog4j2\.configurationFile=([^\s:]+)", options)) and not Path(log[1]).is_file():
        beside = (properties.parent / Path(log[1]).name).absolute()
        if beside.is_file():
            return options.replace(log[0], f'"-Dlog4j2.configurationFile={beside}"')
    return options


def iceberg_jars() -> list[str]:
    """Paths of the Iceberg runtime jar that comes as a Python package; empty on a cluster that has its own."""
    package = find_spec("snowpark_connect_deps_iceberg")
    if package is None or package.origin is None:
        return []
    return sorted(str(jar) for jar in Path(package.origin).parent.glob("jars/*iceberg-spark-runtime-3.5_2.12*.jar"))
