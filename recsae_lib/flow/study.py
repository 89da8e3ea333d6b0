"""A study: every model audited on every data set, and what came out side by side (RecSAE, section 4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from recsae_lib.config import DEFAULT_SITE, Section, Settings, explain_faults, load_settings, merge, read_yaml
from recsae_lib.errors import CheckError, InputError
from recsae_lib.flow.audit import run_audit
from recsae_lib.flow.found_across import FoundAcross, Source, find_across
from recsae_lib.flow.study_results import AuditResult, as_markdown, comparison_rows, read_result
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.log import log
from recsae_lib.platform.job.nights import hold_tables
from recsae_lib.platform.job.record import RunRecord
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.warehouse.migration import require_migrated
from recsae_lib.platform.warehouse.raw_history import data_digest
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import COMPARISONS

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class Study(Section):
    """A study file. Settings are laid over each other: conf/base.yaml, common, data set, model, pair, --set."""

    name: Name = Field(description="Namespace of the table of results, and what the namespaces of its data begin with.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of all audits.")
    data_sets: dict[Name, dict[str, Any]] = Field(description="Settings by data set.", min_length=1)
    models: dict[Name, dict[str, Any]] = Field(description="Settings by model.", min_length=1)
    pairs: dict[Name, dict[Name, dict[str, Any]]] = Field(
        default_factory=dict, description="Settings by data set and model, where one pair needs its own."
    )


@dataclass(frozen=True)
class StudyAudit:
    """One audit of a study: a model on a data set, with its resolved settings."""

    data_set: str
    model: str
    settings: Settings


def is_study(path: Path) -> bool:
    """Whether a file is meant as a study, not as settings."""
    return "data_sets" in read_yaml(path)


def load_study(path: Path, base: Path | None, overrides: list[str]) -> tuple[Study, list[StudyAudit]]:
    """Read a study file and resolve the settings of every audit, data set by data set, before anything runs.

    Raises
    ------
    InputError : the file is no study, a setting is refused, a pair names something unknown, or a model changes the
        data.
    """
    try:
        study = Study.model_validate(read_yaml(path))
    except ValidationError as error:
        raise InputError(f"{path} is no study: {explain_faults(error)}", "conf/study.yaml is an example") from None
    for data_set, models in study.pairs.items():
        unknown = [data_set] if data_set not in study.data_sets else sorted(set(models) - set(study.models))
        if unknown:
            raise InputError(f"{path} has settings for the pair with unknown {unknown[0]!r}", "Correct its name")
    audits = []
    for data_set, of_data in study.data_sets.items():
        for model, of_model in study.models.items():
            given = merge(merge(study.settings, of_data), of_model)
            given = merge(given, study.pairs.get(data_set, {}).get(model, {}))
            own = {"namespace": f"{study.name}_{data_set}", "recommender": {"name": model}}
            audits.append(StudyAudit(data_set, model, load_settings(base, merge(given, own), overrides)))
        if len({audit.settings.dataset for audit in audits if audit.data_set == data_set}) > 1:
            raise InputError(f"A model changes the settings dataset of {data_set}", "Set them under data_sets only")
    return study, audits


def run_study(context: JobContext, study: Study, audits: list[StudyAudit]) -> str:
    """Run what has not been done, data set by data set; write the table of results and return it as Markdown.

    A data set is ingested once for all its models. An audit that was published for this date under the same settings,
    code and data is not run again; one that was interrupted goes on. One that is refused does not stop the others.

    Parameters
    ----------
    context : carries session, registry and date.

    Raises
    ------
    InputError : a table was written by an earlier version.
    CheckError : some audits were refused; the table holds the others.
    """
    require_migrated(warehouses_of(context, study, audits))
    refused = []
    for data_set in study.data_sets:
        of_data = [audit for audit in audits if audit.data_set == data_set]
        waiting = [audit for audit in of_data if not RunRecord.read(audit.settings, context.dt).is_published()]
        log.info("compare: %s: %s of %s audits are done", data_set, len(of_data) - len(waiting), len(of_data))
        if not waiting:
            continue
        with _ingested(context.with_settings(waiting[0].settings).for_job("ingest_dataset")) as data_digest:
            for audit in of_data:
                if RunRecord.read(audit.settings, context.dt).is_published(data_digest):
                    continue
                log.info("compare: %s on %s", audit.model, data_set)
                try:
                    run_audit(context.with_settings(audit.settings).for_job("audit"), data_digest)
                except (InputError, CheckError) as failure:
                    log.error("compare: %s on %s: %s", audit.model, data_set, failure)
                    refused.append(f"{audit.model} on {data_set}")
    published = [audit for audit in audits if RunRecord.read(audit.settings, context.dt).is_published()]
    results = [result for audit in published for result in _results(context, audit)]
    across = {data_set: _found_across(context, data_set, published) for data_set in study.data_sets}
    markdown = as_markdown(results, across)
    if results:
        rows = comparison_rows(context.spark, results, across)  # of others, who compare beside this one, theirs stay
        _warehouse_of(context, study).merge(COMPARISONS, rows, rows.select("data_set", "model").distinct())
    file = write_report(context.settings.paths, study.name, context.dt, "comparison.md", markdown.encode())
    log.info("compare: %s of %s audits in %s", len(audits) - len(refused), len(audits), file)
    if refused:
        raise CheckError(
            f"Not in the table, refused: {', '.join(refused)}. The lines above say why; "
            f"start again to run only these.\n\n{markdown}"
        )
    return markdown


def _found_across(context: JobContext, data_set: str, published: list[StudyAudit]) -> list[FoundAcross]:
    """What the models of a data set find of each other, at the site from which items are scored."""
    of_data = [
        audit
        for audit in published
        if audit.data_set == data_set and DEFAULT_SITE in audit.settings.representations.sites
    ]
    if len(of_data) < 2:
        return []
    sources = [Source.of_audit(audit.model, context.with_settings(audit.settings)) for audit in of_data]
    return find_across(sources, of_data[0].settings)


def warehouses_of(context: JobContext, study: Study, audits: list[StudyAudit]) -> list[Warehouse]:
    """The tables of a study: its own, and those of its audits at each probing site."""
    of_audits = [context.with_settings(audit.settings).warehouses for audit in audits]
    return [_warehouse_of(context, study), *chain.from_iterable(of_audits)]


def _warehouse_of(context: JobContext, study: Study) -> Warehouse:
    return Warehouse(context.spark, context.settings.catalog, {"data": study.name}, context.dt)


@contextmanager
def _ingested(context: JobContext) -> Iterator[str]:
    """Ingest a data set, and keep others from ingesting it anew meanwhile; yields the digest of the tables."""
    with ExitStack() as held:
        with hold_tables(context, "write"):
            execute(context, job_named(context.job).load().run)
            digest = data_digest(context.warehouse)
            held.enter_context(hold_tables(context, "read"))
        yield digest


def _results(context: JobContext, audit: StudyAudit) -> list[AuditResult]:
    of_audit = context.with_settings(audit.settings)
    seconds = RunRecord.read(audit.settings, context.dt).seconds()
    return [
        read_result(of_audit.at_site(site).warehouse, audit.data_set, audit.model, site, seconds)
        for site in audit.settings.representations.sites
    ]
