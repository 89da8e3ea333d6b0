"""Compare the latents of this audit with those of an earlier published one: which are stable, drifted, born, gone.

spark-submit --properties-file conf/spark/local.conf jobs/compare_versions.py --dt 2026-11-20
recsae run compare_versions --dt 2026-11-20

By default it is the last audit published for an earlier date; drift.against names another date or an SAE version.
Before the first one is published the table concept_drift stays empty, and its checks pass.

publish_audit holds the share of stable latents against three settings, and a scheduler finds the outcome in
var/reports/<namespace>/<dt>/checks.json (rows of table concept_drift, passed or not, by severity):

    checks.fail_stable_share      severity fail      not published, exit code 3
    checks.warn_stable_share      severity warn      published
    checks.retrain_stable_share   severity retrain   published; train the SAE anew (only of audits of the same SAE)
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import numpy as np
from pyspark.sql import functions as F

from recsae_lib.drift.activations import similar_activations
from recsae_lib.drift.changes import AuditedLatents, describe_changes, drift_metrics
from recsae_lib.drift.matching import SimilarPairs, follow_latents, similar_directions
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.published import PublishedAudit, published_audits
from recsae_lib.sae.store import load_sae


@for_each_site
def run(context: JobContext) -> None:
    """Match the latents, lay terms and labels of both sides beside each other, log how many had which fate."""
    warehouse, settings = context.warehouse, context.settings.drift
    earlier = earlier_audit(context)
    if earlier is None:
        log.info("compare_versions: nothing was published before %s: there is nothing to compare with", context.dt)
        warehouse.replace(tables.CONCEPT_DRIFT, tables.CONCEPT_DRIFT.empty(context.spark))
        return
    published = warehouse.at(earlier.dt)
    previous = AuditedLatents(
        *(published.read_published(t) for t in (tables.LATENT_ACTIVATIONS, tables.CONCEPT_TERMS, tables.CONCEPT_LABELS))
    )
    present = AuditedLatents(
        warehouse.read_filled(tables.LATENT_ACTIVATIONS),
        warehouse.read(tables.CONCEPT_TERMS),
        warehouse.read(tables.CONCEPT_LABELS),
    )
    previous_ids, latent_ids = previous.live(), present.live()
    by, pairs = similar_pairs(context, earlier, previous, present, previous_ids, latent_ids)
    followed = follow_latents(previous_ids, latent_ids, pairs)
    changes = describe_changes(context.spark, followed, previous, present, settings).select(
        "*",
        F.lit(earlier.dt).alias("previous_dt"),
        F.lit(earlier.sae_version).alias("previous_sae_version"),
        F.lit(by).alias("similarity_by"),
    )
    warehouse.replace(tables.CONCEPT_DRIFT, changes)
    metrics = drift_metrics(warehouse.read(tables.CONCEPT_DRIFT))
    parameters = {
        **settings.model_dump(mode="json"),
        "sae_version": context.sae_version,
        "previous_sae_version": earlier.sae_version,
        "previous_dt": earlier.dt,
        "similarity_by": by,
    }
    with context.registry.training_run(context.sae_name, context.tags, parameters) as mlrun:
        mlrun.log_metrics(metrics)
    log.info(
        "compare_versions: SAE version %s against version %s of %s, by %s: %s",
        context.sae_version,
        earlier.sae_version,
        earlier.dt,
        by,
        ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
    )


def earlier_audit(context: JobContext) -> PublishedAudit | None:
    """Return the published audit that this one is compared with; None by default where there is none yet.

    The date of this audit itself may be named: main shows another one until what is on the branch is published.

    Raises
    ------
    InputError : what the settings name was never published, or is this audit.
    """
    against, published = context.settings.drift.against, published_audits(context.warehouse)
    if against == "previous":
        return next((audit for audit in published if audit.dt < context.dt), None)
    if isinstance(against, date):
        named = [audit for audit in published if audit.dt == against]
    else:
        named = [audit for audit in published if audit.sae_version == against and audit.dt <= context.dt]
    if not named:
        what = f"for {against}" if isinstance(against, date) else f"with SAE version {against} up to {context.dt}"
        raise InputError(
            f"No audit of {context.namespaces['audit']} was published {what}",
            "Set drift.against to previous, or to another date or version (`recsae versions`)",
        )
    branch = context.warehouse.branch
    if named[0].dt == context.dt and branch not in context.warehouse.references(tables.LATENT_ACTIVATIONS):
        raise InputError(
            f"drift.against names the audit of {context.dt} itself", "Name an earlier one, or encode another SAE first"
        )
    return named[0]


def similar_pairs(
    context: JobContext,
    earlier: PublishedAudit,
    previous: AuditedLatents,
    present: AuditedLatents,
    previous_ids: np.ndarray,
    latent_ids: np.ndarray,
) -> tuple[Literal["decoder", "activations"], SimilarPairs]:
    """Compare decoder rows where both SAEs read the same recommender version, else activations of common users."""
    settings, registry, name = context.settings.drift, context.registry, context.sae_name
    read = {registry.tags(name, version).get("model_version") for version in (earlier.sae_version, context.sae_version)}
    if len(read) > 1:
        return "activations", similar_activations(
            previous.activations, present.activations, settings.users, settings.minimum_similarity
        )
    directions = [
        load_sae(registry.fetch(name, version)).W_dec.detach().numpy()
        for version in (earlier.sae_version, context.sae_version)
    ]
    pairs = similar_directions(directions[0], previous_ids, directions[1], latent_ids, settings.minimum_similarity)
    return "decoder", pairs


if __name__ == "__main__":
    main(__file__)
