"""JSON lines as raw tables: one object a line, of which the declared fields are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.datasets.parsing.lines import decoded, read_lines
from recsae_lib.datasets.parsing.places import PLACE, place_rows
from recsae_lib.datasets.parsing.python_literals import as_json
from recsae_lib.datasets.parsing.raw_tables import RECORD_LENGTH, RawTable
from recsae_lib.errors import InputError

NOT_OBJECT = "the line is not a JSON object"
STRICT = {"allowSingleQuotes": "false"}


def matching_files(spark: SparkSession, folder: str, pattern: str, expected: str) -> list[str]:
    """Paths of the files of a folder whose names match a regular expression, sorted; the file system is any of Spark's.

    Parameters
    ----------
    expected : the names in words, for the message.

    Raises
    ------
    InputError : there is no such folder, or no such file in it.
    """
    jvm: Any = spark._jvm
    hadoop = jvm.org.apache.hadoop.fs
    path = hadoop.Path(folder)
    system = path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    if not system.exists(path):
        raise InputError(f"There is no file or folder {folder}", "Check the path in the settings under dataset")
    paths = [status.getPath() for status in system.listStatus(path) if status.isFile()]
    if found := sorted(path.toString() for path in paths if re.fullmatch(pattern, path.getName())):
        return found
    raise InputError(f"{folder} holds no file {expected}", "Take the files under the names they were released with")


def read_json_lines(spark: SparkSession, paths: list[str], fields: Sequence[str], literals: bool = False) -> RawTable:
    """Read fields of JSON objects as text: numbers as they are written, lists and objects as JSON, null where missing.

    A blank line is no row; a line that is not one JSON object, or not UTF-8, is rejected.

    Parameters
    ----------
    literals : whether a line may be a Python dict instead (`python_literals`).
    """
    placed = place_rows(read_lines(spark, paths), [F.col("value")])
    lines = decoded(placed.rows, "UTF-8")
    json, fault = F.col("line"), F.col("fault")
    if literals:
        readable = F.when(fault.isNull() & (F.trim("line") != ""), F.col("line"))
        lines = lines.withColumn("converted", as_json(readable, fields))
        json, fault = F.col("converted.json"), F.coalesce("fault", "converted.fault")
    objects = T.ArrayType(T.StructType([T.StructField(field, T.StringType()) for field in fields]))
    # As the one element of an array: Spark reads the first value of a text and does not look at what follows.
    parsed = lines.select(
        *PLACE,
        "line",
        fault.alias("fault"),
        F.from_json(F.concat(F.lit("["), json, F.lit("]")), objects, STRICT).alias("array"),
    )
    one = (F.size("array") == 1) & F.get("array", F.lit(0)).isNotNull()
    aliases = [f"field_{place}" for place in range(len(fields))]
    rows = parsed.select(
        *PLACE,
        *[F.get("array", F.lit(0))[field].alias(alias) for field, alias in zip(fields, aliases, strict=True)],
        F.when(F.trim("line") == "", "blank").alias("skipped"),
        F.coalesce("fault", F.when(~F.coalesce(one, F.lit(False)), NOT_OBJECT)).alias("fault"),
        F.substring("line", 1, RECORD_LENGTH).alias("record"),
    )
    columns: dict[str, tuple[Column, T.DataType]] = {
        field: (F.col(alias), T.StringType()) for field, alias in zip(fields, aliases, strict=True)
    }
    return RawTable(_folder(paths), rows, columns, placed.files, has_lines=True)


def as_texts(json: Column) -> Column:
    """ARRAY<STRING> of a field that holds a list of texts, a list of such lists, or one text; null where none is."""
    nested = F.flatten(F.from_json(json, "array<array<string>>", STRICT))
    return F.coalesce(nested, F.from_json(json, "array<string>", STRICT), F.when(json.isNotNull(), F.array(json)))


def _folder(paths: list[str]) -> str:
    return paths[0].rsplit("/", 1)[0]
