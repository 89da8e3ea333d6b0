"""What clients of the SQL server read: each statement whole audits, as `recsae sql` does."""

from __future__ import annotations

from datetime import date
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors.exceptions.captured import CapturedException
from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.reading import refuse_unless_reading
from recsae_lib.platform.spark.relations import named_relations, with_names
from recsae_lib.platform.warehouse.published_views import PublishedViews
from recsae_lib.platform.warehouse.store import Warehouse


class ParserOfPublished:
    """Makes the parser of each session; a function of two arguments of Scala, for ``injectParser``."""

    class Java:
        """What Py4J reads."""

        implements = ("scala.Function2",)

    def __init__(self, spark: SparkSession, catalog: str) -> None:
        self.spark, self.catalog = spark, catalog

    def apply(self, session: Any, parser: Any) -> Any:
        """Make the parser of a client's session, a Java object, in front of Spark's own."""
        if session.equals(self.spark._jsparkSession):  # in which the views are made
            return parser
        return _Parser(self.spark, self.catalog, session, parser)


class _Parser:
    """Parses statements so that they read published tables, and leaves everything else to Spark's parser."""

    class Java:
        """What Py4J reads."""

        implements = ("org.apache.spark.sql.catalyst.parser.ParserInterface",)

    def __init__(self, spark: SparkSession, catalog: str, session: Any, parser: Any) -> None:
        self._spark, self._catalog, self._session, self._parser = spark, catalog, session, parser

    def parsePlan(self, text: str) -> Any:  # noqa: N802  # as Spark calls it
        try:
            return self._published(text)
        except CapturedException as mistake:  # what Spark says of the statement goes to the client as it is
            raise Py4JJavaError("", mistake._origin) from None

    def _published(self, text: str) -> Any:
        """Plan of a statement that reads published tables."""
        plan = self._parser.parsePlan(text)
        try:
            refuse_unless_reading(self._spark.sparkContext, plan)
            # The views stay for other statements that read the same publication; each new one makes its own.
            views = PublishedViews(self._warehouse())
            names = {named: view for named in named_relations(plan) if (view := views.view_of(named.parts))}
        except InputError as refusal:
            jvm: Any = self._spark.sparkContext._jvm
            raise Py4JJavaError("", jvm.java.lang.UnsupportedOperationException(str(refusal))) from None
        return self._parser.parsePlan(with_names(text, names)) if names else plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def _warehouse(self) -> Warehouse:
        """The tables of the namespace that the client is in; it may name those of others."""
        manager = self._session.sessionState().catalogManager()
        here = ".".join(manager.currentNamespace()) if manager.currentCatalog().name() == self._catalog else ""
        return Warehouse(self._spark, self._catalog, dict.fromkeys(("data", "model", "audit"), here), date.min)
