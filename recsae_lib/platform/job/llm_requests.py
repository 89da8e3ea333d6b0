"""The requests of one job to a language model: their file, the ledger on it, and the job's table of requests.

A job writes its requests into `requests_path` and calls `submit_requests`; then, or in another process hours later,
it opens `collected_requests` and reads the answers from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame, SparkSession

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.log import log
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import JsonObject
from recsae_lib.platform.llm.requests import subject_of
from recsae_lib.platform.warehouse.tables import Table

if TYPE_CHECKING:  # a job that asks no language model does not wait for the import of the client
    from recsae_lib.platform.llm.inline_transport import Progress


def requests_path(context: JobContext) -> Path:
    """Requests of this date; of each SAE version its own, so that no answer lands with another's latents."""
    return context.work_folder() / f"requests_of_sae_{context.sae_version}.jsonl"


def submit_requests(
    context: JobContext, table: Table, is_refused: Callable[[JsonObject, JsonObject | None], bool]
) -> None:
    """Send the requests of the file; the table records them before anything is sent, and again at the end.

    Parameters
    ----------
    is_refused : whether the job cannot use an answer to a request; such requests go again if the context says so.

    Raises
    ------
    InputError : see `transports.submit`.
    """
    from recsae_lib.platform.llm.transports import submit

    settings = context.settings.llm
    with _opened(context, fetches_requests=False) as ledger:
        if context.ask_again == "refused":
            log.info("%s: %s refused answers are asked for again", context.job, f"{ledger.ask_again(is_refused):,}")
        ledger.intend(settings.transport)
        write_records(context, table, ledger)
        with _recorded(context, table, ledger):
            submit(ledger, settings, _progress_of(context))


@contextmanager
def collected_requests(context: JobContext, table: Table) -> Iterator[Ledger]:
    """Open the ledger when every request has an answer or has failed; without a step of the job that is waited for.

    Raises
    ------
    UnfinishedError, InputError : see `transports.collect`. What has landed by then is in the table.
    """
    from recsae_lib.platform.llm.transports import collect

    with _opened(context, fetches_requests=context.step == "collect") as ledger:
        with _recorded(context, table, ledger):
            collect(ledger, context.settings.llm, _progress_of(context), wait=context.step is None)
        yield ledger


def write_records(context: JobContext, table: Table, ledger: Ledger | None) -> None:
    """Write what the ledger knows of the requests of its file; without a ledger (nobody is asked) there are none."""
    context.warehouse.replace(table, read_records(context.spark, table, ledger))


def read_records(spark: SparkSession, table: Table, ledger: Ledger | None) -> DataFrame:
    """The rows of a table of requests, without dt and sae_version."""
    rows = [
        (subject_of(request), request["custom_id"], *vars(record).values())
        for request, record in (() if ledger is None else ledger.records())
    ]
    return spark.createDataFrame(rows, table.row_schema)


@contextmanager
def _opened(context: JobContext, fetches_requests: bool) -> Iterator[Ledger]:
    paths, requests = context.settings.paths, requests_path(context)
    with ExitStack() as here:
        if paths.llm is not None:
            from recsae_lib.platform.llm.shared_ledger import ledger_from  # boto3 takes its time to be imported

            here.enter_context(
                ledger_from(paths.llm, Path(paths.var), context.ledger_path(), requests, fetches_requests)
            )
        payer, settings = f"{context.dt} {context.job}", context.settings.llm
        yield here.enter_context(Ledger.open(context.ledger_path(), payer, requests, settings))


@contextmanager
def _recorded(context: JobContext, table: Table, ledger: Ledger) -> Iterator[None]:
    """Write the table at the end, however it comes."""
    try:
        yield
    finally:
        write_records(context, table, ledger)


def _progress_of(context: JobContext) -> Progress:
    def log_progress(done: int, total: int) -> None:
        """Say how many requests are done, some twenty times a run."""
        if done == total or done % max(1, total // 20) == 0:
            log.info("%s: %s of %s requests done", context.job, f"{done:,}", f"{total:,}")

    return log_progress
