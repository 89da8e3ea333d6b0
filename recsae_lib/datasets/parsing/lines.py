"""Lines of text files as Spark reads them, decoded."""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.places import explain_missing

NOT_UTF8 = "the line is not UTF-8 text"
REPLACEMENT, BYTE_ORDER_MARK = "\ufffd", "\ufeff"


def read_lines(spark: SparkSession, paths: str | list[str]) -> DataFrame:
    """Read the lines of a file, a folder or a pattern, or of several, as value STRING of bytes in any encoding.

    Raises
    ------
    InputError : there is no such path.
    """
    try:
        # Only \n ends a line, as in every tool that shows line numbers; a \r before it is taken off below.
        return spark.read.option("lineSep", "\n").text(paths)
    except AnalysisException as failure:
        raise explain_missing(failure, paths if isinstance(paths, str) else ", ".join(paths)) from None


def decoded(rows: DataFrame, encoding: str) -> DataFrame:
    """Replace value by line, the text without byte order mark and carriage return, and fault, why it is none.

    Parameters
    ----------
    encoding : UTF-8 (a line with other bytes has a fault) or ISO-8859-1.
    """
    kept = [name for name in rows.columns if name != "value"]
    text, value = F.col("text"), F.col("value")
    start = F.when(text.startswith(BYTE_ORDER_MARK), 2).otherwise(1)
    length = F.length(text) - F.when(text.endswith("\r"), 1).otherwise(0)
    # Each step is a select of its own: one expression would decode once for every use.
    texts = rows.select(*kept, "value", F.decode(value.cast("binary"), encoding).alias("text"))
    damaged = text.contains(REPLACEMENT) & ~value.contains(REPLACEMENT)
    return texts.select(
        *kept, text.substr(start, length - start + 1).alias("line"), F.when(damaged, NOT_UTF8).alias("fault")
    )
