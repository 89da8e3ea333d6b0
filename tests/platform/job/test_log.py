from __future__ import annotations

import json
import logging
from datetime import date, datetime
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from recsae_lib.cli import main as cli
from recsae_lib.config import Settings
from recsae_lib.errors import CheckError, InputError, StoppedError, UnfinishedError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.jobs import AUDIT_JOBS
from recsae_lib.platform.job.log import JobRecord, Night, log_path, read_nights
from recsae_lib.platform.job.run import execute

DT = date(2026, 11, 20)
NAMES = [job.name for job in AUDIT_JOBS]
FIRST, SECOND = NAMES[:2]


def context_of(folder: Path, job: str = "encode_latents") -> JobContext:
    return JobContext(job, Settings.model_validate({"namespace": "shop", "paths": {"var": str(folder)}}), DT)


def records(folder: Path) -> list[JobRecord]:
    return [JobRecord(**json.loads(line)) for line in log_path(folder, "shop").read_text("utf-8").splitlines()]


def test_a_job_leaves_a_line_when_it_starts_and_one_when_it_ends(spark: SparkSession, tmp_path: Path) -> None:
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


def test_the_log_is_json_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger()
    before, package.handlers = package.handlers, []
    try:
        code = guarded(lambda: execute(context_of(tmp_path), lambda _: None), log_format="json")
    finally:
        package.handlers = before
    assert code == 0
    started, ended = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert set(started) == {"time", "level", "message"}
    assert ended["message"] == f"encode_latents: done in {ended['seconds']:.1f} s, 0 rows in, 0 out"
    assert datetime.fromisoformat(ended["time"]) >= datetime.fromisoformat(started["time"])
    assert {name: value for name, value in ended.items() if name not in ("time", "level", "message")} == vars(
        records(tmp_path)[1]
    )


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
def test_an_ending_that_is_not_good_is_recorded_with_its_cause(
    ending: BaseException, outcome: str, cause: str, tmp_path: Path
) -> None:
    def run(context: JobContext) -> None:
        raise ending

    with pytest.raises(type(ending)):
        execute(context_of(tmp_path), run)
    record = records(tmp_path)[-1]
    assert record.outcome == outcome
    assert record.cause.startswith(cause)


def test_a_line_that_cannot_be_written_does_not_hide_what_ended_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "jobs").write_text("no folder")

    def run(context: JobContext) -> None:
        raise CheckError("FVU is 0.9")

    with pytest.raises(CheckError, match=r"FVU is 0\.9"):
        execute(context_of(tmp_path), run)
    assert "its line for `recsae status` is not written" in caplog.text


def line(job: str, dt: str = "2026-11-20", **values: object) -> str:
    return json.dumps({"job": job, "namespace": "shop", "dt": dt, "started_at": "2026-11-20T01:00:00+00:00", **values})


def test_nights_hold_the_latest_run_of_each_job() -> None:
    lines = [
        line(FIRST, outcome="failed", cause="broken", seconds=5.0),
        line(FIRST, outcome="done", seconds=2.0),
        line(SECOND, outcome="running"),
        line(SECOND, outcome="check failed", cause="FVU", seconds=3.0),
        line(FIRST, dt="2026-11-19", outcome="done", seconds=1.0),
        line(FIRST, dt="2026-11-18", outcome="done"),
        '{"job": "a", "names',
        '{"another": "release"}',
    ]
    nights = read_nights(lines, 2)
    assert [str(night.dt) for night in nights] == ["2026-11-20", "2026-11-19"]
    assert [(night.seconds, list(night.jobs)) for night in nights] == [(5.0, [FIRST, SECOND]), (1.0, [FIRST])]
    assert [night.state() for night in nights] == [f"check failed: {SECOND}", f"not begun: {SECOND}"]
    assert [night.cause() for night in nights] == ["FVU", ""]
    killed = Night(DT, {FIRST: JobRecord(FIRST, "shop", "2026-11-20", "2026-11-20T01:00:00+00:00")})
    assert killed.state().startswith("running, or killed, since 2026-11-")


def test_status_shows_what_failed_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["status", "--set", f"paths.var={tmp_path}", "--set", "namespace=shop"]

    def status(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*arguments, *more])
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    code, _, err = status()
    assert code == 2
    assert "No job has run here yet" in err
    done = [line(job, "2026-11-19", outcome="done", seconds=10.0, sae_version=3) for job in NAMES]
    path = log_path(tmp_path, "shop")
    path.parent.mkdir()
    failed = line(SECOND, outcome="bad input", cause="No [ratings] are there. Bring some.", seconds=1.0)
    path.write_text("\n".join([*done, line(FIRST, outcome="done"), failed]), encoding="utf-8")
    code, out, _ = status()
    assert code == 0
    first, second = (row.split("│") for row in out.splitlines() if row.startswith("│ 2026"))
    assert [cell.strip() for cell in first[1:4]] == ["2026-11-20", f"bad input: {SECOND}", ""]
    assert [cell.strip() for cell in second[1:5]] == ["2026-11-19", "published", "3", f"{10 * len(NAMES)} s"]
    assert out.endswith("2026-11-20: No [ratings] are there. Bring some.\n")
    code, out, _ = status("--nights", "1", "--format", "json")
    assert [json.loads(text)["job"] for text in out.splitlines()] == [FIRST, SECOND]
