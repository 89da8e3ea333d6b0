"""What the tests of a process share, put back after each of them: none sees which others ran before it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib import redaction


@contextmanager
def isolation() -> Iterator[None]:
    """Undo what the body does to variables, to the level of the suite's log, to the secrets that are known, and to
    torch and Spark where they run.

    Of torch these are its random numbers, which begin anew, and its threads; of Spark settings, temporary views and the
    current catalog. Random numbers of Python and numpy are pytest-randomly's.
    """
    environment, log = dict(os.environ), logging.getLogger("recsae")
    level, secrets = log.level, set(redaction._remembered)
    torch: Any = sys.modules.get("torch")
    if torch:
        torch.manual_seed(0)
        threads = torch.get_num_threads()
    spark = SparkSession.getActiveSession()
    if spark:
        session: Any = spark._jsparkSession.sessionState()
        settings = session.conf().settings()
        before = spark.sparkContext._jvm.java.util.HashMap(settings)  # type: ignore[union-attr]
    try:
        yield
    finally:
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        log.setLevel(level)
        redaction._remembered.intersection_update(secrets)
        if torch:
            torch.set_num_threads(threads)
        if spark:
            session.catalogManager().setCurrentCatalog("spark_catalog")  # a test may have asked for its own
            settings.keySet().retainAll(before.keySet())
            settings.putAll(before)
            session.catalog().clearTempTables()
