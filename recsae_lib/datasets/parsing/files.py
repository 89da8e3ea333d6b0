"""Files of a folder, on any file system that Spark knows; and folders that only look like files of data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib.errors import InputError
from recsae_lib.platform.spark.read_errors import reading

_TABLES = {
    "Delta Lake": ("_delta_log", r"/_delta_log/"),
    "Hudi": (".hoodie", r"/\.hoodie/"),
    "Iceberg": ("metadata/*.metadata.json", r"/metadata/[^/]*\.metadata\.json$"),
}
_ANCESTORS = 3  # folders above that may be the table: the path is its data folder then, or a partition there


def hadoop_path(spark: SparkSession, path: str) -> tuple[Any, Any]:
    """Return a path and its file system, as Hadoop has them."""
    jvm: Any = spark._jvm
    found = jvm.org.apache.hadoop.fs.Path(path)
    return found, found.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())


def as_written(spark: SparkSession, path: str) -> str:
    """Return a path as Spark must be given it: where there is a file of that very name, it is no pattern."""
    if not re.search(r"[\[\]{}*?]", path):
        return path
    found, system = hadoop_path(spark, path)
    return escaped(path) if system.exists(found) else path


def escaped(path: str) -> str:
    """Return the pattern that only this path matches."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


def parquet_files(spark: SparkSession, path: str, remedy: str) -> list[Any]:
    """Statuses of the files of a path, of a folder with all below it, or of a pattern, in the order of their paths.

    What Spark and Hadoop set aside (names that begin with a dot or an underscore) is left out.

    Parameters
    ----------
    remedy : what to do about a folder that is a table.

    Raises
    ------
    InputError : there is no file; one is empty; or the folder is a table of Delta Lake, Iceberg or Hudi, or lies in
        one: its files also hold rows that were deleted since.
    """
    with reading(path):
        root, system = hadoop_path(spark, as_written(spark, path))
        matches = list(system.globStatus(root) or ())
        if not matches:
            raise InputError(f"There is no file or folder {path}", "Check the path in the settings")
        files = []
        for match in matches:
            _refuse_table_around(spark, match.getPath(), system, remedy)
            start = len(match.getPath().toString())
            for status in _below(system, match):
                name = status.getPath().toString()
                if kind := next((kind for kind, (_, sign) in _TABLES.items() if re.search(sign, name[start:])), None):
                    raise _table(kind, path, remedy)
                if not _is_hidden(name[start:]):
                    files.append((name, status))
    if not files:
        raise InputError(f"{path} holds no Parquet file", "Check the path in the settings")
    if empty := [name for name, status in files if status.getLen() == 0]:
        raise InputError(f"{empty[0]} is empty: it was not written to its end", "Write it again, or delete it")
    return [status for _, status in sorted(files, key=lambda file: file[0])]


def _refuse_table_around(spark: SparkSession, path: Any, system: Any, remedy: str) -> None:
    jvm: Any = spark._jvm
    folder = path
    for _ in range(1 + _ANCESTORS):
        if folder is None:
            return
        for kind, (sign, _) in _TABLES.items():
            if system.globStatus(jvm.org.apache.hadoop.fs.Path(folder, sign)):
                raise _table(kind, folder.toString().removeprefix("file:"), remedy)
        folder = folder.getParent()


def _table(kind: str, path: str, remedy: str) -> InputError:
    return InputError(f"{path} is a table of {kind}: its files also hold rows that were deleted since", remedy)


def _below(system: Any, match: Any) -> Iterator[Any]:
    if not match.isDirectory():
        yield match
        return
    listed = system.listFiles(match.getPath(), True)
    while listed.hasNext():
        yield listed.next()


def _is_hidden(below: str) -> bool:
    return any(part.startswith((".", "_")) and "=" not in part for part in below.split("/"))
