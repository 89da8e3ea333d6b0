"""Runs of every kind through a real scheduler: which date they are for, and how they end.

The first job of a night is the suite's own, under its own spark-submit; for the others something stands in. A whole
night is `make nightly`, and `make faults ONLY=lost_scheduler`, which compares its tables with those of `recsae audit`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from requests import HTTPError

import local_airflow
import local_run
from tests.airflow.in_airflow.stand_in import DAGS, REPOSITORY, SUITE, StandIn

KEY = "sk-never-to-be-seen"
GOOD_DATE = "2026-11-03"
CHECK = {"table": "audit_metrics", "name": "FVU", "severity": "fail", "violations": 1, "detail": "0.2", "passed": False}
PLAN = {
    "jobs": [{"name": "ingest_dataset", "steps": False}, {"name": "interpret_concepts", "steps": True}],
    "train_recommender": False,
    "train_sae": True,
    "choose_sae": True,
    "tune_recommendations": False,
    "settings": [],
    "namespaces": ["shop", "shop__blocks_0"],
    "reports": ["var/reports/shop", "var/reports/shop__blocks_0"],
    "interpret_concepts_asks": True,
    "verify_concepts_asks": False,
}
REAL = "jobs/ingest_dataset.py"
SECONDS = 600  # that a run may take on a machine with other work


@dataclass
class Local:
    """A local Airflow that is under way."""

    airflow: local_run.Airflow
    suite: StandIn

    def call(self, method: str, path: str, body: Any = None) -> Any:
        return self.airflow.call(method, path, body)

    def runs(self, dag_id: str, run_type: str) -> list[dict[str, Any]]:
        found = self.call("GET", f"dags/{dag_id}/dagRuns?run_type={run_type}&order_by=id")["dag_runs"]
        return list(found)

    def ended(self, dag_id: str, run_type: str, number: int = 1) -> list[dict[str, Any]]:
        """Wait until so many runs have ended, and return them."""
        return until(
            lambda: [run for run in self.runs(dag_id, run_type) if run["state"] in ("success", "failed")],
            lambda runs: len(runs) >= number,
        )

    def trigger(self, logical_date: str | None = None, **settings: Any) -> dict[str, Any]:
        """Start a run by hand, wait for its end, and return it."""
        run_id = f"by_hand_{time.time_ns()}"
        self.airflow.start("nightly_audit", run_id, settings, logical_date)
        address = f"dags/nightly_audit/dagRuns/{run_id}"
        return until(lambda: self.call("GET", address), lambda run: run["state"] in ("success", "failed"))

    def tasks(self, run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found = self.call("GET", f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances?limit=100")
        return {task["task_id"]: task for task in found["task_instances"]}

    def dt(self, run: dict[str, Any]) -> str:
        """The date that the run resolved."""
        task = f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/begin"
        night = self.call("GET", f"{task}/xcomEntries/return_value?deserialize=true")["value"]
        date = re.search(r"dt\W+(\d{4}-\d\d-\d\d)", str(night))
        assert date is not None
        return date.group(1)


def until(look: Callable[[], Any], is_enough: Callable[[Any], bool]) -> Any:
    ends = time.monotonic() + SECONDS
    while not is_enough(seen := look()):
        assert time.monotonic() < ends, seen
        time.sleep(1)
    return seen


def lay_out_data(home: Path) -> None:
    """Write the settings and the data of 20 users who took 5 of 10 items each, and link the jobs."""
    (home / "conf").mkdir()
    for part in ("jobs", "conf/base.yaml", "conf/spark"):
        (home / part).symlink_to(REPOSITORY / part)
    interactions = [f"u{user},i{(user + n) % 10},{1_700_000_000 + n}" for user in range(20) for n in range(5)]
    items = [f"i{item},Title,feature" for item in range(10)]
    (home / "interactions.csv").write_text("\n".join(["user_id,item_id,ts", *interactions]), encoding="utf-8")
    (home / "items.csv").write_text("\n".join(["item_id,title,features", *items]), encoding="utf-8")
    dataset = {"format": "csv", "interactions": "interactions.csv", "items": "items.csv"}
    settings = {"namespace": "shop", "dataset": dataset}
    (home / "conf" / "local.yaml").write_text(json.dumps(settings), encoding="utf-8")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    suite = StandIn(tmp_path_factory.mktemp("suite"))
    lay_out_data(suite.home)
    options = subprocess.run([SUITE / "recsae", "spark"], cwd=suite.home, stdout=subprocess.PIPE, text=True, check=True)
    connection = {**json.loads(options.stdout), "home": str(suite.home), "python": suite.python, "jobs": "jobs"}
    suite.order(dates=(GOOD_DATE,), spark=connection, plan=PLAN, real=REAL)
    folder, port = suite.home / "var" / "airflow", local_airflow.free_port()
    with (suite.folder / "serve.log").open("w") as log, pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(local_run, "PASSWORDS", folder / local_run.PASSWORDS.name)
        process = subprocess.Popen(
            [sys.executable, str(DAGS / "local_airflow.py"), "serve", "--python", suite.python, "--port", str(port)],
            cwd=suite.home,
            stdout=log,
            stderr=log,
            env={**os.environ, "OPENAI_API_KEY": KEY, "AIRFLOW__RECSAE__NIGHTLY_SCHEDULE": "0 2 * * *"},
        )
        try:
            written = suite.folder / "serve.log"
            until(lambda: written.read_text("utf-8"), lambda text: "is ready" in text or process.poll() is not None)
            assert process.poll() is None, written.read_text("utf-8")
            yield Local(local_run.Airflow(port), suite)
        finally:
            process.terminate()
            process.wait(120)


@dataclass
class Night:
    """A night by hand that was published and whose concepts had drifted, and the retraining that this started.

    Parameters
    ----------
    run, retraining : the runs, after their end.
    printed : what `make nightly` printed.
    """

    run: dict[str, Any]
    retraining: dict[str, Any]
    printed: str


@pytest.fixture(scope="module")
def night(local: Local) -> Night:
    local.call("PATCH", "dags/concepts_reader", {"is_paused": False})
    report = local.suite.home / "var" / "reports" / "shop__blocks_0"
    report.mkdir(parents=True)
    asking = {**CHECK, "name": "stable_share", "severity": "retrain"}
    (report / "checks.json").write_text(json.dumps([asking]), encoding="utf-8")
    settings = {"dt": GOOD_DATE, "conf": None, "set": ["seed=7"]}
    try:
        with redirect_stdout(StringIO()) as printed:
            assert local_run.run_night(local.airflow, settings, ends_with_it=True) == 0, printed.getvalue()
    finally:
        (report / "checks.json").unlink()
    (run,) = (run for run in local.runs("nightly_audit", "manual") if run["state"] == "success")
    (retraining,) = local.runs("retrain_sae", "operator_triggered")
    return Night(run, retraining, printed.getvalue())


def test_a_scheduled_run_is_for_the_begin_of_its_interval(local: Local) -> None:
    (run,) = local.ended("nightly_audit", "scheduled")
    assert local.dt(run) == run["data_interval_start"][:10]
    assert local.dt(run) < run["run_after"][:10]


def test_bad_input_fails_at_once_and_says_why(local: Local) -> None:
    (run,) = local.ended("nightly_audit", "scheduled")
    assert run["state"] == "failed"
    ingest = local.tasks(run)["ingest_dataset"]
    assert (ingest["state"], ingest["try_number"]) == ("failed", 1)
    log = logs_of(local, "ingest_dataset")
    assert "exit code 2 (bad input, correct it and clear the task): recsae: there is no data of this date." in log
    assert f"nightly_audit: ingest_dataset failed for dt={local.dt(run)}" in log


def test_a_run_by_hand_is_for_its_logical_date_else_today(local: Local) -> None:
    assert local.dt(local.trigger("2026-10-05T12:00:00Z")) == "2026-10-05"
    before = datetime.now(timezone.utc).date().isoformat()
    without = local.dt(local.trigger())
    assert before <= without <= datetime.now(timezone.utc).date().isoformat()


def test_the_published_asset_starts_the_reader_for_its_date(local: Local, night: Night) -> None:
    run = night.run
    states = {name: task["state"] for name, task in local.tasks(run).items()}
    skipped = ("train_recommender", "verify_concepts_collect", "tune_recommendations")
    assert {states.pop(name) for name in skipped} == {"skipped"}  # as planned
    assert set(states.values()) == {"success"}

    name = f"nightly_audit {run['dag_run_id']}"  # by which its jobs share the lock on the night
    words = [call["words"] for call in local.suite.calls() if call["environment"].get("RECSAE_RUN") == name]
    jobs = [
        (next(word for word in line if word.startswith("jobs/")), line[-1])
        for line in words
        if "--master" in line and GOOD_DATE in line
    ]
    assert {job for job, last in jobs if last not in ("submit", "collect")} == {
        f"jobs/{name}.py"
        for name in (
            *("ingest_dataset", "extract_representations", "recommend_items", "choose_sae", "encode_latents"),
            *("compute_concept_terms", "compute_latent_effects", "verify_concepts", "measure_coverage"),
            *("compare_versions", "publish_audit", "build_explorer"),
        )
    }
    assert [last for job, last in jobs if job == "jobs/interpret_concepts.py"] == ["submit", "collect"]
    common = ["--conf", "conf/local.yaml", "--dt", GOOD_DATE, "--set-by-trigger", "seed=7"]
    assert all(" ".join(common) in " ".join(line) for line in words if GOOD_DATE in line)

    readers = local.ended("concepts_reader", "asset_triggered")
    assert {(reader["state"], local.dt(reader)) for reader in readers} == {("success", GOOD_DATE)}
    assert any(line[2:5] == ["concepts", "--top", "10"] and GOOD_DATE in line for line in words_of(local))
    emitted = local.call("GET", "assets/events")["asset_events"]
    assert {event["name"] for event in emitted} == {"recsae/shop/concepts", "recsae/shop__blocks_0/concepts"}
    assert all(event["source_task_id"] == "publish_audit" for event in emitted)
    assert all(event["extra"]["dt"] == GOOD_DATE for event in emitted)


def test_a_real_job_of_the_night_has_written_its_tables(local: Local, night: Night) -> None:
    assert "ingest_dataset: done in" in logs_of(local, "ingest_dataset")
    (record, *_) = (local.suite.home / "var" / "jobs" / "shop.jsonl").read_text("utf-8").splitlines()[1::2]
    done = json.loads(record)
    assert (done["job"], done["dt"], done["outcome"]) == ("ingest_dataset", GOOD_DATE, "done")
    for table, rows in (("interactions", 100), ("items", 10)):
        versions = (local.suite.home / "var" / "warehouse" / "shop" / table / "metadata").glob("v*.metadata.json")
        metadata = json.loads(max(versions, key=lambda path: path.stat().st_mtime).read_text("utf-8"))
        branch = metadata["refs"][f"audit-{GOOD_DATE}"]["snapshot-id"]
        (snapshot,) = (found for found in metadata["snapshots"] if found["snapshot-id"] == branch)
        assert snapshot["summary"]["added-records"] == str(rows)


def test_the_key_is_in_no_log_and_only_with_jobs_that_ask(local: Local, night: Night) -> None:
    for task in local.tasks(night.run).values():
        assert KEY not in str(task)
    for log in local.suite.home.glob("var/airflow/**/*.log"):
        assert KEY not in log.read_text(encoding="utf-8", errors="replace"), log
    with_key = {
        word
        for call in local.suite.calls()
        if KEY in str(call["environment"])
        for word in call["words"]
        if word.startswith("jobs/")
    }
    assert with_key == {"jobs/interpret_concepts.py", "jobs/verify_concepts.py"}
    assert all(KEY not in str(call["words"]) for call in local.suite.calls())


def test_a_refused_audit_fails_at_once_and_emits_nothing(local: Local) -> None:
    before = local.call("GET", "assets/events")["total_entries"]
    report = local.suite.home / "var" / "reports" / "shop"
    report.mkdir(parents=True)
    (report / "checks.json").write_text(json.dumps([CHECK]), encoding="utf-8")
    orders = {"dates": (GOOD_DATE,), "plan": PLAN}
    local.suite.order(**orders, refused=("jobs/publish_audit.py",))
    try:
        run = local.trigger(dt=GOOD_DATE)
    finally:
        local.suite.order(**orders, real=REAL)
    assert run["state"] == "failed"
    publish = local.tasks(run)["publish_audit"]
    assert (publish["state"], publish["try_number"]) == ("failed", 1)
    log = logs_of(local, "publish_audit")
    assert "exit code 3 (a check refused the audit; main keeps the last good one)" in log
    assert "- audit_metrics: FVU: 1 violations 0.2" in log
    assert f"all checks: {report}/checks.json" in log
    assert local.call("GET", "assets/events")["total_entries"] == before


def test_drift_starts_a_retraining_that_the_night_waits_for(local: Local, night: Night) -> None:
    assert local.tasks(night.run)["retrain_sae"]["state"] == "success"
    assert night.printed.index("nightly_audit: success") < night.printed.index("retrain_sae: success")
    assert night.retraining["state"] == "success"
    assert local.dt(night.retraining) == GOOD_DATE
    assert night.retraining["conf"] == {"dt": GOOD_DATE, "conf": None, "set": ["seed=7", "sae.start=champion"]}
    assert night.run["end_date"] < local.tasks(night.retraining)["ingest_dataset"]["start_date"]


def test_runs_of_a_backfill_have_their_own_dates_and_take_turns(local: Local) -> None:
    backfill = {
        "dag_id": "nightly_audit",
        "from_date": "2026-09-01T00:00:00Z",
        "to_date": "2026-09-02T23:00:00Z",
        "max_active_runs": 2,
        "reprocess_behavior": "none",
        "run_backwards": False,
    }

    def create() -> Any:
        try:
            return local.call("POST", "backfills", backfill)
        except HTTPError as error:  # Airflow: creation "is not supported on SQLite under concurrent access"
            if error.response.status_code not in (409, 500, 503):
                raise
        # One that met the scheduler's lock half-way is there without its runs, and forbids another.
        for left in local.call("GET", "backfills?dag_id=nightly_audit&active=true")["backfills"]:
            with suppress(HTTPError):
                local.call("PUT", f"backfills/{left['id']}/cancel")
        return None

    until(create, lambda created: created is not None)
    runs = local.ended("nightly_audit", "backfill", number=2)
    assert sorted(local.dt(run) for run in runs) == ["2026-09-01", "2026-09-02"]
    assert all(local.dt(run) == run["data_interval_start"][:10] for run in runs)
    first, second = sorted(runs, key=lambda run: run["end_date"])
    assert local.tasks(second)["ingest_dataset"]["start_date"] > first["end_date"]


def logs_of(local: Local, task_id: str) -> str:
    folder = local.suite.home / "var" / "airflow" / "logs"
    return "".join(log.read_text("utf-8") for log in Path(folder).glob(f"**/task_id={task_id}/*.log"))


def words_of(local: Local) -> list[list[str]]:
    return [call["words"] for call in local.suite.calls()]
