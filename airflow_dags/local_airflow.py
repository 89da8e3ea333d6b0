"""A local Airflow with everything wired, for `make airflow` and `make nightly`; it writes under var/airflow only.

    .venv-airflow/bin/python airflow_dags/local_airflow.py serve --conf conf/local.yaml
    .venv-airflow/bin/python airflow_dags/local_airflow.py night --conf conf/local.yaml --dt 2026-11-20

`serve` runs until it is interrupted. `night` runs one audit through the scheduler, of a `serve` that is under way or
else of its own, and ends with 0 if it was published, with 1 if not; where its concepts have drifted and Airflow is its
own, it waits for the retraining that this starts as well. What is set here is what a production Airflow gets
from its administrator: the connections recsae_spark and recsae_llm, the Variable recsae_conf, and the three pools.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

HOME = Path.cwd()
FOLDER = HOME / "var" / "airflow"
STATE = FOLDER / "running.json"
PASSWORDS = FOLDER / "passwords.json"
# In the order of their start, with the parts that must be well before the next one is started.
COMPONENTS = {
    "dag-processor": (),
    "api-server": ("metadatabase",),
    "scheduler": ("metadatabase", "dag_processor", "scheduler"),
}
POOLS = {
    # Two drivers fit into this machine's memory beside Airflow, and two use its cores better than one.
    "recsae_spark": {"slots": 2, "description": "Spark drivers at a time"},
    "recsae_training": {"slots": 1, "description": "trainings at a time: one for each GPU, or one"},
    "recsae_turn": {"slots": 1, "description": "always 1: audits take turns"},
}
USER = "admin"
SECONDS_TO_START, SECONDS_TO_STOP, SECONDS_BETWEEN_LOOKS = 300, 40, 2
SECONDS_TO_ANSWER = 120  # of a part of Airflow to another too: jobs may have the machine's cores
# SQLite has one writer at a time, and Airflow waits five seconds for it: what only asks may ask again.
CODES_OF_A_LOCKED_DATABASE, MOST_TIMES_ASKED = (500, 503), 5
LINES_OF_A_FAILURE = 25


class LocalAirflowError(Exception):
    """What a person can mend; its text is shown without a traceback."""


def main() -> None:
    """Entry of `make airflow` and `make nightly`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    serve_parser = commands.add_parser("serve", help="run Airflow until it is interrupted")
    serve_parser.add_argument("--port", type=int, default=8080)
    night_parser = commands.add_parser("night", help="run one audit")
    night_parser.add_argument("--dt", type=date.fromisoformat, required=True)
    night_parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="may be repeated")
    for command in (serve_parser, night_parser):
        command.add_argument("--conf", default="conf/local.yaml", help="settings file (default: %(default)s)")
        command.add_argument("--python", default=str(HOME / ".venv" / "bin" / "python"), help="the suite's interpreter")
    arguments = parser.parse_args()
    for stopping in (signal.SIGINT, signal.SIGTERM):  # a shell ignores SIGINT for what it runs in the background
        signal.signal(stopping, signal.default_int_handler)
    try:
        if arguments.command == "serve":
            serve(arguments)
        else:
            sys.exit(night(arguments))
    except LocalAirflowError as error:
        print(f"airflow: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def serve(arguments: argparse.Namespace) -> None:
    """Run Airflow until it is interrupted."""
    if (found := running()) is not None:
        raise LocalAirflowError(f"Airflow runs already, at {found.address}")
    with started(arguments.python, arguments.conf, arguments.port, serves=True) as airflow:
        print(f"\nAirflow is ready at {airflow.address}\nlogin: {USER}, password: {password()}")
        print("Stop it with Ctrl-C. `make nightly DT=…` in another terminal runs a night in it.", flush=True)
        while airflow.is_healthy():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise LocalAirflowError(f"A part of Airflow has ended; see {FOLDER}/*.log")


def night(arguments: argparse.Namespace) -> int:
    """Run one audit through the scheduler; returns the exit code."""
    settings = {"dt": arguments.dt.isoformat(), "conf": arguments.conf, "set": arguments.set}
    found = running()
    if found is not None:
        return one_night(found, settings, ends_with_it=False)
    with started(arguments.python, arguments.conf, free_port(), serves=False) as airflow:
        give_up_what_was_left(airflow)
        return one_night(airflow, settings, ends_with_it=True)


def one_night(airflow: Airflow, settings: dict[str, Any], ends_with_it: bool) -> int:
    """Start a run of nightly_audit, follow it, and return the exit code.

    Parameters
    ----------
    settings : of the run: dt, conf, set.
    ends_with_it : whether Airflow is to stop afterwards, so that what the run starts has to be followed too.
    """
    run_id = f"night_{settings['dt']}_{datetime.now():%Y%m%dT%H%M%S}"
    wait_for_dag(airflow)
    airflow.call("POST", "dags/nightly_audit/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": settings})
    state = followed(airflow, "nightly_audit", run_id)
    if ends_with_it and (retraining := retraining_of(airflow, run_id)) is not None:
        followed(airflow, "retrain_sae", retraining)
    return 0 if state == "success" else 1


