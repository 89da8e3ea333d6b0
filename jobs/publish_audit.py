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

import json
from datetime import datetime, timezone

from pyspark.sql import functions as F

from recsae_lib.concepts.publication import build_concepts
from recsae_lib.errors import CheckError, InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.record import RunRecord
from recsae_lib.platform.job.run import for_each_site, main
from recsae_lib.platform.spark.concurrency import side_by_side
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.tracking.registry import PUBLISHED_TAG
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.checks import CheckResult, SaeShape, run_checks
from recsae_lib.platform.warehouse.published import published_audits
from recsae_lib.platform.warehouse.store import audit_tables


@for_each_site
def run(context: JobContext) -> None:
    """Check first; publish all tables; the audits row comes last and commits."""
    warehouse, record = context.warehouse, RunRecord.read(context.settings, context.dt)
    require_all_judges(context)
    concepts = build_concepts(
        warehouse.read_filled(tables.LATENT_ACTIVATIONS),
        warehouse.read(tables.CONCEPT_LABELS),
        warehouse.read(tables.CONCEPT_SCORES),
    )
    warehouse.replace(tables.CONCEPTS, concepts.withColumn("sae_version", F.lit(context.sae_version)))

    sae = context.registry.tags(context.sae_name, context.sae_version)
    shape = SaeShape(int(sae["model_version"]), context.sae_version, int(sae["num_latents"]), int(sae["k"]))
    results = run_checks(warehouse.read, shape, context.settings.checks)
    report(context, results)
    failed = [result for result in results if result.severity == "fail" and not result.passed]
    if failed:
        commit(context, record, shape, "failed")
        raise CheckError(
            f"The audit of {context.dt} is not published: {'; '.join(result.line() for result in failed)}. "
            f"Its tables stay on the branch {warehouse.branch}; main keeps the last good audit."
        )
    side_by_side(warehouse.publish, audit_tables())
    side_by_side(warehouse.drop_branch, audit_tables())
    promote(context)
    commit(context, record, shape, "published")
    log.info("publish_audit: published with SAE version %s", context.sae_version)


def require_all_judges(context: JobContext) -> None:
    """Raise InputError where judge llm was submitted and not collected: what is there is the term scorer's alone."""
    rows = context.warehouse.read(tables.CONCEPT_SCORES).select("judge").distinct().collect()  # one for each judge
    if "llm" in context.settings.verification.judges and {row["judge"] for row in rows} == {"terms"}:
        raise InputError(
            f"The verdicts of judge llm for {context.dt} were not collected", "Run verify_concepts with --step collect"
        )


def promote(context: JobContext) -> None:
    """Make the SAE champion, unless this is a late run of an older date: the newest one tells what people use."""
    newest = next(iter(published_audits(context.warehouse)), None)
    if newest is not None and newest.dt > context.dt:
        log.info("publish_audit: %s was published already: champion stays as it is", newest.dt)
        return
    before = context.registry.promote(context.sae_name, context.sae_version)
    log.info("publish_audit: champion is version %s (before: %s)", context.sae_version, before or "none")


def report(context: JobContext, results: list[CheckResult]) -> None:
    """Write all results to a file, a copy of it to MLflow, and those that do not pass to the log."""
    rows = [{**vars(result), "passed": result.passed} for result in results]
    content = json.dumps(rows, indent=1).encode()
    file = write_report(context.settings.paths, context.namespaces["audit"], context.dt, "checks.json", content)
    context.registry.keep_report(context.sae_name, context.sae_version, file, f"audits/{context.dt}")
    for result in results:
        if not result.passed:
            log.warning("publish_audit: %s", result.line())
    passed = sum(result.passed for result in results)
    log.info("publish_audit: %s of %s checks pass, all in %s", passed, len(results), file)


def commit(context: JobContext, record: RunRecord, shape: SaeShape, status: str) -> None:
    """Write the row of audits, straight to main; then tag the SAE version, which repeats what the row says."""
    row = (
        shape.model_version,
        shape.sae_version,
        status,
        datetime.fromisoformat(record.started_at),
        datetime.now(timezone.utc),
        record.config_digest,
        record.code_version,
    )
    columns = [field for field in tables.AUDITS.schema.fields if field.name != "dt"]
    rows = context.spark.createDataFrame([row], tables.T.StructType(columns))
    context.warehouse.append_published(tables.AUDITS, rows)
    tags = {"audit_status": status, "audit_dt": context.dt.isoformat()}
    if status == "published":
        tags[PUBLISHED_TAG] = context.dt.isoformat()
    if context.registry.tags(context.sae_name, shape.sae_version).get("dt") == context.dt.isoformat():
        for table in (tables.INTERACTIONS, tables.ITEMS):
            tags[f"{table.name}_snapshot"] = str(context.warehouse.snapshot_id(table))
    context.registry.set_tags(context.sae_name, shape.sae_version, tags)


if __name__ == "__main__":
    main(__file__)
