"""A local Airflow with everything wired, for `make airflow` and `make nightly`; it writes under var/airflow only.

    .venv-airflow/bin/python airflow_dags/local_airflow.py serve --conf conf/local.yaml
    .venv-airflow/bin/python airflow_dags/local_airflow.py night --conf conf/local.yaml --dt 2026-11-20

`serve` runs until it is interrupted. `night` runs one audit through the scheduler: of a `serve` that runs already, or
else of an Airflow of its own. It ends with 0 if the audit was published and with 1 if not; an Airflow of its own also
finishes the retraining that the night may start.

Its parts are Airflow's own commands. `airflow standalone` would start them too, but it stays up when one of them has
died, adds a triggerer that no DAG here needs (0.4 GB), and migrates the database at each start.
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path

import psutil

from local_run import (
    FOLDER,
    SECONDS_BETWEEN_LOOKS,
    SECONDS_TO_ANSWER,
    SECONDS_TO_START,
    SECONDS_TO_STOP,
    SECONDS_TO_WRITE,
    USER,
    Airflow,
    LocalAirflowError,
    give_up_unfinished_runs,
    password,
    run_night,
    wait_until,
)

RUNNING = FOLDER / "running.json"
AIRFLOW = (sys.executable, "-m", "airflow")  # the one whose Python runs this
COMMANDS = ("dag-processor", "api-server", "scheduler")
POOLS = [
    # Two drivers fit into this machine's memory beside Airflow, and two use its cores better than one.
    {"name": "recsae_spark", "slots": 2, "description": "Spark drivers at a time"},
    {"name": "recsae_training", "slots": 1, "description": "trainings at a time: one for each GPU, or one"},
    {"name": "recsae_turn", "slots": 1, "description": "always 1: audits take turns"},
]


def main() -> None:
    """Entry of `make airflow` and `make nightly`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    serve_parser = commands.add_parser("serve", help="run Airflow until it is interrupted")
    serve_parser.add_argument("--port", type=int, default=8080)
    night_parser = commands.add_parser("night", help="run one audit")
    night_parser.add_argument("--dt", type=date.fromisoformat, required=True)
    for command in (serve_parser, night_parser):
        command.add_argument("--conf", default="conf/local.yaml", help="settings file (default: %(default)s)")
        command.add_argument(
            "--python", default=str(Path.cwd() / ".venv" / "bin" / "python"), help="the suite's interpreter"
        )
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
    with started(arguments.python, arguments.conf, free_port(arguments.port), serves=True) as airflow:
        print(f"\nAirflow is ready at {airflow.address}\nlogin: {USER}, password: {password()}")
        print("Stop it with Ctrl-C. `make nightly DT=…` in another terminal runs a night in it.", flush=True)
        while True:
            airflow.require_processes()
            time.sleep(SECONDS_BETWEEN_LOOKS)


def night(arguments: argparse.Namespace) -> int:
    """Run one audit through the scheduler; returns the exit code."""
    settings = {"dt": arguments.dt.isoformat(), "conf": arguments.conf}
    if (found := running()) is not None:
        if (conf := json.loads(RUNNING.read_text(encoding="utf-8"))["conf"]) != arguments.conf:
            raise LocalAirflowError(f"Airflow runs with CONF={conf}; give that, or stop it and start it with yours")
        return run_night(found, settings, ends_with_it=False)
    with started(arguments.python, arguments.conf, free_port(), serves=False) as airflow:
        give_up_unfinished_runs(airflow)
        return run_night(airflow, settings, ends_with_it=True)


def running() -> Airflow | None:
    """Return the Airflow that runs under this folder; None where none does.

    Raises
    ------
    LocalAirflowError : it belongs to another `night`, and ends with it.
    """
    if not RUNNING.is_file():
        return None
    state = json.loads(RUNNING.read_text(encoding="utf-8"))
    airflow = Airflow(state["port"])
    if not (psutil.pid_exists(state["pid"]) and airflow.is_healthy()):
        return None
    if not state["serves"]:
        raise LocalAirflowError("Another night is under way; wait for its end, or keep `make airflow` running for both")
    return airflow


@contextmanager
def started(python: str, settings_file: str, port: int, serves: bool) -> Iterator[Airflow]:
    """Start the parts of Airflow, wait until they are healthy, and stop them at the end."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    # Settings of another Airflow stay out, and the key reaches the jobs that need it by the connection.
    inherited = {key: os.environ[key] for key in os.environ if not re.match("AIRFLOW__|OPENAI_API_KEY$", key)}
    environment = {**inherited, **airflow_environment(port), **wiring(python, settings_file)}
    prepare(environment)
    airflow = Airflow(port)
    state = {"pid": os.getpid(), "port": port, "serves": serves, "conf": settings_file}
    try:
        RUNNING.write_text(json.dumps(state), encoding="utf-8")
        for name in COMMANDS:
            with (FOLDER / f"{name}.log").open("ab") as log:
                airflow.processes.append(
                    subprocess.Popen([*AIRFLOW, name], env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        if not wait_until(airflow.is_healthy, SECONDS_TO_START):
            raise LocalAirflowError(f"Airflow did not start; see {FOLDER}/*.log")
        pools = {"action": "create", "entities": POOLS, "action_on_existence": "skip"}
        airflow.call("PATCH", "pools", {"actions": [pools]})
        yield airflow
    finally:
        RUNNING.unlink(missing_ok=True)
        for process in reversed(airflow.processes):
            stop(process)


def airflow_environment(port: int) -> dict[str, str]:
    """Return Airflow's own settings: where its files are, that it is for this machine only, and short waits."""
    return {
        "AIRFLOW_HOME": str(FOLDER),
        "AIRFLOW_CONFIG": str(FOLDER / "airflow.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).resolve().parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{FOLDER}/airflow.db?timeout={SECONDS_TO_WRITE}",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__WORKERS": "1",
        # A scheduler that goes on with a run may be ready before there is anybody to report to.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": str(SECONDS_TO_ANSWER),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.5",
        # A DAG whose file changes is read again at once; to read all every 30 seconds takes cores from the jobs.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__RECSAE__SECONDS_BETWEEN_TURNS": "10",
        # Nights start when a person says so; this machine may sleep at two o'clock.
        "AIRFLOW__RECSAE__NIGHTLY_SCHEDULE": os.environ.get("AIRFLOW__RECSAE__NIGHTLY_SCHEDULE", ""),
        "NO_PROXY": ",".join(filter(None, ["127.0.0.1", os.environ.get("NO_PROXY")])),
    }


def wiring(python: str, settings_file: str) -> dict[str, str]:
    """Return the connections and the Variable, as Airflow reads them from the environment."""
    asking = [python, "-m", "recsae_lib.cli", "spark", "--conf", settings_file]
    asked = subprocess.run(
        [*asking, "--class-archives", str(FOLDER / "classes")], capture_output=True, text=True, check=False
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
    """Lay out the database, once for each release of Airflow."""
    done = FOLDER / f"prepared-{version('apache-airflow')}"
    if done.is_file():
        return
    print("Preparing var/airflow (once)", flush=True)
    ran = subprocess.run([*AIRFLOW, "db", "migrate"], env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise LocalAirflowError(f"airflow db migrate failed:\n{ran.stdout}{ran.stderr}")
    done.touch()


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop one part of Airflow with its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port(wanted: int = 0) -> int:
    """Return a port of this machine that nobody listens on: the one that is wanted, or any."""
    try:
        with socket.create_server(("127.0.0.1", wanted)) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        raise LocalAirflowError(f"Port {wanted} is taken; give another: make airflow PORT=…") from None


if __name__ == "__main__":
    main()
