"""The published tables for SQL clients: Spark's Thrift server, which speaks the protocol of HiveServer2."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.session import JAVA_OPTIONS, read_property
from recsae_lib.platform.spark.submission import submit_options

CLASS_PATH = "spark.driver.extraClassPath"
SERVER_CLASS = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"


def serve_tables(properties: Path, catalog: str, host: str, port: int) -> NoReturn:
    """Become the server; it runs until it is stopped.

    Parameters
    ----------
    properties : Spark properties file.
    catalog : name of the catalog that clients find themselves in.
    host, port : where to listen. The server asks for no password, and clients may also write.

    Raises
    ------
    InputError : as `submit_options`; or this Spark has no Thrift server.
    """
    options = submit_options(properties)
    home = Path(options["environment"]["SPARK_HOME"])
    if not list((home / "jars").glob("spark-hive-thriftserver_*.jar")):
        raise InputError(f"Spark in {home} comes without its Thrift server", "pip install pyspark brings one with it")
    settings = {
        **options["properties"],
        "spark.sql.defaultCatalog": catalog,
        # Hive's own catalog is of no use here, but the server wants one: in memory, and without its log.
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:hive;create=true",
        "spark.hadoop.hive.server2.thrift.bind.host": host,
        "spark.hadoop.hive.server2.thrift.port": str(port),
    }
    # Not by --jars: the threads that serve clients do not see those.
    on_class_path = [jar for jar in (read_property(properties, CLASS_PATH), *options["jars"].split(",")) if jar]
    java_options = f"{read_property(properties, JAVA_OPTIONS)} -Dderby.stream.error.file={os.devnull}".strip()
    command = [
        *(str(home / "bin" / "spark-submit"), "--class", SERVER_CLASS, "--name", "recsae sql-server"),
        *("--master", options["master"], "--properties-file", str(properties)),
        *(("--driver-class-path", ":".join(on_class_path)) if on_class_path else ()),
        *(word for key, value in settings.items() for word in ("--conf", f"{key}={value}")),
        *("--driver-java-options", java_options, "spark-internal"),
    ]
    environment = {**os.environ, **options["environment"], "PYSPARK_PYTHON": sys.executable}
    print(f"jdbc:hive2://{host}:{port}", flush=True)
    os.execve(command[0], command, environment)