@dataclass
class Airflow:
    """A local Airflow, spoken to by its REST interface.

    Parameters
    ----------
    processes : its parts, of one that this process has started.
    """

    port: int
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    token: str | None = None

    @property
    def address(self) -> str:
        """Address for a browser."""
        return f"http://127.0.0.1:{self.port}"

    def is_healthy(self, parts: tuple[str, ...] = COMPONENTS["scheduler"]) -> bool:
        """Whether these parts report to be alive."""
        if not parts:
            return True
        try:
            health = self._send("GET", "/api/v2/monitor/health", None, {})
        except (OSError, ValueError):
            return False
        return all(health[part]["status"] == "healthy" for part in parts)

    def has_lost_a_part(self) -> bool:
        """Whether one of the processes has ended."""
        return any(process.poll() is not None for process in self.processes)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the interface as the user, and return what it answers; a question is asked again where it met a lock."""
        if self.token is None:
            login = {"username": USER, "password": password()}
            self.token = self._send("POST", "/auth/token", login, {})["access_token"]
        authorization = {"Authorization": f"Bearer {self.token}"}
        for _ in range(MOST_TIMES_ASKED - 1 if method == "GET" else 0):
            try:
                return self._send(method, f"/api/v2/{path}", body, authorization)
            except urllib.error.HTTPError as error:
                if error.code not in CODES_OF_A_LOCKED_DATABASE:
                    raise
                time.sleep(SECONDS_BETWEEN_LOOKS)
        return self._send(method, f"/api/v2/{path}", body, authorization)

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data, {"Content-Type": "application/json", **headers}, method=method
        )
        # No proxy: it is this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=SECONDS_TO_ANSWER
        ) as answer:
            return json.load(answer)


def followed(airflow: Airflow, dag_id: str, run_id: str) -> str:
    """Tell of the tasks of a run as they end, then of the whole, and return its state."""
    run = f"dags/{dag_id}/dagRuns/{run_id}"
    print(f"{dag_id}: run {run_id} at {airflow.address}/dags/{dag_id}/runs/{run_id}", flush=True)
    told: set[tuple[str, int, str]] = set()
    try:
        while True:
            if airflow.has_lost_a_part():
                raise LocalAirflowError(
                    f"A part of Airflow has ended in the middle of the night; see {FOLDER}/*.log. Start the night "
                    "again: it gives up what was left behind, and what was trained is not trained again"
                )
            state = airflow.call("GET", run)["state"]
            tasks = airflow.call("GET", f"{run}/taskInstances")["task_instances"]
            for task in sorted(tasks, key=lambda task: task["end_date"] or ""):
                event = (task["task_id"], task["try_number"], task["state"])
                if task["end_date"] and event not in told:
                    told.add(event)
                    print(f"  {task['task_id']:28} {task['state']:18} {task['duration'] or 0:7.1f} s", flush=True)
            if state in ("success", "failed"):
                break
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        stop_run(airflow, run)
        raise
    print(summary(airflow.call("GET", run), tasks), flush=True)
    for task in tasks:
        if task["state"] == "failed":
            lines = log_lines(task)
            print(f"\n{task['task_id']} failed:\n" + "\n".join(f"  {line}" for line in lines[-LINES_OF_A_FAILURE:]))
    return str(state)


def retraining_of(airflow: Airflow, run_id: str) -> str | None:
    """Return the run of retrain_sae that a night has started; None where it has started none."""
    entry = f"dags/nightly_audit/dagRuns/{run_id}/taskInstances/retrain_sae/xcomEntries/trigger_run_id"
    try:
        return str(airflow.call("GET", entry)["value"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def give_up_what_was_left(airflow: Airflow) -> None:
    """Mark runs as failed that a killed night left behind: the new night would wait for them."""
    for state in ("running", "queued"):
        for run in airflow.call("GET", f"dags/~/dagRuns?state={state}")["dag_runs"]:
            print(f"giving up {run['dag_run_id']} of {run['dag_id']}, which was left behind", flush=True)
            stop_run(airflow, f"dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}")


def stop_run(airflow: Airflow, run: str) -> None:
    """Have the scheduler stop what runs: jobs are process groups of their own and would outlive it."""
    airflow.call("PATCH", run, {"state": "failed"})
    ends = time.monotonic() + SECONDS_TO_STOP
    while time.monotonic() < ends:
        tasks = airflow.call("GET", f"{run}/taskInstances?state=running")["task_instances"]
        if not tasks:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def summary(run: dict[str, Any], tasks: list[dict[str, Any]]) -> str:
    """Say how long the run took, and how much of it was its jobs' own work, by their own account."""
    seconds = (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()
    work = 0.0
    for task in tasks:
        for line in log_lines(task):
            if done := re.search(r"\b\w+: done in ([\d.]+) s", line):
                work += float(done.group(1))
    overhead = f", {seconds / work - 1:+.0%}" if work else ""
    return f"{run['dag_id']}: {run['state']}, {seconds:.1f} s; its jobs' own work: {work:.1f} s{overhead}"


def log_lines(task: dict[str, Any]) -> list[str]:
    """What a task logged, in all its tries."""
    folder = (
        FOLDER / "logs" / f"dag_id={task['dag_id']}" / f"run_id={task['dag_run_id']}" / f"task_id={task['task_id']}"
    )
    lines = []
    for attempt in sorted(folder.glob("attempt=*.log")):
        for line in attempt.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                lines.extend(str(json.loads(line).get("event", "")).splitlines())
    return lines


def wait_for_dag(airflow: Airflow) -> None:
    """Wait until the DAG has been read."""
    ends = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < ends:
        errors = airflow.call("GET", "importErrors")["import_errors"]
        if errors:
            raise LocalAirflowError(f"{errors[0]['filename']} cannot be read:\n{errors[0]['stack_trace']}")
        with suppress(urllib.error.HTTPError):
            airflow.call("GET", "dags/nightly_audit")
            return
        time.sleep(0.5)
    raise LocalAirflowError(f"The DAG nightly_audit was not read within {SECONDS_TO_START} s; see {FOLDER}/*.log")


def running() -> Airflow | None:
    """Return the Airflow that runs under this folder; None where none does.

    Raises
    ------
    LocalAirflowError : it belongs to another `night`, and ends with it.
    """
    if not STATE.is_file():
        return None
    state = json.loads(STATE.read_text(encoding="utf-8"))
    airflow = Airflow(state["port"])
    try:
        os.kill(state["pid"], 0)
    except ProcessLookupError:
        return None
    if not airflow.is_healthy():
        return None
    if not state["serves"]:
        raise LocalAirflowError("Another night is under way; wait for its end, or keep `make airflow` running for both")
    return airflow


@contextmanager
def started(python: str, settings_file: str, port: int, serves: bool) -> Iterator[Airflow]:
    """Start the parts of Airflow, wait until they are well, and stop them at the end."""
    if not port_is_free(port):
        raise LocalAirflowError(f"Port {port} is taken; give another: make airflow PORT=…")
    FOLDER.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **airflow_environment(port), **wiring(python, settings_file)}
    environment.pop("OPENAI_API_KEY", None)  # it reaches the jobs that need it by the connection
    prepare(environment)
    airflow = Airflow(port)
    try:
        STATE.write_text(json.dumps({"pid": os.getpid(), "port": port, "serves": serves}), encoding="utf-8")
        # A scheduler that goes on with a run at once finds nobody to report to before the API server is up.
        for component, parts in COMPONENTS.items():
            airflow.processes.append(start(component, environment))
            ends = time.monotonic() + SECONDS_TO_START
            while not airflow.is_healthy(parts):
                if time.monotonic() > ends or airflow.has_lost_a_part():
                    raise LocalAirflowError(f"Airflow did not start; see {FOLDER}/*.log")
                time.sleep(0.2)
        yield airflow
    finally:
        STATE.unlink(missing_ok=True)
        for process in reversed(airflow.processes):
            stop(process)


