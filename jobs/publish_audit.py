"""Join labels and scores into concepts, check the audit, make it visible on main, point the alias champion at its SAE.

    spark-submit --properties-file conf/spark/local.conf jobs/publish_audit.py --dt 2026-11-20
    recsae run publish_audit --dt 2026-11-20

A failed check leaves everything on the branch audit-<dt>, writes a row `failed` into audits and exits with 3.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

from pyspark.sql import functions as F

from recsae_lib.concepts.publication import build_concepts
from recsae_lib.errors import CheckError
from recsae_lib.job import JobContext, for_each_site, log, main
from recsae_lib.run_record import RunRecord
from recsae_lib.side_by_side import side_by_side
from recsae_lib.warehouse import tables
from recsae_lib.warehouse.checks import CheckResult, SaeShape, run_checks
from recsae_lib.warehouse.store import audit_tables


@for_each_site
def run(context: JobContext) -> None:
    """Check first; publish all tables; the audits row comes last and commits."""
    warehouse, record = context.warehouse, RunRecord.open(context.settings, context.dt)
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
    context.registry.set_alias(context.sae_name, "champion", context.sae_version)
    commit(context, record, shape, "published")
    log.info("publish_audit: published as SAE version %s, alias champion", context.sae_version)


def report(context: JobContext, results: list[CheckResult]) -> None:
    """Write all results to a file and those that do not pass to the log."""
    folder = context.reports_folder()
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{**vars(result), "passed": result.passed} for result in results]
    (folder / "checks.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    for result in results:
        if not result.passed:
            log.warning("publish_audit: %s", result.line())
    passed = sum(result.passed for result in results)
    log.info("publish_audit: %s of %s checks pass, all in %s", passed, len(results), folder / "checks.json")


def commit(context: JobContext, record: RunRecord, shape: SaeShape, status: str) -> None:
    """Write the row of audits, straight to main."""
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


if __name__ == "__main__":
    main(__file__, run)
