"""Settings of the Spark session."""

from __future__ import annotations

from pydantic import Field

from recsae_lib.config.section import Section


class SparkSettings(Section):
    properties: str = Field(
        "conf/spark/local.conf",
        description="Spark properties file (master, memory, catalogs) of `recsae run`; spark-submit brings its own.",
    )
