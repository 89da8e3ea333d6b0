"""What release 0.2 wrote, unpacked: tables, a ledger, an SAE, a book of jobs; ``write.py`` among it wrote them."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from recsae_lib.platform.warehouse.relocation import relocate_tables
from recsae_lib.platform.warehouse.store import Warehouse
from tests.catalogs import declare

ARCHIVE = Path(__file__).parent / "release-0.2.tar.xz"


@dataclass(frozen=True)
class EarlierRelease:
    """The folder of a release of before.

    Parameters
    ----------
    folder : where it was unpacked.
    """

    folder: Path

    @classmethod
    def unpack(cls, folder: Path) -> EarlierRelease:
        """Unpack it anew."""
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(folder, filter="data")
        return cls(folder)

    def read(self, name: str) -> Any:
        """Content of a JSON file."""
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def warehouse(self, spark: SparkSession, catalog: str, dt: date) -> Warehouse:
        """Its tables, in a catalog of this session."""
        declare(spark, catalog, type="hadoop", warehouse=str(self.folder / "warehouse"), cache_enabled="false")
        assert list(relocate_tables(spark, catalog))
        return Warehouse(spark, catalog, dict.fromkeys(("data", "model", "audit"), "shop"), dt)
