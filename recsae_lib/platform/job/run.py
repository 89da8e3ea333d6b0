"""How a job is run: under its locks, with what became of it in the log and in the book (`job.record`).

A job file defines ``run(context)`` and ends with ``main(__file__)``; the same file runs under spark-submit and by
``recsae run``.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from recsae_lib.platform.job.arguments import (
    add_common_arguments,
    add_estimate_argument,
    add_step_argument,
    context_of,
)
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.failures import bad_input, guarded, outcome_of, passing
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.log import JOB_RECORD, log
from recsae_lib.platform.job.nights import hold_tables, writes_data
from recsae_lib.platform.job.record import JobRecord, Outcome
from recsae_lib.platform.spark.traffic import Traffic, mark_now
from recsae_lib.platform.storage.locks import hold_job, run_name


def execute(context: JobContext, run: Callable[[JobContext], None], in_book: bool = True) -> float:
    """Run one job and say how it went, in the log and in the book; returns the seconds it took.

    Parameters
    ----------
    in_book : False of an estimate, after which the job is as much to be done as before.

    Raises
    ------
    PassingError : another run works on what this one writes or reads, or another process of this run on the same job.
    """
    locks, model = context.settings.paths.locks_folder, context.namespaces["model"]
    with (
        hold_tables(context, "write" if writes_data(context.job) else "read"),
        hold_job(locks, model, context.dt, context.job),
    ):
        return _execute(context, run, in_book)


def _execute(context: JobContext, run: Callable[[JobContext], None], in_book: bool) -> float:
    started, mark = time.monotonic(), mark_now()
    log.info("%s: started for dt=%s in %s", context.job, context.dt, context.namespaces["model"])
    record = JobRecord(
        context.job,
        context.namespaces["model"],
        context.dt.isoformat(),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        run=run_name(),
        config_digest=context.settings.digest(),
        code_version=code_version(),
        data_digest=context.shared.data_digest,
    )
    if in_book:
        _write_record(context, record)
    outcome: Outcome = "done"
    cause = ""
    try:
        run(context)
    except BaseException as ending:
        outcome, cause = (
            outcome_of(ending),
            bad_input(ending) or passing(ending) or f"{type(ending).__name__}: {ending}",
        )
        raise
    finally:
        traffic = Traffic.after(mark)
        record = replace(
            record,
            seconds=round(time.monotonic() - started, 3),
            outcome=outcome,
            cause=cause,
            model_version=context.versions.get("model"),
            sae_version=context.versions.get("sae"),
            **vars(traffic),
        )
        if in_book:
            _write_record(context, record)
        counts = f", {line}" if (line := traffic.line()) else ""
        log.info("%s: %s in %.1f s%s", context.job, outcome, record.seconds, counts, extra={JOB_RECORD: vars(record)})
    return record.seconds


def _write_record(context: JobContext, record: JobRecord) -> None:
    try:
        record.append_to(Path(context.settings.paths.var))
    except OSError as failure:  # is no reason to lose the job, or the error that ended it
        log.warning("%s: its line in the book of jobs is not written: %s", context.job, failure)


def for_each_site(run: Callable[[JobContext], None]) -> Callable[[JobContext], None]:
    """Decorate the ``run`` of a job that works on one probing site: it runs for each of the settings' sites."""

    @functools.wraps(run)
    def run_sites(context: JobContext) -> None:
        for site in context.settings.representations.sites:
            if len(context.settings.representations.sites) > 1:
                log.info("%s: site %s", context.job, site)
            run(context.at_site(site))

    return run_sites


def main(file: str) -> None:
    """Entry of a job file: parse arguments, call its ``run`` or ``estimate``, and exit with the code of `guarded`."""
    job, module = job_named(Path(file).stem), sys.modules["__main__"]
    parser = argparse.ArgumentParser(
        prog=Path(file).name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common_arguments(parser)
    if job.estimates:
        add_estimate_argument(parser)
    if job.steps:
        add_step_argument(parser)
    arguments = parser.parse_args()
    estimates = job.estimates and arguments.estimate

    def run_job() -> float:
        context = context_of(arguments, job.name)
        return execute(context, module.estimate if estimates else module.run, in_book=not estimates)

    sys.exit(guarded(run_job, arguments.traceback, arguments.log_format))
