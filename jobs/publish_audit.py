"""Join labels and scores into concepts, check the audit, make it visible on main, promote its SAE to champion.

    spark-submit --properties-file conf/spark/local.conf jobs/publish_audit.py --dt 2026-11-20
    recsae run publish_audit --dt 2026-11-20

A failed check leaves everything on the branch audit-<dt>, writes a row `failed` into audits and exits with 3. All
results are in var/reports/<namespace>/<dt>/checks.json, and in MLflow among the artifacts of the run that the SAE comes
from (audits/<dt>/checks.json); one of severity retrain that did not pass asks for a new SAE.

The SAE that was champion before gets the alias previous; `recsae promote previous` goes back to it. An audit of an
older date than the newest published one leaves the aliases as they are. The SAE version is tagged with the outcome
(audit_status, audit_dt, published_dt), and, where it was trained for this date, with the snapshots of its data
(interactions_snapshot, items_snapshot).
"""

from __future__ import annotations

from datetime import datetime

from recsae_lib.concepts.publication import build_concepts
from recsae_lib.errors import CheckError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.record import RunRecord
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.tracking.publication import AuditStatus, keep_checks, promote_sae, sae_shape, tag_outcome
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.checks import SaeShape, run_checks
from recsae_lib.platform.warehouse.published import published_audits, write_audit
from recsae_lib.verification.judging import require_all_judges


@for_each_site
def run(context: JobContext) -> None:
    """Check first; publish all tables; the audits row comes last and commits."""
    warehouse, record = context.warehouse, RunRecord.read(context.settings, context.dt)
    activations = warehouse.read_filled(tables.LATENT_ACTIVATIONS)
    labels, scores = warehouse.read(tables.CONCEPT_LABELS), warehouse.read(tables.CONCEPT_SCORES)
    require_all_judges(scores, context.settings.verification.judges, context.dt)
    warehouse.replace(tables.CONCEPTS, build_concepts(activations, labels, scores))

    shape = sae_shape(context)
    results = run_checks(warehouse.read, shape, context.settings.checks)
    keep_checks(context, results)
    failed = [result for result in results if result.severity == "fail" and not result.passed]
    if failed:
        commit(context, record, shape, "failed")
        raise CheckError(
            f"The audit of {context.dt} is not published: {'; '.join(result.line() for result in failed)}. "
            f"Its tables stay on the branch {warehouse.branch}; main keeps the last good audit."
        )
    side_by_side(warehouse.publish, tables.AUDIT_TABLES)
    side_by_side(warehouse.drop_branch, tables.AUDIT_TABLES)
    promote_sae(context, [audit.dt for audit in published_audits(warehouse)])
    commit(context, record, shape, "published")
    log.info("publish_audit: published with SAE version %s", context.sae_version)


def commit(context: JobContext, record: RunRecord, shape: SaeShape, status: AuditStatus) -> None:
    """Write the row of audits, straight to main; then tag the SAE version, which repeats what the row says."""
    started_at = datetime.fromisoformat(record.started_at)
    origin = started_at, record.config_digest, record.code_version
    write_audit(context.warehouse, shape.model_version, shape.sae_version, status, *origin)
    tag_outcome(context, shape.sae_version, status)


if __name__ == "__main__":
    main(__file__)
