"""What a job works with: settings, date, session, tables, registry, and the versions that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recsae_lib.config import DEFAULT_SITE, Scope, Settings
from recsae_lib.platform.storage.locks import Fence
from recsae_lib.platform.storage.reports import reports_folder

if TYPE_CHECKING:  # a job that needs no Spark session or no MLflow does not wait for their import
    from pyspark.sql import SparkSession

    from recsae_lib.platform.tracking.registry import Registry
    from recsae_lib.platform.warehouse.store import Warehouse

Step = Literal["submit", "collect"]
STEPS: tuple[Step, ...] = ("submit", "collect")
AskAgain = Literal["refused"]
ASK_AGAIN: tuple[AskAgain, ...] = ("refused",)


@dataclass
class Shared:
    """What the contexts of one process share.

    Parameters
    ----------
    spark, registry : None until one of them asks.
    versions : that were resolved so far, the latest of each kind: model, sae.
    data_digest : of the tables that were ingested for the audit that is running; None before, and outside of one.
    fence : the nights that are held at the moment.
    """

    spark: SparkSession | None = None
    registry: Registry | None = None
    versions: dict[str, int] = field(default_factory=dict)
    data_digest: str | None = None
    fence: Fence = field(default_factory=Fence)


@dataclass
class JobContext:
    """What a job works with: settings, date, session, warehouse, registry, versions resolved to numbers once.

    Parameters
    ----------
    job : name of the job, also the Spark application name.
    settings : resolved settings.
    dt : date of the audit.
    site : probing site that is audited.
    spark_overrides : Spark properties that win over the properties file (tests).
    step : the half of the job to run, of a job that hands work to a server; None for both, waiting in between.
    ask_again : which answers of a language model, paid for as they are, are asked for again; None for none.
    shared : of this context and all that are made from it.
    """

    job: str
    settings: Settings
    dt: date
    site: str = DEFAULT_SITE
    spark_overrides: dict[str, str] = field(default_factory=dict)
    step: Step | None = None
    ask_again: AskAgain | None = None
    shared: Shared = field(default_factory=Shared, repr=False)

    @property
    def spark(self) -> SparkSession:
        """The Spark session, opened when first asked for."""
        from recsae_lib.platform.spark.session import open_session

        if self.shared.spark is None:
            properties = self.settings.spark.properties_file
            self.shared.spark = open_session(self.job, properties, self.spark_overrides)
        return self.shared.spark

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables, as the audit of this date sees them."""
        from recsae_lib.platform.warehouse.relocation import refuse_misplaced
        from recsae_lib.platform.warehouse.store import Warehouse

        refuse_misplaced(self.spark, self.settings.catalog)
        return Warehouse(self.spark, self.settings.catalog, self.namespaces, self.dt, self, self.shared.fence)

    @property
    def warehouses(self) -> list[Warehouse]:
        """The tables at each probing site of the settings."""
        return [self.at_site(site).warehouse for site in self.settings.representations.sites]

    @property
    def registry(self) -> Registry:
        """MLflow."""
        from recsae_lib.platform.tracking.registry import Registry

        if self.shared.registry is None:
            paths = self.settings.paths
            self.shared.registry = Registry(paths.tracking_uri, paths.artifacts, Path(paths.var) / "models")
        return self.shared.registry

    @cached_property
    def namespaces(self) -> dict[Scope, str]:
        """Namespace of the tables of each scope."""
        return self.settings.namespaces(self.site)

    @property
    def recommender_name(self) -> str:
        """Registered name of the recommender."""
        return f"recommender-{self.namespaces['model']}"

    @property
    def sae_name(self) -> str:
        """Registered name of the sparse autoencoder."""
        return f"recsae-{self.namespaces['audit']}"

    @cached_property
    def model_version(self) -> int:
        """Version of the recommender that this job reads."""
        version = self.registry.resolve(self.recommender_name, self.settings.recommender.version)
        self.versions["model"] = version
        return version

    @cached_property
    def sae_version(self) -> int:
        """Version of the sparse autoencoder that this job reads."""
        version = self.registry.resolve(self.sae_name, self.settings.sae.version)
        self.versions["sae"] = version
        return version

    @property
    def versions(self) -> dict[str, int]:
        """Versions that were resolved so far, the latest of each kind: model, sae."""
        return self.shared.versions

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the MLflow runs of this job."""
        return {"job": self.job, "namespace": self.namespaces["audit"], "dt": self.dt.isoformat()}

    def work_folder(self) -> Path:
        """Local folder for intermediate files of this job, date and site."""
        folder = Path(self.settings.paths.var) / "work" / self.namespaces["audit"] / self.dt.isoformat() / self.job
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def reports_folder(self) -> Path:
        """Local folder of the reports of this date and site."""
        return reports_folder(self.settings.paths, self.namespaces["audit"], self.dt)

    def ledger_path(self) -> Path:
        """File of the ledger of requests to language models, the same for all dates and SAE versions of this site."""
        return Path(self.settings.paths.var) / "llm" / f"{self.namespaces['audit']}.sqlite"

    def for_job(self, job: str) -> JobContext:
        """Return the context of another job of the same audit."""
        self.versions.clear()
        return replace(self, job=job, step=None, ask_again=None)

    def at_site(self, site: str) -> JobContext:
        """Return the context of the same job at another probing site."""
        return replace(self, site=site)

    def with_settings(self, settings: Settings) -> JobContext:
        """Return the context of the same job under other settings, with the same Spark properties and MLflow."""
        return replace(self, settings=settings, step=None, ask_again=None)
