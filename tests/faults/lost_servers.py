"""MLflow and the language model stop in the middle of a night, and come back later.

It happens to the second audit of a date, whose data have changed. The job that needs them must end with exit code 1 and
one line that says what to do, readers and main must keep the first audit, and after their return the night must come to
the tables of one that nothing disturbed, without a request being answered twice.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.faults.nights import SECOND, FaultError, Nights, Run, audits_of, change_data, check_failed, differences

LOCAL = {"NO_PROXY": "127.0.0.1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}  # MLflow's own patience is some minutes
SECONDS_TO_START = 120


def inject(nights: Nights) -> list[str]:
    return [
        *(f"{table} (MLflow)" for table in without_mlflow(nights)),
        *(f"{table} (language model)" for table in without_a_language_model(nights)),
    ]


def without_mlflow(nights: Nights) -> list[str]:
    audits, night = nights.undisturbed, nights.night("mlflow")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    store = f"sqlite:///{night.folder}/var/mlflow/mlflow.db"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]

    def server() -> subprocess.Popen[bytes]:
        return started([*command, "--workers", "1"], night.folder, f"{address}/health")

    settings = [f"paths.tracking_uri={address}"]
    mlflow = server()
    Run(night, settings, LOCAL).finish()
    change_data(night)
    for job in ("train_recommender", "train_sae", "publish_audit"):
        run = Run(night, settings, LOCAL)
        run.wait_for(job)
        stop(mlflow)
        run.must_fail(1, "does not answer")
        check_failed(night, audits)
        mlflow = server()
    stop(mlflow)
    Run(night, settings, LOCAL).must_fail(1, f"MLflow at {address} does not answer")
    check_failed(night, audits)
    mlflow = server()
    Run(night, settings, LOCAL).finish()
    stop(mlflow)
    return differences(night, audits)


def without_a_language_model(nights: Nights) -> list[str]:
    port = free_port()
    settings = [
        *("interpretation.interpreter=llm", "verification.judges=[terms, llm]"),
        *(f"llm.base_url=http://127.0.0.1:{port}/v1", "llm.model=scripted"),
        *("llm.retries=1", "llm.concurrency=1"),
    ]
    whole, night = nights.night("model-stays"), nights.night("model-stops")
    answered = night.folder / "answered"

    model = started(scripted(port, whole.folder / "answered"), whole.folder)
    audits = audits_of(whole, settings, LOCAL)
    stop(model)

    model = started(scripted(port, answered), night.folder)
    Run(night, settings, LOCAL).finish()
    stop(model)
    change_data(night)
    before = len(answered.read_text().splitlines())
    Run(night, settings, LOCAL).must_fail(1, "Check that it runs at llm.base_url")
    check_failed(night, audits)
    for answers in (3, len(audits[SECOND].main["concept_labels"]) + 3):  # of the interpreter, of the judge
        model = started(scripted(port, answered), night.folder)
        run = Run(night, settings, LOCAL)
        wait_until(partial(has_lines, answered, before + answers), run)
        stop(model)
        run.must_fail(1, "Check that it runs at llm.base_url")
        check_failed(night, audits)
    model = started(scripted(port, answered), night.folder)
    Run(night, settings, LOCAL).finish()
    stop(model)

    times = Counter(answered.read_text().splitlines())
    once = Counter((whole.folder / "answered").read_text().splitlines())
    # What the server answered while it was killed may not have arrived: one request a kill, at concurrency 1.
    if set(times) != set(once) or sum(times.values()) > sum(once.values()) + 2:
        raise FaultError(f"{sum(times.values())} requests were answered in all, {sum(once.values())} undisturbed")
    return differences(night, audits)


def scripted(port: int, answered: Path) -> list[str]:
    return [sys.executable, "-m", "tests.faults.scripted_model", str(port), str(answered)]


def started(command: list[str], folder: Path, health: str | None = None) -> subprocess.Popen[bytes]:
    """Start a server and wait until it answers: at `health`, or by a line on its standard output."""
    with (folder / "server.log").open("ab") as log:
        out = log if health else subprocess.PIPE
        server = subprocess.Popen(command, stdout=out, stderr=log, start_new_session=True)
    if health is None:
        assert server.stdout is not None
        server.stdout.readline()
        return server
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ends = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            opener.open(health, timeout=5).close()
            return server
        except OSError:
            if time.monotonic() > ends or server.poll() is not None:
                raise FaultError(f"{command[2]} did not start; see {folder}/server.log") from None
            time.sleep(0.2)


def stop(server: subprocess.Popen[bytes]) -> None:
    """Kill a server with its workers."""
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def has_lines(file: Path, needed: int) -> bool:
    """Whether a file is there and has so many lines."""
    return file.exists() and len(file.read_text().splitlines()) >= needed


def wait_until(reached: Callable[[], bool], run: Run) -> None:
    """Return when something is so, while the audit runs."""
    while not reached():
        if run.process.poll() is not None:
            raise FaultError(f"the audit ended before that:\n{run.log()}")
        time.sleep(0.02)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
