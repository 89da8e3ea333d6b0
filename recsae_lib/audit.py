"""The whole flow in one process with one Spark session; a killed audit goes on where it stopped."""

from __future__ import annotations

import importlib
from pathlib import Path

from recsae_lib.job import JobContext, execute, log
from recsae_lib.night_lock import hold_night
from recsae_lib.run_record import RunRecord

JOBS = (
    "ingest_dataset",
    "train_recommender",
    "extract_representations",
    "recommend_items",
    "train_sae",
    "encode_latents",
    "compute_concept_terms",
    "interpret_concepts",
    "verify_concepts",
    "measure_coverage",
    "compare_versions",
    "publish_audit",
)
OTHER_JOBS = ("maintain_tables",)


def run_audit(context: JobContext, data_digest: str | None = None) -> RunRecord:
    """Run every job of the flow in its order; jobs that an interrupted audit of this date has finished are skipped.

    Ingestion runs always: only the data itself tells whether what was done still holds.

    Parameters
    ----------
    data_digest : of the tables (`Warehouse.data_digest`) where they have just been ingested for several audits; then
        this one does not ingest.

    Raises
    ------
    InputError : another run works on the same namespace and date.
    """
    with hold_night(Path(context.settings.paths.var), context.namespaces["model"], context.dt):
        return _run_jobs(context, data_digest)


def _run_jobs(context: JobContext, data_digest: str | None) -> RunRecord:
    record = RunRecord.open(context.settings, context.dt)
    if data_digest is not None:
        record.note_data(data_digest)
    for number, job in enumerate(JOBS, start=1):
        if job == "ingest_dataset" and data_digest is not None:
            continue
        if job in record.done and job != "ingest_dataset":
            log.info("[%s/%s] %s: done before the interruption", number, len(JOBS), job)
            continue
        log.info("[%s/%s] %s", number, len(JOBS), job)
        module = importlib.import_module(f"jobs.{job}")
        seconds = execute(context.for_job(job), module.run)
        if job == "ingest_dataset":
            record.note_data(context.warehouse.data_digest())
        record.finish_job(job, seconds)
    record.finish()
    return record
