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

import numpy as np

from recsae_lib.drift.changes import AuditedLatents, drift_metrics
from recsae_lib.drift.comparison import compare_latents
from recsae_lib.drift.earlier import earlier_audit
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.data_checks import NO_TERMS_LEFT
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date, publications
from recsae_lib.sae.store import load_sae

NAMED_BY = (tables.CONCEPT_TERMS, tables.CONCEPT_LABELS)


@for_each_site
def run(context: JobContext) -> None:
    """Match the latents, put terms and labels of both sides beside each other, log what became of them."""
    warehouse, settings = context.warehouse, context.settings.drift
    on_branch = warehouse.branch in warehouse.references(tables.LATENT_ACTIVATIONS)
    namespace, published = context.namespaces["audit"], list(last_of_each_date(publications(warehouse)).values())
    earlier = earlier_audit(published, settings.against, context.dt, on_branch, namespace)
    if earlier is None:
        log.info("compare_versions: nothing was published before %s: there is nothing to compare with", context.dt)
        warehouse.replace(tables.CONCEPT_DRIFT, tables.CONCEPT_DRIFT.empty(context.spark))
        return
    then, activations = warehouse.at(earlier.dt).published(), warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    present = AuditedLatents(activations, *(warehouse.read(table) for table in NAMED_BY))
    previous = AuditedLatents(*(then.read(warehouse, table) for table in (tables.LATENT_ACTIVATIONS, *NAMED_BY)))
    directions = directions_of_both(context, earlier)
    warehouse.replace(tables.CONCEPT_DRIFT, compare_latents(earlier, previous, present, directions, settings))
    metrics = drift_metrics(warehouse.read(tables.CONCEPT_DRIFT))
    parameters = {
        **settings.model_dump(mode="json"),
        "sae_version": context.sae_version,
        "previous_sae_version": earlier.sae_version,
        "previous_dt": earlier.dt,
        "similarity_by": "activations" if directions is None else "decoder",
    }
    with context.registry.training_run(context.sae_name, context.tags, parameters) as mlrun:
        mlrun.log_metrics(metrics)
    log.info(
        "compare_versions: SAE version %s against version %s of %s, by %s: %s",
        context.sae_version,
        earlier.sae_version,
        earlier.dt,
        parameters["similarity_by"],
        ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()),
    )
    if vanished := metrics["vanished_terms_latents"]:
        log.warning("compare_versions: %.0f latents lost all their terms: %s", vanished, NO_TERMS_LEFT)


def directions_of_both(context: JobContext, earlier: Publication) -> tuple[np.ndarray, np.ndarray] | None:
    """W_dec of both SAEs; None where they read different versions of the recommender, or the earlier one is lost."""
    registry, name, versions = context.registry, context.sae_name, (earlier.sae_version, context.sae_version)
    try:
        if len({registry.tags(name, version).get("model_version") for version in versions}) > 1:
            return None
        before = load_sae(registry.fetch(name, earlier.sae_version)).W_dec.detach().numpy()
    except InputError as lost:  # training again gives another SAE, not the earlier one
        log.warning("compare_versions: %s; latents are compared by their activations", lost.cause)
        return None
    return before, load_sae(registry.fetch(name, context.sae_version)).W_dec.detach().numpy()


if __name__ == "__main__":
    main(__file__)
