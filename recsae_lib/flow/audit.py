"""The whole flow in one process with one Spark session; a killed audit goes on where it stopped."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import AUDIT_JOBS, Retrain
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.nights import hold_tables
from recsae_lib.platform.job.record import RunRecord
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.warehouse import raw_history


def run_audit(context: JobContext, data_digest: str | None = None) -> dict[str, float]:
    """Run every job of the flow in its order; jobs that an interrupted audit of this date has finished are skipped.

    Ingestion runs always: only the data itself tells whether what was done still holds.

    Parameters
    ----------
    data_digest : of the tables (`raw_history.data_digest`) where they have just been ingested for several audits; then
        this one does not ingest.

    Returns
    -------
    The seconds that each job took, also those that were done before an interruption.

    Raises
    ------
    PassingError : another run works on the same namespace and date, or on the data of it.
    """
    with ExitStack() as held:
        try:
            return _run_jobs(context, data_digest, held)
        finally:
            context.shared.data_digest = None


def _run_jobs(context: JobContext, data_digest: str | None, held: ExitStack) -> dict[str, float]:
    seconds = {}
    ingest, *others = AUDIT_JOBS
    context.shared.data_digest = data_digest
    if data_digest is None:
        with hold_tables(context, "write"):
            log.info("[1/%s] %s", len(AUDIT_JOBS), ingest.name)
            seconds[ingest.name] = execute(context.for_job(ingest.name), ingest.load().run)
            data_digest = context.shared.data_digest = raw_history.data_digest(context.warehouse)
            held.enter_context(hold_tables(context, "read"))
    else:
        held.enter_context(hold_tables(context, "read"))
    done = RunRecord.read(context.settings, context.dt).done(data_digest)
    for number, job in enumerate(others, start=2):
        if job.name in done:
            log.info("[%s/%s] %s: done before the interruption", number, len(AUDIT_JOBS), job.name)
            seconds[job.name] = done[job.name]
        else:
            log.info("[%s/%s] %s", number, len(AUDIT_JOBS), job.name)
            seconds[job.name] = execute(context.for_job(job.name), job.load().run)
    return seconds


def plan_audit(context: JobContext, retrain: Retrain = "nothing") -> dict[str, Any]:
    """Return what a scheduler must know before it starts the jobs of an audit one by one.

    What is not registered has to be trained. A registered SAE serves if it was trained on the recommender version that
    this audit reads: the champion, where the settings leave it at ``candidate`` and there is one, since a candidate
    that a check refused must not come back the next night.

    Parameters
    ----------
    retrain : what is to be trained whether it is registered or not; ``all`` is recommender and SAE.

    Returns
    -------
    jobs : what an audit runs, in this order: each job's name, and whether it takes ``--step``.
    train_recommender, train_sae, choose_sae, tune_recommendations : whether the job has to run.
    settings : what the jobs after train_sae have to be given with ``--set``, so that they read this version.
    namespaces, reports : of each audited site the namespace, and the folder in which its checks will lie.
    interpret_concepts_asks, verify_concepts_asks : whether the job asks a language model, and so has two steps.
    """
    settings = context.settings
    sites = [context.at_site(site) for site in settings.representations.sites]
    recommender = _number(context, context.recommender_name, settings.recommender.version)
    train_recommender = retrain == "all" or recommender is None
    selectors = ["champion", "candidate"] if settings.sae.version == "candidate" else [settings.sae.version]
    fitting = [selector for selector in selectors if all(_fits(site, selector, recommender) for site in sites)]
    train_sae = retrain != "nothing" or train_recommender or not fitting
    version = "candidate" if train_sae else fitting[0]
    return {
        "jobs": [{"name": job.name, "steps": job.steps} for job in AUDIT_JOBS],
        "train_recommender": train_recommender,
        "train_sae": train_sae,
        "choose_sae": train_sae and settings.sae.sweep == "auto",
        "tune_recommendations": bool(settings.tunings),
        "settings": [] if version == settings.sae.version else [f"sae.version={version}"],
        "namespaces": [site.namespaces["audit"] for site in sites],
        "reports": [str(site.reports_folder()) for site in sites],
        "interpret_concepts_asks": settings.interpretation.interpreter == "llm",
        "verify_concepts_asks": "llm" in settings.verification.judges,
        "llm_key_variable": settings.llm.api_key_variable,
    }


def _fits(site: JobContext, selector: str | int, recommender: int | None) -> bool:
    """Whether there is such an SAE, trained on this version of the recommender."""
    version = _number(site, site.sae_name, selector)
    return version is not None and site.registry.tags(site.sae_name, version).get("model_version") == str(recommender)


def _number(context: JobContext, name: str, selector: str | int) -> int | None:
    registry = context.registry  # one that cannot be opened is not one without this version
    try:
        return registry.resolve(name, selector)
    except InputError:
        return None
