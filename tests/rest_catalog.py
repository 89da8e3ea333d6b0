"""A REST catalog on this machine: Iceberg's own handlers of the protocol, in the JVM of the tests, behind HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from tests.loopback import Call, Loopback

# What the protocol answers to an exception of Iceberg's.
STATUS = {
    "ValidationException": 400,
    "RetryableValidationException": 400,
    "NoSuchNamespaceException": 404,
    "NoSuchTableException": 404,
    "AlreadyExistsException": 409,
    "CommitFailedException": 409,
    "CommitStateUnknownException": 500,
}
NAMESPACE = r"/v1/namespaces/(?P<namespace>[^/]+)"
ROUTES = {
    ("GET", "/v1/config"): "config",
    ("POST", "/v1/namespaces"): "create_namespace",
    ("GET", NAMESPACE): "load_namespace",
    ("POST", f"{NAMESPACE}/tables"): "create_table",
    ("GET", f"{NAMESPACE}/tables/(?P<table>[^/]+)"): "load_table",
    ("POST", f"{NAMESPACE}/tables/(?P<table>[^/]+)"): "update_table",
    ("POST", f"{NAMESPACE}/tables/[^/]+/metrics"): "take_metrics",
}


class RestCatalog:
    """Answers requests; each method takes the body and the parts of the path, and returns an object of the protocol.

    Parameters
    ----------
    folder : the warehouse.
    """

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        jvm: Any = spark.sparkContext._jvm
        self.jvm = jvm
        self.iceberg: Any = jvm.org.apache.iceberg
        jackson = self.iceberg.shaded.com.fasterxml.jackson
        self.mapper = jackson.databind.ObjectMapper()
        fields, any_of_them = (
            jackson.annotation.PropertyAccessor.FIELD,
            jackson.annotation.JsonAutoDetect.Visibility.ANY,
        )
        self.mapper.setVisibility(fields, any_of_them)
        self.mapper.setPropertyNamingStrategy(jackson.databind.PropertyNamingStrategies.KEBAB_CASE)
        self.mapper.configure(jackson.databind.DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, False)
        self.iceberg.rest.RESTSerializers.registerAll(self.mapper)
        self.catalog = jvm.org.apache.iceberg.hadoop.HadoopCatalog(
            jvm.org.apache.hadoop.conf.Configuration(), str(folder)
        )

    def config(self, body: str) -> str:
        return '{"defaults": {}, "overrides": {}}'

    def create_namespace(self, body: str) -> Any:
        namespace = self._read(body, "CreateNamespaceRequest").namespace()
        # Without the properties (an owner), which a folder does not keep.
        request = self.iceberg.rest.requests.CreateNamespaceRequest.builder().withNamespace(namespace).build()
        return self.iceberg.rest.CatalogHandlers.createNamespace(self.catalog, request)

    def load_namespace(self, body: str, namespace: str) -> Any:
        return self.iceberg.rest.CatalogHandlers.loadNamespace(self.catalog, self._namespace(namespace))

    def create_table(self, body: str, namespace: str) -> Any:
        request = self._read(body, "CreateTableRequest")
        handlers = self.iceberg.rest.CatalogHandlers
        create = handlers.stageTableCreate if request.stageCreate() else handlers.createTable
        return create(self.catalog, self._namespace(namespace), request)

    def load_table(self, body: str, namespace: str, table: str) -> Any:
        return self.iceberg.rest.CatalogHandlers.loadTable(self.catalog, self._identifier(namespace, table))

    def update_table(self, body: str, namespace: str, table: str) -> Any:
        request = self._read(body, "UpdateTableRequest")
        identifier = self._identifier(namespace, table)
        return self.iceberg.rest.CatalogHandlers.updateTable(self.catalog, identifier, request)

    def take_metrics(self, body: str, namespace: str) -> str:
        return "{}"

    def written(self, answer: Any) -> str:
        """An object of the protocol as JSON."""
        return answer if isinstance(answer, str) else str(self.mapper.writeValueAsString(answer))

    def _read(self, body: str, kind: str) -> Any:
        requests = "org.apache.iceberg.rest.requests"
        loader = self.jvm.java.lang.Thread.currentThread().getContextClassLoader()
        return self.mapper.readValue(body, self.jvm.java.lang.Class.forName(f"{requests}.{kind}", True, loader))

    def _namespace(self, name: str) -> Any:
        return self.iceberg.catalog.Namespace.of(self._array([name]))

    def _identifier(self, namespace: str, table: str) -> Any:
        return self.iceberg.catalog.TableIdentifier.of(self._namespace(namespace), table)

    def _array(self, words: list[str]) -> Any:
        array = self.jvm.java.lang.reflect.Array.newInstance(self.jvm.java.lang.Class.forName("java.lang.String"), 1)
        array[0] = words[0]
        return array


@contextmanager
def rest_catalog(spark: SparkSession, folder: Path) -> Iterator[str]:
    """Serve an empty catalog whose tables lie in `folder`; yields its address."""
    catalog = RestCatalog(spark, folder)

    def answer(call: Call) -> None:
        body = call.body().decode() if call.command == "POST" else ""
        path = urlsplit(call.path).path
        found = [
            (name, match)
            for (method, route), name in ROUTES.items()
            if method == call.command and (match := re.fullmatch(route, path))
        ]
        if not found:
            send_error(call, 404, f"no route {path}", "NoSuchRoute")
            return
        name, match = found[0]
        parts = {key: unquote(value) for key, value in match.groupdict().items()}
        try:
            content = catalog.written(getattr(catalog, name)(body, **parts))
        except Py4JJavaError as error:
            cause = error.java_exception
            kind = cause.getClass().getSimpleName()
            send_error(call, STATUS.get(kind, 500), cause.getMessage(), kind)
        except IllegalArgumentException as error:  # which PySpark makes of Java's
            send_error(call, 400, str(error), "IllegalArgumentException")
        else:
            call.reply_json(200, content.encode())

    with Loopback(answer) as server:
        yield server.address


def send_error(call: Call, status: int, message: str, kind: str) -> None:
    """Answer as the protocol says what went wrong."""
    error = {"message": message, "type": kind, "code": status}
    call.reply_json(status, json.dumps({"error": error}).encode())
