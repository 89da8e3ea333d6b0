"""Join labels and scores into concepts, check the audit, publish it, promote its SAE to champion.

    spark-submit --properties-file conf/spark/local.conf jobs/publish_audit.py --dt 2026-11-20
    recsae run publish_audit --dt 2026-11-20

Adding the row to audits publishes all tables at once: readers see the whole audit, or the one before. Where a run
ended right after that, the next one tags the snapshots and brings main after. A failed check leaves everything on the
branch audit-<dt>, writes a row `failed` into audit_attempts and exits with 3. All results are in
var/reports/<namespace>/<dt>/checks.json, and in MLflow among the artifacts of the run that the SAE comes from
(audits/<dt>/checks.json); one of severity retrain that did not pass asks for a new SAE.

SAE and recommender of the audit get the alias champion, those that were it before the alias previous; `recsae promote
previous` goes back to the SAE. An audit of an older date than the newest published one leaves the aliases as they are.
The descriptions of SAE version and run say what was found, and both have the figures as metrics (audit/…). The SAE
version is tagged with the outcome (audit_status, audit_dt, published_dt), and, where it was trained for this date, with
the snapshots of its data (interactions_snapshot, items_snapshot).
"""

from __future__ import annotations

from datetime import datetime

from recsae_lib.concepts.artefacts import item_artefacts
from recsae_lib.concepts.duplicates import same_as
from recsae_lib.concepts.publication import build_concepts, latent_reach
from recsae_lib.errors import CheckError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.record import RunRecord
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import both
from recsae_lib.platform.tracking.publication import keep_checks, note_findings, promote_sae, sae_shape, tag_outcome
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.checks import run_checks
from recsae_lib.platform.warehouse.publications import Publication, last_of_each_date, publications
from recsae_lib.platform.warehouse.publishing import (
    Origin,
    complete_publications,
    publish_tables,
    record_refusal,
    unpublished_tables,
)
from recsae_lib.tuning.nothing_tuned import write_nothing_where_skipped
from recsae_lib.verification.findings import better_baselines, headline, key_figures
from recsae_lib.verification.verdicts import require_all_judges


@for_each_site
def run(context: JobContext) -> None:
    """Complete what an earlier run began; check what is new, and publish it."""
    warehouse = context.warehouse
    complete_publications(warehouse)
    published = last_of_each_date(publications(warehouse)).get(context.dt)
    if published is None or unpublished_tables(warehouse):
        publish(context)
    else:
        log.info("publish_audit: is published, as number %s; nothing is new", published.number)
        announce(context, published)


def publish(context: JobContext) -> None:
    """Build the concepts, check all tables, publish them together."""
    warehouse = context.warehouse
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    labels, scores, latent_items = map(
        warehouse.read, (tables.CONCEPT_LABELS, tables.CONCEPT_SCORES, tables.LATENT_ITEMS)
    )
    require_all_judges(scores, context.settings.verification.judges, context.dt)
    items, interactions = warehouse.read(tables.ITEMS), warehouse.read(tables.INTERACTIONS)
    twins, artefacts = both(
        lambda: same_as(latent_items, latent_reach(activations), context.settings.evidence.same_closeness),
        lambda: item_artefacts(latent_items, items, interactions),
    )
    known = activations, labels, scores, twins, artefacts, warehouse.read(tables.LATENT_EFFECTS)
    warehouse.replace(tables.CONCEPTS, build_concepts(*known, context.settings.verification))

    if not context.settings.tunings:
        write_nothing_where_skipped(warehouse)

    shape = sae_shape(context)
    origin = origin_of(context, shape.model_version, shape.sae_version)
    results = run_checks(warehouse.read, shape, context.settings.checks)
    keep_checks(context, results)
    failed = [result for result in results if result.severity == "fail" and not result.passed]
    if failed:
        record_refusal(warehouse, origin)
        tag_outcome(context, shape.sae_version, "failed")
        raise CheckError(
            f"The audit of {context.dt} is not published: {'; '.join(result.line() for result in failed)}. "
            f"Its tables stay on the branch {warehouse.branch}; readers see the last good audit."
        )
    announce(context, publish_tables(warehouse, origin))


def announce(context: JobContext, publication: Publication) -> None:
    """Say in MLflow that the audit is published."""
    promoted: Publication | None = publication
    while promoted is not None:
        found = last_of_each_date(publications(context.warehouse))
        promote_sae(context, promoted, list(found))
        # A newer audit may have been published, and its SAE promoted, since the list was read.
        later = last_of_each_date(publications(context.warehouse))
        promoted = next((later[dt] for dt in later if dt > publication.dt and dt not in found), None)
    describe(context, publication)
    tag_outcome(context, publication.sae_version, "published")
    log.info("publish_audit: published as number %s with SAE version %s", publication.number, publication.sae_version)


def describe(context: JobContext, publication: Publication) -> None:
    """Show in MLflow what the audit found."""
    metrics = context.warehouse.published().read(context.warehouse, tables.AUDIT_METRICS).collect()  # some hundred rows
    figures = {(row["unit_kind"], row["metric"]): row["value"] for row in metrics}
    note_findings(context, publication, [headline(figures), *better_baselines(figures)], key_figures(figures))


def origin_of(context: JobContext, model_version: int, sae_version: int) -> Origin:
    """What the rows of audits and audit_attempts say of where the audit comes from."""
    record = RunRecord.read(context.settings, context.dt)
    started_at = datetime.fromisoformat(record.started_at)
    return Origin(model_version, sae_version, started_at, record.config_digest, record.code_version)


if __name__ == "__main__":
    main(__file__)
