"""What every job shares: arguments, settings, session, versions, logging, exit codes.

A job file defines ``run(context)`` and ends with ``main(__file__)``; the same file runs under spark-submit and by
``recsae run``.
"""

from __future__ import annotations

import argparse
import functools
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recsae_lib.config import DEFAULT_SITE, Scope, Settings, load_settings
from recsae_lib.errors import CheckError, InputError, PassingError, StoppedError, UnfinishedError, lost_connection
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.log import JOB_RECORD, JobRecord, JsonLines, Outcome, Traffic, newest_stage
from recsae_lib.platform.storage.locks import hold_job, hold_night
from recsae_lib.platform.storage.reports import reports_folder

if TYPE_CHECKING:  # a job that needs no Spark session or no MLflow does not wait for their import
    from pyspark.sql import SparkSession

    from recsae_lib.platform.tracking.registry import Registry
    from recsae_lib.platform.warehouse.store import Warehouse

BASE_SETTINGS = Path("conf/base.yaml")
EXIT_FAILED, EXIT_BAD_INPUT, EXIT_CHECK_FAILED, EXIT_STOPPED, EXIT_UNFINISHED = 1, 2, 3, 4, 5

Step = Literal["submit", "collect"]
STEPS: tuple[Step, ...] = ("submit", "collect")

log = logging.getLogger("recsae")


@dataclass
class JobContext:
    """What a job works with: settings, date, session, warehouse, registry, versions resolved to numbers once.

    Parameters
    ----------
    job : name of the job, also the Spark application name.
    settings : resolved settings.
    dt : date of the audit.
    site : probing site that is audited.
    spark_overrides : Spark properties that win over the properties file (tests).
    step : the half of the job to run, of a job that hands work to a server; None for both, waiting in between.
    """

    job: str
    settings: Settings
    dt: date
    site: str = DEFAULT_SITE
    spark_overrides: dict[str, str] = field(default_factory=dict)
    step: Step | None = None

    @cached_property
    def _shared(self) -> dict[str, Any]:
        """Session and registry of this context and all that were made from it."""
        return {}

    @property
    def spark(self) -> SparkSession:
        """The Spark session, opened when first asked for."""
        from recsae_lib.platform.spark.session import open_session

        if "spark" not in self._shared:
            properties = Path(self.settings.spark.properties)
            self._shared["spark"] = open_session(self.job, properties, self.spark_overrides)
        session: SparkSession = self._shared["spark"]
        return session

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables, as the audit of this date sees them."""
        from recsae_lib.platform.warehouse.store import Warehouse

        return Warehouse(self.spark, self.settings.catalog, self.namespaces, self.dt, self)

    @property
    def warehouses(self) -> list[Warehouse]:
        """The tables at each probing site of the settings."""
        return [self.at_site(site).warehouse for site in self.settings.representations.sites]

    @property
    def registry(self) -> Registry:
        """MLflow."""
        from recsae_lib.platform.tracking.registry import Registry

        if "registry" not in self._shared:
            paths = self.settings.paths
            self._shared["registry"] = Registry(paths.tracking_uri, paths.artifacts, Path(paths.var) / "models")
        registry: Registry = self._shared["registry"]
        return registry

    @cached_property
    def namespaces(self) -> dict[Scope, str]:
        """Namespace of the tables of each scope."""
        return self.settings.namespaces(self.site)

    @property
    def recommender_name(self) -> str:
        """Registered name of the recommender."""
        return f"recommender-{self.namespaces['model']}"

    @property
    def sae_name(self) -> str:
        """Registered name of the sparse autoencoder."""
        return f"recsae-{self.namespaces['audit']}"

    @cached_property
    def model_version(self) -> int:
        """Version of the recommender that this job reads."""
        version = self.registry.resolve(self.recommender_name, self.settings.recommender.version)
        self.versions["model"] = version
        return version

    @cached_property
    def sae_version(self) -> int:
        """Version of the sparse autoencoder that this job reads."""
        version = self.registry.resolve(self.sae_name, self.settings.sae.version)
        self.versions["sae"] = version
        return version

    @property
    def versions(self) -> dict[str, int]:
        """Versions that were resolved so far, the latest of each kind: model, sae."""
        versions: dict[str, int] = self._shared.setdefault("versions", {})
        return versions

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the MLflow runs of this job."""
        return {"job": self.job, "namespace": self.namespaces["audit"], "dt": self.dt.isoformat()}

    def work_folder(self) -> Path:
        """Local folder for intermediate files of this job, date and site."""
        folder = Path(self.settings.paths.var) / "work" / self.namespaces["audit"] / self.dt.isoformat() / self.job
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def reports_folder(self) -> Path:
        """Local folder of the reports of this date and site."""
        return reports_folder(self.settings.paths, self.namespaces["audit"], self.dt)

    def ledger_path(self) -> Path:
        """File of the ledger of requests to language models, the same for all dates and SAE versions of this site."""
        return Path(self.settings.paths.var) / "llm" / f"{self.namespaces['audit']}.sqlite"

    def for_job(self, job: str) -> JobContext:
        """Return the context of another job of the same audit; an open session and registry are shared."""
        self.versions.clear()
        return self._sharing(JobContext(job, self.settings, self.dt, self.site, self.spark_overrides))

    def at_site(self, site: str) -> JobContext:
        """Return the context of the same job at another probing site."""
        return self._sharing(JobContext(self.job, self.settings, self.dt, site, self.spark_overrides, self.step))

    def with_settings(self, settings: Settings) -> JobContext:
        """Return the context of the same job under other settings, with the same Spark properties and MLflow."""
        return self._sharing(JobContext(self.job, settings, self.dt, self.site, self.spark_overrides))

    def _sharing(self, other: JobContext) -> JobContext:
        """Open session and registry when they are first asked for, by either context: both have the same."""
        other.__dict__["_shared"] = self._shared
        return other


