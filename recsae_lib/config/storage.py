"""Settings of where a run reads and writes."""

from __future__ import annotations

from pydantic import Field

from recsae_lib.config.section import Section


class PathSettings(Section):
    var: str = Field("var", description="Folder under which every local file of a run is written.")
    bulk: str = Field("var/bulk", description="Folder of the bulk Parquet files that Petastorm reads.")
    tracking_uri: str = Field(
        "sqlite:///var/mlflow/mlflow.db", description="MLflow tracking and registry address (any that MLflow takes)."
    )
    artifacts: str = Field(
        "var/mlflow/artifacts",
        description="Where MLflow keeps the artifacts of new experiments: a folder, an address (s3://bucket/folder), "
        "or mlflow-artifacts:/folder, which the server at tracking_uri keeps.",
    )
    locks: str | None = Field(
        None,
        pattern="^(s3://[^/]+/.|/|[^:]*$)",
        description="Where runs of the same namespace and date keep each other out: a folder, or s3://bucket/folder, "
        "of a storage that knows conditional writes, for machines that share no disk. Empty: <var>/locks.",
    )
    llm: str | None = Field(
        None,
        pattern="^s3://[^/]+/.",
        description="Where the ledger of requests to language models, and their files, are between the steps of jobs "
        "whose machines share no disk: s3://bucket/folder. Empty: in <var> only.",
    )
    reports: str | None = Field(
        None,
        pattern="^s3://[^/]+/.",
        description="Where copies of the reports in <var>/reports go (checks, comparisons, pages and sheets for "
        "raters): s3://bucket/folder. Empty: nowhere.",
    )

    @property
    def locks_folder(self) -> str:
        """Where the locks are: `locks`, or the folder of that name in `var`."""
        return self.locks or f"{self.var}/locks"
