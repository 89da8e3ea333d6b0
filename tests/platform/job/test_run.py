from __future__ import annotations

import logging
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import Settings
from recsae_lib.errors import CheckError, InputError, StoppedError, UnfinishedError
from recsae_lib.platform.job.code_version import code_version
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.record import JobRecord, book_path, read_book
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.spark.traffic import count_written
from recsae_lib.platform.storage.locks import OWN_RUN

DT = date(2026, 11, 20)


def context_of(folder: Path, job: str = "encode_latents") -> JobContext:
    return JobContext(job, Settings.model_validate({"namespace": "shop", "paths": {"var": str(folder)}}), DT)


def records(folder: Path) -> list[JobRecord]:
    return read_book(book_path(folder, "shop"))


def test_a_job_leaves_a_line_at_its_start_and_one_at_its_end(spark: SparkSession, tmp_path: Path) -> None:
    context = context_of(tmp_path)
    assert spark.range(70).where("id >= 0").count() == 70  # is not of the job

    def run(context: JobContext) -> None:
        context.versions["sae"] = 4
        context.spark.range(1000).write.parquet(str(tmp_path / "rows"))
        assert context.spark.read.parquet(str(tmp_path / "rows")).where("id >= 0").count() == 1000

    seconds = execute(context, run)
    started, ended = records(tmp_path)
    assert (started.outcome, started.seconds, started.sae_version) == ("running", 0.0, None)
    assert (ended.outcome, ended.job, ended.dt, ended.sae_version) == ("done", "encode_latents", "2026-11-20", 4)
    assert ended.seconds == seconds > 0
    assert (ended.rows_in, ended.rows_out) == (2000, 1000)  # the range is read, too
    assert ended.bytes_in > 0
    assert ended.bytes_out > 0
    assert ended.started_at == started.started_at


def test_what_workers_write_by_themselves_is_counted(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = context_of(tmp_path)
    with caplog.at_level(logging.INFO, "recsae"):
        execute(context, lambda _: count_written(943, 5000))
        execute(context, lambda _: None)
    ended = [record for record in records(tmp_path) if record.outcome == "done"]
    assert [(record.rows_in, record.rows_out, record.bytes_out) for record in ended] == [(0, 943, 5000), (0, 0, 0)]
    lines = [message for message in caplog.messages if "done in" in message]
    assert [line.partition(" s")[2] for line in lines] == [", 943 rows out", ""]


def test_a_line_names_run_settings_code_and_data_of_the_job(tmp_path: Path) -> None:
    context = context_of(tmp_path)
    context.shared.data_digest = "digest-1"
    execute(context, lambda _: None)
    for record in records(tmp_path):
        assert (record.run, record.data_digest, record.code_version) == (OWN_RUN, "digest-1", code_version())
        assert record.config_digest == context.settings.digest()


def test_an_estimate_leaves_no_line(tmp_path: Path) -> None:
    context, ran = context_of(tmp_path), list[JobContext]()
    execute(context, ran.append, in_book=False)
    assert ran == [context]
    assert records(tmp_path) == []


@pytest.mark.parametrize(
    ("ending", "outcome", "cause"),
    [
        (InputError("The file is empty", "Fill it"), "bad input", "The file is empty. Fill it."),
        (CheckError("FVU is 0.9"), "check failed", "CheckError: FVU is 0.9"),
        (StoppedError("Stopped in epoch 3"), "stopped", "StoppedError: Stopped in epoch 3"),
        (UnfinishedError("3 requests"), "unfinished", "UnfinishedError: 3 requests"),
        (OSError(28, "No space left on device"), "bad input", "No space left on device. Free some space"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt: "),
    ],
)
def test_an_ending_that_is_not_good_is_kept_with_its_cause(
    ending: BaseException, outcome: str, cause: str, tmp_path: Path
) -> None:
    def run(context: JobContext) -> None:
        raise ending

    with pytest.raises(type(ending)):
        execute(context_of(tmp_path), run)
    record = records(tmp_path)[-1]
    assert record.outcome == outcome
    assert record.cause.startswith(cause)


def test_a_line_not_written_does_not_hide_what_ended_the_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "jobs").write_text("no folder")

    def run(context: JobContext) -> None:
        raise CheckError("FVU is 0.9")

    with pytest.raises(CheckError, match=r"FVU is 0\.9"):
        execute(context_of(tmp_path), run)
    assert "its line in the book of jobs is not written" in caplog.text
