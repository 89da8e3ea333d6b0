"""Changes of a table that others change too: audits of other dates, and the upkeep."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

Answer = TypeVar("Answer")

JVM_ERRORS = (Py4JJavaError, PySparkException)
TRIES = 12
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0
# What Iceberg says where the table changed between the look at it and the commit.
LOST_RACES = (
    *("CommitFailedException", "Cannot fast-forward", "last sequence number"),
    *("Found conflicting files", "Found new conflicting delete"),
    *("Ref audit-", "Ref published-", "Ref publish-", "Branch does not exist: audit-", "does not exist: publish-"),
    "Cannot use branch (does not exist): audit-",
)


def change(spark: SparkSession, catalog: str, namespace: str, table: str, action: Callable[[], Answer]) -> Answer:
    """Do what ends in a commit to a table; do it again where another commit came first.

    Iceberg repeats commits of data by itself, but not those of branches and tags, and not what was decided before them.

    Parameters
    ----------
    action : looks at the table anew each time, and commits as its last step what readers or other runs build on.
    """
    retrying = Retrying(
        retry=retry_if_exception(_lost_race),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        reraise=True,
    )
    with _turn(spark, catalog, namespace, table):
        return retrying(action)


def overwrite(
    target: str,
    rows: DataFrame,
    part: Column,
    base: int | None,
    properties: Mapping[str, str],
    options: Mapping[str, str],
) -> None:
    """Replace a part of a table in one commit, which fails where another one has touched that part.

    Parameters
    ----------
    target : full name of the table, with that of the branch if it is not main.
    part : which rows are replaced: partitions as a whole.
    base : snapshot after which nobody must have touched the part; None of a branch that had none.
    properties : of the summary of the new snapshot.
    options : more of Iceberg's options of a write.
    """
    # `conform` has checked the values; Spark's own check would refuse a nullable type whose values are all there.
    write = rows.writeTo(target).option("check-nullability", "false").option("isolation-level", "serializable")
    if base is not None:
        write = write.option("validate-from-snapshot-id", str(base))
    for name, value in properties.items():
        write = write.option(f"snapshot-property.{name}", value)
    write.options(**options).overwrite(part)


def _lost_race(error: BaseException) -> bool:
    return isinstance(error, JVM_ERRORS) and any(sign in str(error) for sign in LOST_RACES)


def create(spark: SparkSession, statement: str, exists: Callable[[], bool]) -> None:
    """Create a namespace or table.

    A catalog in a database fails, whatever IF NOT EXISTS says, where another audit creates it at the same time.
    """
    try:
        spark.sql(statement)
    except JVM_ERRORS:
        if not exists():
            raise


@contextmanager
def _turn(spark: SparkSession, catalog: str, namespace: str, table: str) -> Iterator[None]:
    """Keep other processes of this machine from committing to a table of a catalog that is a local folder.

    Iceberg commits there by looking whether a file name is free, and then renaming a file to it. A local file system
    renames as well if it no longer is: of two commits at the same moment one could be lost, in silence.
    """
    folder = local_folder(spark, catalog)
    if folder is None:
        yield
        return
    lock = folder / namespace / f"{table}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:  # the operating system gives it back when the process ends, however that ends
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def local_folder(spark: SparkSession, catalog: str) -> Path | None:
    """Folder of a catalog of type hadoop on a local file system; None of any other."""
    if spark.conf.get(f"spark.sql.catalog.{catalog}.type", None) != "hadoop":
        return None
    address = urlsplit(spark.conf.get(f"spark.sql.catalog.{catalog}.warehouse", None) or "")
    return Path(unquote(address.path)) if address.scheme in ("", "file") else None
