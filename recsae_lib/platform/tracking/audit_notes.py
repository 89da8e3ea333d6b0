"""What people see of an audit on the pages of MLflow: its findings in the descriptions of version and run, and its
figures as metrics of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from recsae_lib.platform.job.log import log
from recsae_lib.platform.tracking.registry import NOT_FOUND, Registry
from recsae_lib.platform.tracking.runs import AUDIT_METRICS

HEADING = "### The newest published audit"  # what follows it is ours; what people write before it stays


@dataclass(frozen=True)
class AuditNote:
    """What one publication says of its SAE.

    Parameters
    ----------
    dt, finished_at : date of the audit, and when it was published.
    sentences : what was found, the first the most important; nothing in them comes from data (`verification.findings`).
    figures : by their name in audit_metrics.
    """

    dt: date
    finished_at: datetime
    sentences: Sequence[str]
    figures: Mapping[str, float]

    def after(self, description: str) -> str:
        """Put it in Markdown behind a description, in the place of an earlier note there."""
        own = description.partition(HEADING)[0].rstrip()
        headline, *others = self.sentences
        rows = [f"- {_words(name)}: {_shown(name, value)}" for name, value in self.figures.items()]
        parts = [own, HEADING, f"Of {self.dt}. **{headline}.**", *(f"{other}." for other in others), "\n".join(rows)]
        return "\n\n".join(part for part in parts if part)

    def metrics(self, model_id: str | None) -> list[Metric]:
        """The figures as metrics ``audit/…``: a step a date (20261120), so that charts run over the nights. The same
        publication gives the same metrics, which MLflow keeps once.
        """
        moment, step = int(self.finished_at.timestamp() * 1000), int(f"{self.dt:%Y%m%d}")
        return [
            Metric(f"{AUDIT_METRICS}{name}", value, moment, step, model_id=model_id)
            for name, value in self.figures.items()
        ]


def keep_note(registry: Registry, name: str, version: int, note: AuditNote, is_newest: bool) -> None:
    """Write a note to a version, and to the run that registered it, once or again. Where that run is gone, the version
    has its description all the same.

    Parameters
    ----------
    is_newest : whether the pages are to tell of this audit; of an older one only the metrics of the run are kept.
    """
    client = registry.client
    of_version = client.get_model_version(name, str(version))
    if is_newest:
        client.update_model_version(name, str(version), note.after(of_version.description or ""))
    try:
        run = client.get_run(of_version.run_id)
        # MLflow shows of a model the metric that was logged last, whatever its step.
        client.log_batch(run.info.run_id, metrics=note.metrics(_model_id(of_version) if is_newest else None))
        if is_newest:
            client.set_tag(run.info.run_id, MLFLOW_RUN_NOTE, note.after(run.data.tags.get(MLFLOW_RUN_NOTE, "")))
    except MlflowException as error:
        if error.error_code not in NOT_FOUND:
            raise
        log.warning("MLflow no longer has the run of %s version %s: it gets no figures of the audit", name, version)


def _model_id(version: ModelVersion) -> str | None:
    """Id of the model that a version is served as; None of one that is files alone."""
    kind, _, identifier = str(version.source).partition(":/")
    return identifier if kind == "models" else None


def _words(name: str) -> str:
    return name.replace("ndcg_at_10", "NDCG@10").replace("_", " ")


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name.endswith("_units") else f"{value:.1%}"