def add_common_arguments(parser: argparse.ArgumentParser, dt_required: bool = True) -> None:
    """Add ``--conf``, ``--set`` and ``--dt``, which every job and command takes."""
    parser.add_argument("--conf", type=Path, metavar="FILE", help="settings file over conf/base.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=VALUE", dest="overrides", help="one setting; may be repeated"
    )
    parser.add_argument(
        "--dt",
        type=parse_date,
        required=dt_required,
        metavar="YYYY-MM-DD",
        help="date of the audit: the partition to write",
    )
    parser.add_argument("--traceback", action="store_true", help="show the whole traceback of a failure")
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="of the log on standard error; json is one object a line, with all that is known of a job when it ends",
    )


def add_estimate_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--estimate``, of jobs that ask a language model."""
    parser.add_argument(
        "--estimate", action="store_true", help="only print what would be asked of a language model, and its cost"
    )


def add_step_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--step``, which jobs take that hand work to a server and fetch it later."""
    parser.add_argument(
        "--step",
        choices=STEPS,
        help="submit: send the requests and end; collect: fetch what is answered, exit code 5 while some is not; "
        "without it: both, waiting in between",
    )


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Resolve the settings that the common arguments name."""
    return load_settings(base_settings(), arguments.conf, arguments.overrides)


def base_settings() -> Path | None:
    """The file under all settings, where there is one."""
    return BASE_SETTINGS if BASE_SETTINGS.is_file() else None


def execute(context: JobContext, run: Callable[[JobContext], None]) -> float:
    """Run one job and say how it went, in the log and in `job_log`; returns the seconds it took.

    Raises
    ------
    PassingError : another run works on the same namespace and date, or another process of this run on the same job.
    """
    night = context.settings.paths.locks_folder, context.namespaces["model"], context.dt
    with hold_night(*night), hold_job(*night, context.job):
        return _execute(context, run)


def _execute(context: JobContext, run: Callable[[JobContext], None]) -> float:
    started, stage = time.monotonic(), newest_stage()
    log.info("%s: started for dt=%s in %s", context.job, context.dt, context.namespaces["model"])
    record = JobRecord(
        context.job,
        context.namespaces["model"],
        context.dt.isoformat(),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
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
        record = replace(
            record,
            seconds=round(time.monotonic() - started, 3),
            outcome=outcome,
            cause=cause,
            model_version=context.versions.get("model"),
            sae_version=context.versions.get("sae"),
            **vars(Traffic.after(stage)),
        )
        _write_record(context, record)
        counts = f"{record.rows_in:,} rows in, {record.rows_out:,} out"
        log.info("%s: %s in %.1f s, %s", context.job, outcome, record.seconds, counts, extra={JOB_RECORD: vars(record)})
    return record.seconds


def _write_record(context: JobContext, record: JobRecord) -> None:
    try:
        record.append_to(Path(context.settings.paths.var))
    except OSError as failure:  # is no reason to lose the job, or the error that ended it
        log.warning("%s: its line for `recsae status` is not written: %s", context.job, failure)


def outcome_of(ending: BaseException) -> Outcome:
    """Name how a job ended that did not end well."""
    for kind, outcome in _OUTCOMES:
        if isinstance(ending, kind):
            return outcome
    return "failed" if bad_input(ending) is None else "bad input"


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
    action = module.estimate if job.estimates and arguments.estimate else module.run
    step = arguments.step if job.steps else None

    def run_job() -> float:
        return execute(JobContext(job.name, settings_of(arguments), arguments.dt, step=step), action)

    sys.exit(guarded(run_job, arguments.traceback, arguments.log_format))


def guarded(action: Callable[[], object], show_traceback: bool = False, log_format: str = "text") -> int:
    """Run `action`; return 0, 1 (a fault of the program, or something that passes), 2 (bad input), 3 (a check
    failed), 4 (stopped by a signal) or 5 (not finished yet).

    What it raises becomes one line on standard error.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines() if log_format == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
    try:
        action()
    except CheckError as failure:
        print(f"recsae: {failure}", file=sys.stderr)
        return EXIT_CHECK_FAILED
    except StoppedError as stopped:
        print(f"recsae: {stopped}; its state is saved, start again to go on", file=sys.stderr)
        return EXIT_STOPPED
    except UnfinishedError as unfinished:
        print(f"recsae: not finished yet: {unfinished}; collect again later", file=sys.stderr)
        return EXIT_UNFINISHED
    except KeyboardInterrupt:
        print("recsae: interrupted; what was finished stays, start again to go on", file=sys.stderr)
        return EXIT_FAILED
    except Exception as failure:
        if show_traceback:
            traceback.print_exc()
        line, passing_line = bad_input(failure), passing(failure)
        if line is None and passing_line is None and not show_traceback:
            traceback.print_exc()
        print(f"recsae: {line or passing_line or f'{type(failure).__name__}: failed, see above'}", file=sys.stderr)
        return EXIT_FAILED if line is None else EXIT_BAD_INPUT
    return 0