def airflow_environment(port: int) -> dict[str, str]:
    """Return Airflow's own settings: where its files are, that it is for this machine only, and short waits."""
    address = f"http://127.0.0.1:{port}"
    return {
        "AIRFLOW_HOME": str(FOLDER),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{FOLDER}/airflow.db",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": str(SECONDS_TO_ANSWER),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(FOLDER / "logs"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # A DAG whose file changes is read again at once; to read all every 30 seconds takes cores from the jobs.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        # Nights start when a person says so; this machine may sleep at two o'clock.
        "AIRFLOW__RECSAE__NIGHTLY_SCHEDULE": os.environ.get("AIRFLOW__RECSAE__NIGHTLY_SCHEDULE", ""),
        "NO_PROXY": ",".join(filter(None, ["127.0.0.1", os.environ.get("NO_PROXY")])),
    }


def wiring(python: str, settings_file: str) -> dict[str, str]:
    """Return the connections and the Variable, as Airflow reads them from the environment."""
    command = [python, "-m", "recsae_lib.cli", "spark", "--conf", settings_file]
    asked = subprocess.run(
        [*command, "--class-archives", str(FOLDER / "classes")], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        raise LocalAirflowError(f"The suite in {python} cannot say how it runs Spark:\n{asked.stderr.strip()}")
    options = json.loads(asked.stdout.splitlines()[-1])
    spark = {"conn_type": "spark", "host": options.pop("master"), "extra": {"deploy-mode": "client", **options}}
    connections = {"AIRFLOW_CONN_RECSAE_SPARK": json.dumps(spark), "AIRFLOW_VAR_RECSAE_CONF": settings_file}
    if key := os.environ.get("OPENAI_API_KEY"):
        connections["AIRFLOW_CONN_RECSAE_LLM"] = json.dumps({"conn_type": "generic", "password": key})
    return connections


def prepare(environment: dict[str, str]) -> None:
    """Lay out the data base and the pools, where this has not been done by this Airflow."""
    done, wanted = FOLDER / "prepared", json.dumps([pins(), POOLS])
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    print("Preparing var/airflow (once)", flush=True)
    pools = FOLDER / "pools.json"
    pools.write_text(
        json.dumps({name: {**pool, "include_deferred": False} for name, pool in POOLS.items()}), encoding="utf-8"
    )
    for command in (["db", "migrate"], ["pools", "import", str(pools)]):
        ran = subprocess.run(airflow_command(*command), env=environment, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise LocalAirflowError(f"airflow {' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")
    done.write_text(wanted, encoding="utf-8")


def pins() -> str:
    """Return what is asked of Airflow's environment: another release lays out another data base."""
    checkout = Path(__file__).resolve().parents[1]
    return (checkout / "conf" / "requirements" / "airflow.txt").read_text(encoding="utf-8")


def start(component: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start one part of Airflow with a log of its own."""
    with (FOLDER / f"{component}.log").open("ab") as log:
        return subprocess.Popen(
            airflow_command(component), env=environment, stdout=log, stderr=log, start_new_session=True
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop one part of Airflow with its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def airflow_command(*words: str) -> list[str]:
    """Return a command of the Airflow that runs this module."""
    return [sys.executable, "-m", "airflow", *words]


def password() -> str:
    """Return the password that Airflow made for the user."""
    passwords: dict[str, str] = json.loads(PASSWORDS.read_text(encoding="utf-8"))
    return passwords[USER]


def port_is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
