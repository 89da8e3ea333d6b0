"""Data files of a table that Python workers write themselves, and their commit through Iceberg's own interface.

For tables whose rows are made in Arrow batches from files: through Spark's writer each row would go from Parquet into
the JVM, to a Python worker, back, and into Parquet, which takes longer than encoding it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark import TaskContext
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import to_arrow_type

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.tables import Table

Part = TypeVar("Part")
BatchesOf = Callable[[Part], Iterable[pa.RecordBatch]]

COMPRESSION = "zstd"  # as Iceberg's own writer
FOOTERS_AT_ONCE = 16  # an object store answers many requests at once, each slowly


@dataclass(frozen=True)
class WrittenFile:
    """A finished data file that no table knows yet."""

    location: str
    rows: int
    bytes: int


def write_data_files(
    spark: SparkSession,
    table: Table,
    iceberg: Any,
    partition: str,
    parts: Sequence[Part],
    batches_of: BatchesOf[Part],
    constants: Mapping[str, object],
) -> list[WrittenFile]:
    """Have Python workers write one data file for each part, and return those that hold rows.

    A task that is run again, or twice at once, writes another file: only what a finished task returns is in the list.
    Others are orphans, which readers never see.

    Parameters
    ----------
    iceberg : the table as Iceberg's Java object, which says where files go and which id each column has.
    partition : path of the partition, e.g. ``dt=2026-11-20``.
    parts : what each task is about.
    batches_of : makes the rows of a part, in batches with the columns that are declared, in any order.
    constants : values of columns that are the same in all rows and that the batches do not have.

    Raises
    ------
    InputError : (in the worker) a column is missing or of another type, or holds a null where none is allowed.
    """
    name, schema = table.name, arrow_schema(table, iceberg.schema())
    prefix = iceberg.locationProvider().newDataLocation(f"{partition}/{uuid.uuid4()}")

    def write(numbered: tuple[int, Part]) -> WrittenFile:
        number, part = numbered
        task = TaskContext.get()
        assert task is not None  # this runs in a task
        location = f"{prefix}-{number:05d}-{task.taskAttemptId()}.parquet"
        rows = write_data_file(location, name, schema, batches_of(part), constants)
        file_system, path = fsspec.core.url_to_fs(location)
        return WrittenFile(location, rows, file_system.size(path))

    tasks = spark.sparkContext.parallelize(list(enumerate(parts)), max(len(parts), 1))
    return [written for written in tasks.map(write).collect() if written.rows]  # one a task


def write_data_file(
    location: str, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], constants: Mapping[str, object]
) -> int:
    """Write the batches as one Parquet file of `schema` and return the number of rows.

    Raises
    ------
    InputError : as `write_data_files`.
    """
    file_system, path = fsspec.core.url_to_fs(location)
    file_system.makedirs(path.rpartition("/")[0], exist_ok=True)
    # Floats hardly repeat: a dictionary of them would be tried in vain. (Names of nested columns are paths.)
    repeating = [name for name in schema.names if not _holds_floats(schema.field(name).type)]
    paths = [f"{name}.list.element" if pa.types.is_list(schema.field(name).type) else name for name in repeating]
    rows = 0
    with (
        file_system.open(path, "wb") as file,
        pq.ParquetWriter(file, schema, compression=COMPRESSION, use_dictionary=paths) as writer,
    ):
        for batch in batches:
            writer.write_batch(_fitting(batch, table, schema, constants))
            rows += batch.num_rows
    return rows


def arrow_schema(table: Table, schema: Any) -> pa.Schema:
    """Arrow schema of a declared table with the ids by which Iceberg knows its columns.

    Parameters
    ----------
    schema : the table's Iceberg schema, a Java object.
    """
    fields = []
    for declared in table.schema.fields:
        column = schema.findField(declared.name)
        arrow_type = to_arrow_type(declared.dataType)
        if pa.types.is_list(arrow_type):
            element = pa.field("element", arrow_type.value_type, False, _field_id(column.type().elementId()))
            arrow_type = pa.list_(element)
        fields.append(pa.field(declared.name, arrow_type, declared.nullable, _field_id(column.fieldId())))
    return pa.schema(fields)


def commit_data_files(
    spark: SparkSession,
    iceberg: Any,
    reference: str,
    partition: str,
    files: Sequence[WrittenFile],
    summary: Mapping[str, str],
) -> None:
    """Replace one partition of a branch by the data files, in one commit.

    Parameters
    ----------
    iceberg : the table as Iceberg's Java object.
    reference : name of the branch.
    partition : path of the partition: ``column=value`` of an identity.
    summary : what the snapshot's summary is to say beside Iceberg's figures.
    """
    jvm: Any = spark.sparkContext._jvm
    column, _, value = partition.partition("=")
    api, parquet = jvm.org.apache.iceberg, jvm.org.apache.iceberg.parquet.ParquetUtil
    overwrite = iceberg.newOverwrite().overwriteByRowFilter(api.expressions.Expressions.equal(column, value))
    metrics_config = api.MetricsConfig.forTable(iceberg)

    def described(written: WrittenFile) -> Any:
        file = iceberg.io().newInputFile(written.location)
        builder = api.DataFiles.builder(iceberg.spec()).withInputFile(file).withFormat("parquet")
        return builder.withPartitionPath(partition).withMetrics(parquet.fileMetrics(file, metrics_config)).build()

    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        for data_file in pool.map(described, files):
            overwrite = overwrite.addFile(data_file)
    for name, value in summary.items():
        overwrite = overwrite.set(name, value)
    overwrite.toBranch(reference).commit()


def _fitting(batch: pa.RecordBatch, table: str, schema: pa.Schema, constants: Mapping[str, object]) -> pa.RecordBatch:
    columns = []
    for field in schema:
        if field.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[field.name], field.type), batch.num_rows))
            continue
        if field.name not in batch.schema.names:
            raise InputError(f"The rows to write have no column {field.name}", f"Table {table} declares it")
        column = batch.column(field.name)
        nulls = column.null_count + (column.flatten().null_count if pa.types.is_list(column.type) else 0)
        if nulls and not field.nullable:
            raise InputError(f"Column {field.name} of table {table} would hold a null", "Mend the rows it is made of")
        columns.append(_named_anew(column, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _named_anew(column: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    """Give a list the declared name, id and nullability of its element, which a cast would refuse."""
    if pa.types.is_list(column.type) and column.type.value_type == arrow_type.value_type:
        return pa.ListArray.from_arrays(column.offsets, column.values, type=arrow_type)
    if column.type != arrow_type:
        raise InputError(f"The rows to write hold {column.type}, not {arrow_type} as declared", "Convert them")
    return column


def _field_id(number: int) -> dict[bytes, bytes]:
    return {b"PARQUET:field_id": str(number).encode()}


def _holds_floats(arrow_type: pa.DataType) -> bool:
    return pa.types.is_floating(arrow_type.value_type if pa.types.is_list(arrow_type) else arrow_type)
