"""The published tables for SQL clients: Spark's Thrift server, which speaks the protocol of HiveServer2."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.find_spark_home import _find_spark_home
from pyspark.java_gateway import ensure_callback_server_started

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.reading import FILES, refuse_unless_reading
from recsae_lib.platform.spark.session import JAVA_OPTIONS, iceberg_jars, java_options, open_session, read_property
from recsae_lib.platform.spark.sql_log import shorten_mistakes
from recsae_lib.platform.spark.sql_login import login_of
from recsae_lib.platform.warehouse.queries import NO_SUBSTITUTION
from recsae_lib.platform.warehouse.relocation import refuse_misplaced
from recsae_lib.platform.warehouse.sql_clients import ParserOfPublished
from recsae_lib.printable import say

CLASS_PATH = "spark.driver.extraClassPath"


def serve_tables(properties: Path, catalog: str, namespace: str, host: str, port: int, read_only: bool) -> None:
    """Serve until the server ends, or this process does.

    Parameters
    ----------
    properties : Spark properties file.
    catalog : name of the catalog that clients find themselves in.
    namespace : that the address names which is printed; a client may name another one.
    host, port : where to listen. How clients log in is `login_of`'s to say.
    read_only : whether every statement of a client is judged by `refuse_unless_reading` before it runs, and reads whole
        audits. Clients who may change tables see them as they stand.

    Raises
    ------
    InputError : as `login_of`, `open_session` and `refuse_misplaced`; this Spark has no Thrift server; or it cannot
        listen there.
    """
    home = Path(_find_spark_home())
    if not list((home / "jars").glob("spark-hive-thriftserver_*.jar")):
        raise InputError(f"Spark in {home} comes without its Thrift server", "pip install pyspark brings one with it")
    login = login_of(properties, host)
    # Not by --jars: the threads that serve clients do not see those.
    on_class_path = [jar for jar in (read_property(properties, CLASS_PATH), *iceberg_jars()) if jar]
    session = open_session(
        "recsae sql-server",
        properties,
        {
            "spark.sql.defaultCatalog": catalog,
            **NO_SUBSTITUTION,
            # Hive's own catalog is of no use here, but the server wants one: in memory, and without its log.
            "spark.sql.catalogImplementation": "hive",
            "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:hive;create=true",
            JAVA_OPTIONS: f"{java_options(properties)} -Dderby.stream.error.file={os.devnull}".strip(),
            CLASS_PATH: ":".join(on_class_path),
            "spark.hadoop.hive.server2.thrift.bind.host": host,
            "spark.hadoop.hive.server2.thrift.port": str(port),
            # Each client has a session of its own, under the rule below.
            "spark.sql.hive.thriftServer.singleSession": "false",
            FILES: "false",
            **login.properties,
        },
    )
    refuse_misplaced(session, catalog)
    context, java_session = session.sparkContext, session._jsparkSession
    gateway: Any = context._gateway
    jvm: Any = context._jvm
    if read_only:
        ensure_callback_server_started(gateway)
        gateway.python_parameters.propagate_java_exceptions = True  # else clients see a Python traceback
        logging.getLogger("py4j.clientserver").setLevel(logging.CRITICAL)  # which is no news of the server's either
        java_session.extensions().injectCheckRule(_RuleOfSession(context, java_session))
        java_session.extensions().injectParser(ParserOfPublished(session, catalog))
    login.install(jvm)
    shorten_mistakes(jvm)
    try:
        jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2.startWithContext(java_session.sqlContext())
    except Py4JJavaError as error:
        reason = str(error.java_exception.getMessage())
        raise InputError(f"The SQL server cannot listen on {host}:{port}: {reason}", "Give another --port") from None
    say(f"jdbc:hive2://{host}:{port}/{namespace}")
    gateway.proc.wait()


class _Function:
    """A function of Scala."""

    class Java:
        """What Py4J reads."""

        implements = ("scala.Function1",)


class _Rule(_Function):
    """Spark asks it about the analysed plan of every statement, before anything of it runs."""

    def __init__(self, context: SparkContext) -> None:
        self.context = context

    def apply(self, plan: Any) -> None:
        try:
            refuse_unless_reading(self.context, plan)
        except InputError as refusal:
            jvm: Any = self.context._jvm
            raise Py4JJavaError("", jvm.java.lang.UnsupportedOperationException(str(refusal))) from None


class _NoRule(_Function):
    """For the server's own session, in which it makes the views that clients read."""

    def apply(self, plan: Any) -> None:
        pass


class _RuleOfSession(_Function):
    """Gives each session of a client its rule."""

    def __init__(self, context: SparkContext, own: Any) -> None:
        self.rule, self.own = _Rule(context), own

    def apply(self, session: Any) -> _Function:
        return _NoRule() if session.equals(self.own) else self.rule