_OUTCOMES: Sequence[tuple[type[BaseException], Outcome]] = (
    (InputError, "bad input"),
    (CheckError, "check failed"),
    (StoppedError, "stopped"),
    (UnfinishedError, "unfinished"),
)

# What Spark and the file systems say of bad input, as (pattern, remedy).
_SPARK_FAULTS: Sequence[tuple[str, str]] = (
    (r"(\S+) is not a Parquet file[^\n]*", "Replace the file, or leave it out"),
    (r"Could not read footer for file[^\n]*", "Replace the file, or leave it out"),
    (
        r"(?:java\.io\.FileNotFoundException|AccessControlException|AccessDeniedException)[^\n]*",
        "Check the path and its permissions",
    ),
    (r"Mkdirs failed to create[^\n]*", "Check that the folder may be written"),
    (
        r"\[(?:PATH_NOT_FOUND|TABLE_OR_VIEW_NOT_FOUND|UNRESOLVED_COLUMN[^\]]*|PARSE_SYNTAX_ERROR)\][^\n]*",
        "Check the name",
    ),
    (r"No space left on device|database or disk is full", "Free some space under paths.var"),
)

# Spark runs the tasks of a lost executor again, up to a point; rows of `frames.keep` are gone with it.
_LOST_EXECUTOR = re.compile(r"Checkpoint block \S+ not found|ExecutorLostFailure")


def passing(failure: BaseException) -> str | None:
    """Return the line for what passes by itself; None where that is not what happened.

    The JVM under this process is no server: where it was lost, `guarded` shows the traceback.
    """
    if isinstance(failure, PassingError):
        return str(failure)
    if type(failure).__module__.startswith("py4j") and "Network" in type(failure).__name__:
        return None
    if match := _LOST_EXECUTOR.search(str(failure)):
        return (
            f"Executors were lost with what they kept for the job ({match.group(0)}). Run again; if it happens each "
            "time, see why they end: their memory (spark.executor.memory), or a cluster that takes them away."
        )
    if (said := lost_connection(failure)) is None:
        return None
    return f"A server that the job needs does not answer: {said.rstrip('.')}. See to it, then run again."


def bad_input(failure: BaseException) -> str | None:
    """Return the line that explains a failure that a person can mend; None for a fault of the program.

    Errors that were raised in a Python worker or in the JVM arrive as text inside another exception.
    """
    if isinstance(failure, InputError):
        return str(failure)
    if isinstance(failure, PermissionError | FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return f"{failure.strerror}: {failure.filename}. Check the path and its permissions."
    text = str(failure)
    if match := re.search(r"InputError: ([^\n]+)", text):
        return match.group(1).strip()
    for pattern, remedy in _SPARK_FAULTS:
        if match := re.search(pattern, text):
            return f"{match.group(0).strip().rstrip('.')}. {remedy}."
    return None


def parse_date(text: str) -> date:
    """Type of arguments that are dates."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date of the form YYYY-MM-DD") from None
