"""What an audit leaves in MLflow when it is published or refused: its checks, the champions, and what
the pages of its SAE say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Literal

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.remote_names import positive_number
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.tracking.audit_notes import AuditNote, keep_note
from recsae_lib.platform.tracking.registry import MOST_ACTIVE_TAG, PUBLISHED_TAG
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.checks import SaeShape
from recsae_lib.platform.warehouse.publications import Publication
from recsae_lib.platform.warehouse.results import CheckResult

AuditStatus = Literal["published", "failed"]


def sae_shape(context: JobContext) -> SaeShape:
    """Return what the rows of the audit must agree with, as the training of its SAE wrote it down."""
    tags = context.registry.tags(context.sae_name, context.sae_version)

    def number(tag: str) -> int:
        what = f"The tag {tag} of {context.sae_name} version {context.sae_version}"
        return positive_number(tags.get(tag, ""), what)

    most_active = number(MOST_ACTIVE_TAG if MOST_ACTIVE_TAG in tags else "k")  # an earlier release called it k
    return SaeShape(number("model_version"), context.sae_version, number("num_latents"), most_active)


def keep_checks(context: JobContext, results: Sequence[CheckResult]) -> None:
    """Write all results to checks.json and to MLflow, beside the SAE, and those that do not pass to the log."""
    rows = [{**vars(result), "passed": result.passed} for result in results]
    content = json.dumps(rows, indent=1).encode()
    file = write_report(context.settings.paths, context.namespaces["audit"], context.dt, "checks.json", content)
    context.registry.keep_report(context.sae_name, context.sae_version, file, f"audits/{context.dt}")
    for result in results:
        if not result.passed:
            log.warning("publish_audit: %s", result.line())
    passed = sum(result.passed for result in results)
    log.info("publish_audit: %s of %s checks pass, all in %s", passed, len(results), file)


def promote_sae(context: JobContext, publication: Publication, published: Sequence[date]) -> None:
    """Make SAE and recommender of an audit champions, unless it is of an older date than one that is published.

    Parameters
    ----------
    published : dates of the published audits.
    """
    if (newest := max(published, default=publication.dt)) > publication.dt:
        log.info("publish_audit: %s was published already: champion stays as it is", newest)
        return
    before = context.registry.promote(context.sae_name, publication.sae_version)
    log.info("publish_audit: champion is version %s (before: %s)", publication.sae_version, before or "none")
    name, version = context.recommender_name, publication.model_version
    if context.registry.version_with(name, version) is not None:  # else somebody has deleted it since
        context.registry.promote(name, version)


def note_findings(
    context: JobContext, publication: Publication, sentences: Sequence[str], figures: Mapping[str, float]
) -> None:
    """Show in MLflow what a published audit found, on the pages of its SAE version; before `tag_outcome`.

    Parameters
    ----------
    sentences, figures : see `AuditNote`.
    """
    name, version = context.sae_name, publication.sae_version
    is_newest = context.registry.tags(name, version).get(PUBLISHED_TAG, "") <= publication.dt.isoformat()
    note = AuditNote(publication.dt, publication.finished_at, sentences, figures)
    keep_note(context.registry, name, version, note, is_newest)


def tag_outcome(context: JobContext, sae_version: int, status: AuditStatus) -> None:
    """Tag an SAE version with the outcome of its audit and, where it was trained for this date, the snapshots of its
    data.
    """
    dt = context.dt.isoformat()
    tags = {"audit_status": status, "audit_dt": dt}
    if status == "published":
        tags[PUBLISHED_TAG] = dt
    if context.registry.tags(context.sae_name, sae_version).get("dt") == dt:
        for table in (tables.INTERACTIONS, tables.ITEMS):
            tags[f"{table.name}_snapshot"] = str(context.warehouse.snapshot_id(table))
    context.registry.set_tags(context.sae_name, sae_version, tags)
