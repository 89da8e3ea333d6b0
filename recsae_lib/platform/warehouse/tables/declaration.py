"""What the declaration of a table says, and the columns that several tables have.

A column whose name ends in ``_version`` holds a number of the MLflow registry. Ids are strings everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import types as T

from recsae_lib.config import Scope

DEFAULT = "recsae.default"  # key in the metadata of a column
STAMPS = ("dt", "model_version", "sae_version")  # columns that the warehouse fills in

STRING, INT, LONG, FLOAT, DOUBLE = T.StringType(), T.IntegerType(), T.LongType(), T.FloatType(), T.DoubleType()
BOOLEAN, DATE, TIMESTAMP = T.BooleanType(), T.DateType(), T.TimestampType()


Value = str | int | float | bool


def column(
    name: str, data_type: T.DataType, comment: str, nullable: bool = False, default: Value | None = None
) -> T.StructField:
    """Declare one column; columns hold no nulls unless said so.

    A column that comes later, to a table that is out in the world, may hold nulls or has a `default`: what stands in
    the rows that were written before there was the column.
    """
    metadata = {"comment": comment} if default is None else {"comment": comment, DEFAULT: default}
    return T.StructField(name, data_type, nullable, metadata)


def default_of(field: T.StructField) -> Value | None:
    """What stands in rows that were written before there was the column; None where nothing does."""
    value: Value | None = field.metadata.get(DEFAULT)
    return value


def array_of(element: T.DataType) -> T.ArrayType:
    """Declare an array without null elements."""
    return T.ArrayType(element, containsNull=False)


@dataclass(frozen=True)
class Table:
    """The declaration of one table.

    Parameters
    ----------
    name : name within the namespace.
    comment : one sentence: what a row is.
    writer : the only job, or the only command (``recsae …``), that writes the table.
    schema : columns in order, each with a comment; ``dt`` comes first where the table is partitioned by it.
    key : columns that identify a row together (``dt`` included).
    scope : what the rows are the same for: all models on the same ``data``, all sites of one ``model``, or one
        ``audit``. Tables of each scope have a namespace of their own (`Settings.namespaces`).
    published_by : how rows come to main: with their ``audit``, which keeps them on its branch until its checks pass and
        tags them then, or ``directly``, when they are written. What comes directly is never dropped for its age.
    """

    name: str
    comment: str
    writer: str
    schema: T.StructType
    key: tuple[str, ...]
    scope: Scope = "audit"
    published_by: Literal["audit", "directly"] = "audit"

    @property
    def partitioned_by_date(self) -> bool:
        """Whether the table is partitioned by ``dt`` (all derived tables are)."""
        return "dt" in self.schema.names

    @property
    def row_schema(self) -> T.StructType:
        """The columns of the rows that a job makes: all but those that the warehouse fills in."""
        return self._without(STAMPS)

    @property
    def versioned_row_schema(self) -> T.StructType:
        """The columns of rows that bring their versions: all but ``dt``."""
        return self._without(("dt",))

    @property
    def writer_in_words(self) -> str:
        """What a person can run to have the table written."""
        return f"`{self.writer}`" if self.writer.startswith("recsae ") else f"the job {self.writer}"

    def empty(self, spark: SparkSession) -> DataFrame:
        """No rows, with the columns of `row_schema`."""
        return spark.createDataFrame([], self.row_schema)

    def _without(self, names: tuple[str, ...]) -> T.StructType:
        return T.StructType([field for field in self.schema.fields if field.name not in names])


DT = column("dt", DATE, "Date of the audit that wrote the row")
MODEL_VERSION = column("model_version", INT, "Version of the recommender in the registry")
SAE_VERSION = column("sae_version", INT, "Version of the sparse autoencoder in the registry")
USER_ID = column("user_id", STRING, "User, as in the source data")
ITEM_ID = column("item_id", STRING, "Item, as in the source data")
LATENT_ID = column("latent_id", INT, "Latent: unit of the sparse autoencoder, 0 to M-1")
INTERPRETER = column("interpreter", STRING, "terms or llm")


def derived(
    name: str,
    comment: str,
    writer: str,
    columns: list[T.StructField],
    key: tuple[str, ...],
    scope: Scope = "audit",
    published_by: Literal["audit", "directly"] = "audit",
) -> Table:
    """Declare a table that is partitioned by ``dt``, which comes before the columns and belongs to the key."""
    return Table(name, comment, writer, T.StructType([DT, *columns]), ("dt", *key), scope, published_by)
