"""Settings of the Spark session."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from recsae_lib.config.section import Section
from recsae_lib.config.shipped import own_or_shipped


class SparkSettings(Section):
    properties: str | None = Field(
        None,
        description="Spark properties file (master, memory, catalogs) of `recsae run`; spark-submit brings its own. "
        "Empty: conf/spark/local.conf, which the suite comes with.",
    )

    @property
    def properties_file(self) -> Path:
        """Path of the Spark properties file."""
        return own_or_shipped(self.properties, "spark/local.conf")
