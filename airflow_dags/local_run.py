"""A run in a local Airflow, by the REST interface: started, followed, reported, and stopped where it must be."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

FOLDER = Path.cwd() / "var" / "airflow"
PASSWORDS = FOLDER / "simple_auth_manager_passwords.json.generated"  # where Airflow writes the one that it makes
USER = "admin"
PARTS = ("metadatabase", "dag_processor", "scheduler")  # as Airflow names them when it is asked for its health
SECONDS_TO_START, SECONDS_TO_STOP, SECONDS_BETWEEN_LOOKS = 300, 40, 2
SECONDS_TO_ANSWER = 120  # jobs may have the machine's cores
SECONDS_TO_WRITE = 60  # SQLite has one writer at a time; Python would wait five seconds for it
# Airflow may fail on a locked data base all the same; and it hangs up after five seconds without a request, maybe just
# as the next one comes. What can be repeated is asked again.
AGAIN = Retry(
    total=4,
    connect=0,
    read=2,
    status_forcelist=(500, 503),
    allowed_methods=("GET", "PATCH"),
    backoff_factor=1,
    raise_on_status=False,
)
AGAIN_TO_START = AGAIN.new(allowed_methods=("GET", "PATCH", "POST"))
CONFLICT = 409
STARTS = "api/v2/dags/"  # below this only runs are started
LINES_OF_A_FAILURE = 25


class LocalAirflowError(Exception):
    """What a person can put right; its text is shown without a traceback."""


class Airflow:
    """A local Airflow on a port, and the processes of one that this process has started."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.processes: list[subprocess.Popen[bytes]] = []
        self._http = requests.Session()
        self._http.trust_env = False  # no proxy: it is this machine
        self._http.mount(self.address, HTTPAdapter(max_retries=AGAIN))
        self._http.mount(f"{self.address}/{STARTS}", HTTPAdapter(max_retries=AGAIN_TO_START))

    def is_healthy(self) -> bool:
        """Whether all parts report to be alive; fails where a process has ended."""
        self.require_processes()
        try:
            health = self._http.get(f"{self.address}/api/v2/monitor/health", timeout=SECONDS_TO_ANSWER).json()
        except requests.RequestException:
            return False
        return all(health[part]["status"] == "healthy" for part in PARTS)

    def require_processes(self) -> None:
        """Fail where a process has ended."""
        if any(process.poll() is not None for process in self.processes):
            raise LocalAirflowError(
                f"A part of Airflow has ended; see {FOLDER}/*.log. Start again: a night gives up what was left "
                "behind, and what was trained is not trained again"
            )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the interface as the user, and return what it answers."""
        if "Authorization" not in self._http.headers:
            login = {"username": USER, "password": password()}
            token = self._send("POST", "auth/token", login)["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"
        return self._send(method, f"api/v2/{path}", body)

    def start(self, dag_id: str, run_id: str, conf: dict[str, Any], logical_date: str | None = None) -> None:
        """Start a run of a new id. It may be asked for again: Airflow refuses a second run of the id."""
        run = {"dag_run_id": run_id, "logical_date": logical_date, "conf": conf}
        try:
            self.call("POST", f"dags/{dag_id}/dagRuns", run)
        except requests.HTTPError as error:
            if error.response.status_code != CONFLICT:
                raise

    def _send(self, method: str, path: str, body: Any) -> Any:
        try:
            answer = self._http.request(method, f"{self.address}/{path}", json=body, timeout=SECONDS_TO_ANSWER)
        except requests.ConnectionError as error:
            raise LocalAirflowError(f"Airflow at {self.address} does not answer; see {FOLDER}/*.log") from error
        answer.raise_for_status()
        return answer.json()


def password() -> str:
    """Return the password that Airflow made for the user."""
    passwords: dict[str, str] = json.loads(PASSWORDS.read_text(encoding="utf-8"))
    return passwords[USER]


def run_night(airflow: Airflow, settings: dict[str, Any], ends_with_it: bool) -> int:
    """Start a run of nightly_audit, follow it, and return the exit code: 0 if it was published, else 1.

    Parameters
    ----------
    settings : parameters of the run: dt, conf, set.
    ends_with_it : whether Airflow stops afterwards; then a retraining that the run has started is followed as well.
    """
    run_id = f"night_{settings['dt']}_{datetime.now():%Y%m%dT%H%M%S}"
    wait_for_dag(airflow)
    airflow.start("nightly_audit", run_id, settings)
    state = follow(airflow, "nightly_audit", run_id)
    if ends_with_it:
        for run in unfinished_runs(airflow, "retrain_sae"):
            follow(airflow, "retrain_sae", run["dag_run_id"])
    return 0 if state == "success" else 1


def follow(airflow: Airflow, dag_id: str, run_id: str) -> str:
    """Print the tasks of a run as they end, then how the whole ended and why; returns its state."""
    run = f"dags/{dag_id}/dagRuns/{run_id}"
    print(f"{dag_id}: run {run_id} at {airflow.address}/dags/{dag_id}/runs/{run_id}", flush=True)
    printed: set[tuple[str, int, str]] = set()
    state, tasks = "", []
    try:
        while state not in ("success", "failed"):
            airflow.require_processes()
            time.sleep(SECONDS_BETWEEN_LOOKS)
            state = airflow.call("GET", run)["state"]
            tasks = airflow.call("GET", f"{run}/taskInstances")["task_instances"]
            for task in sorted(tasks, key=lambda task: task["end_date"] or ""):
                event = (task["task_id"], task["try_number"], task["state"])
                if task["end_date"] and event not in printed:
                    printed.add(event)
                    print(f"  {task['task_id']:28} {task['state']:18} {task['duration'] or 0:7.1f} s", flush=True)
    except KeyboardInterrupt:
        stop_run(airflow, run)
        raise
    print(summary(airflow.call("GET", run), tasks), flush=True)
    for task in tasks:
        if task["state"] == "failed":
            lines = log_lines(task)[-LINES_OF_A_FAILURE:]
            print(f"\n{task['task_id']} failed:\n" + "\n".join(f"  {line}" for line in lines), flush=True)
    return state


def summary(run: dict[str, Any], tasks: list[dict[str, Any]]) -> str:
    """Say how long the run took, and how much of it was its jobs' own work, by their own account."""
    seconds = (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()
    logs = "\n".join(line for task in tasks for line in log_lines(task))
    work = sum(map(float, re.findall(r"\b\w+: done in ([\d.]+) s", logs)))
    overhead = f", {seconds / work - 1:+.0%}" if work else ""
    return f"{run['dag_id']}: {run['state']}, {seconds:.1f} s; its jobs' own work: {work:.1f} s{overhead}"


def log_lines(task: dict[str, Any]) -> list[str]:
    """Return what a task logged, in all its tries."""
    folder = FOLDER / "logs" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}"
    lines: list[str] = []
    for attempt in sorted(folder.glob(f"task_id={task['task_id']}/attempt=*.log")):
        for line in attempt.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                lines.extend(str(json.loads(line).get("event", "")).splitlines())
    return lines


