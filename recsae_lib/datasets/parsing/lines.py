"""Lines of text files as Spark reads them, decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.datasets.parsing.files import as_written
from recsae_lib.errors import InputError
from recsae_lib.platform.spark.read_errors import reading

UTF8 = "UTF-8"
REPLACEMENT, BYTE_ORDER_MARK = "\ufffd", "\ufeff"
_CODECS = "io.compression.codecs"
# Hadoop's own codec needs a native library that Spark comes without; this one is in every Spark.
_ZSTD = "io.airlift.compress.zstd.ZstdCodec"
_MARKS = {b"\xff\xfe": "UTF-16LE", b"\xfe\xff": "UTF-16BE"}
# How files begin that are no text, whatever they are called.
_MAGIC = {
    b"PK\x03\x04": ("a zip archive or an Excel workbook", "Unpack it, or save it as CSV"),
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", "Save it as CSV"),
    b"PAR1": ("a Parquet file", "Set dataset.format to parquet"),
    b"\x1f\x8b": ("compressed by gzip", "Let its name end with .gz"),
    b"BZh": ("compressed by bzip2", "Let its name end with .bz2"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "Let its name end with .zst"),
    b"\xfd7zXZ": ("compressed by xz", "Unpack it"),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it"),
}


@dataclass(frozen=True)
class Text:
    """Text files that are open.

    Parameters
    ----------
    lines : value STRING, of bytes in `encoding`.
    encoding : the one that was asked for, or the one that the files themselves tell by a byte order mark.
    first : the first line of one of the files; empty where there is none.
    """

    lines: DataFrame
    encoding: str
    first: str


def open_text(spark: SparkSession, path: str, encoding: str) -> Text:
    """Open a file, a folder with all below it, or a pattern.

    Raises
    ------
    InputError : there is no such path, no such encoding, or what is there is no text.
    """
    charset = _charset(spark, encoding)
    lines = read_lines(spark, path)
    with reading(path):
        start = _first(lines.select("value", F.col("_metadata.file_block_start").alias("block")))
        opening = bytes(start) if start is not None else b""
        for magic, (kind, remedy) in _MAGIC.items():
            if opening.startswith(magic):
                raise InputError(f"{path} is {kind}, not text", remedy)
        told = next((told for mark, told in _MARKS.items() if opening.startswith(mark)), None)
        if told is None and charset == "UTF-16":
            told = "UTF-16LE" if opening[1:2] == b"\0" else "UTF-16BE"
        charset = told or charset
        if not charset.startswith("UTF-16") and b"\0" in opening:
            raise InputError(f"{path} is not {charset} text: it holds zero bytes", "Set dataset.csv.encoding to UTF-16")
        if charset == UTF8:
            line = opening.decode("utf-8", "replace").removeprefix(BYTE_ORDER_MARK).removesuffix("\r")
            return Text(lines, charset, line)
        lines = read_lines(spark, path, charset)
        of_starts = lines.where("_metadata.file_block_start = 0").select("value")
        first = decoded(of_starts, charset).first()
    return Text(lines, charset, first["line"] if first else "")


def _first(lines: DataFrame) -> bytearray | None:
    # A split at offset 0 begins with the first line of a file.
    row = lines.where("block = 0").select(F.col("value").cast("binary").alias("value")).first()
    return row["value"] if row else None


def _charset(spark: SparkSession, encoding: str) -> str:
    charsets: Any = spark._jvm.java.nio.charset.Charset  # type: ignore[union-attr]
    if not charsets.isSupported(encoding):
        raise InputError(
            f"There is no encoding {encoding!r}",
            "Set dataset.csv.encoding to UTF-8, UTF-16, ISO-8859-1, windows-1252, …",
        )
    return str(charsets.forName(encoding).name())


def read_lines(spark: SparkSession, paths: str | list[str], encoding: str = UTF8) -> DataFrame:
    """Read the lines of a file, a folder with all below it or a pattern, or of several, as value STRING of bytes.

    Raises
    ------
    InputError : there is no such path.
    """
    name = paths if isinstance(paths, str) else ", ".join(paths)
    # Only \\n ends a line, as in every tool that shows line numbers; a \\r before it is taken off below.
    reader = spark.read.option("lineSep", "\n").option("encoding", encoding).option("recursiveFileLookup", "true")
    with reading(name):
        lines = reader.text(as_written(spark, paths) if isinstance(paths, str) else paths)
        if any(file.endswith(".zst") for file in lines.inputFiles()):
            known = spark._jsparkSession.sessionState().newHadoopConf().get(_CODECS)
            codecs = ",".join([known, _ZSTD] if known else [_ZSTD])
            lines = reader.option(_CODECS, codecs).text(as_written(spark, paths) if isinstance(paths, str) else paths)
    return lines


def decoded(rows: DataFrame, encoding: str) -> DataFrame:
    """Replace value by line, the text without byte order mark and carriage return, and fault, why it is none."""
    kept = [name for name in rows.columns if name != "value"]
    text, value = F.col("text"), F.col("value")
    start = F.when(text.startswith(BYTE_ORDER_MARK), 2).otherwise(1)
    length = F.length(text) - F.when(text.endswith("\r"), 1).otherwise(0)
    # Each step is a select of its own: one expression would decode once for every use.
    texts = rows.select(*kept, "value", F.decode(value.cast("binary"), encoding).alias("text"))
    damaged = text.contains(REPLACEMENT) & ~value.contains(REPLACEMENT)
    fault = F.when(damaged, f"the line is not {encoding} text").alias("fault")
    return texts.select(*kept, text.substr(start, length - start + 1).alias("line"), fault)