def give_up_unfinished_runs(airflow: Airflow) -> None:
    """Mark as failed what a killed night left behind: a new one would wait for it."""
    for run in unfinished_runs(airflow):
        print(f"giving up {run['dag_run_id']} of {run['dag_id']}, which was left behind", flush=True)
        stop_run(airflow, f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}")


def unfinished_runs(airflow: Airflow, dag_id: str = "~") -> list[dict[str, Any]]:
    """Return the runs that have not ended, of a DAG or of all."""
    found: list[dict[str, Any]] = airflow.call("GET", f"dags/{dag_id}/dagRuns?state=running&state=queued")["dag_runs"]
    return found


def stop_run(airflow: Airflow, run: str) -> None:
    """Have the scheduler stop what runs: jobs are process groups of their own and would outlive it."""
    airflow.call("PATCH", run, {"state": "failed"})
    tasks = f"{run}/taskInstances?state=running"
    wait_until(lambda: not airflow.call("GET", tasks)["task_instances"], SECONDS_TO_STOP)


def wait_for_dag(airflow: Airflow) -> None:
    """Wait until the DAG has been read."""

    def is_read() -> bool:
        if errors := airflow.call("GET", "importErrors")["import_errors"]:
            raise LocalAirflowError(f"{errors[0]['filename']} cannot be read:\n{errors[0]['stack_trace']}")
        return bool(airflow.call("GET", "dags?dag_id_pattern=nightly_audit")["dags"])

    if not wait_until(is_read, SECONDS_TO_START):
        raise LocalAirflowError(f"The DAG nightly_audit was not read within {SECONDS_TO_START} s; see {FOLDER}/*.log")


def wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    """Look again and again; returns whether it was done in time."""
    ends = time.monotonic() + seconds
    while not (done := is_done()) and time.monotonic() < ends:
        time.sleep(0.5)
    return done
