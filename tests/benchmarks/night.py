"""A night at the size of MovieLens-1M through a real Airflow: what it takes beyond its jobs' own work."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tests.benchmarks.harness import Figure
from tests.planted import write_planted
from tests.workspace import DT, REPOSITORY

USERS, ITEMS, LENGTH = 6_040, 3_706, 165
# A real night trains for more epochs, of which nothing is overhead.
SETTINGS = {
    "namespace": "night",
    "dataset": {"format": "csv", "interactions": "data/interactions.csv", "items": "data/items.csv"},
    "recommender": {"sasrec": {"epochs": 2}},
    "sae": {"epochs": 5},
    "checks": {"maximum_fvu": 1.0},
}
CONDITIONS = (
    f"planted data, {USERS:,} users × {LENGTH} interactions, {ITEMS:,} items; SASRec of 2 epochs and SAE of 5, all "
    "else by default: a spark-submit a job, two at a time, conf/spark/local.conf; from the run's start to its end in "
    "Airflow's data base, so that Airflow's own start is not in it; own work: the seconds that the jobs report, "
    "without scheduling, imports and starts of Python and JVM"
)


def measure(work: Path) -> list[Figure]:
    write_planted(work / "data", USERS, ITEMS, LENGTH)
    shutil.rmtree(work / "var", ignore_errors=True)
    shutil.rmtree(work / "conf", ignore_errors=True)
    (work / "conf").mkdir()
    for part in ("base.yaml", "spark", "prompts"):
        (work / "conf" / part).symlink_to(REPOSITORY / "conf" / part)
    (work / "conf" / "night.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    airflow, wiring = REPOSITORY / ".venv-airflow" / "bin" / "python", REPOSITORY / "airflow_dags" / "local_airflow.py"
    settings = ["--conf", "conf/night.yaml", "--dt", DT.isoformat(), "--python", sys.executable]
    command = [str(airflow), str(wiring), "night", *settings]
    said = ""
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said += line
    found = re.search(r"nightly_audit: success, ([\d.]+) s; its jobs' own work: ([\d.]+) s", said)
    if process.returncode or found is None:
        raise RuntimeError(f"the night ended with {process.returncode}; see {work}/var/airflow")
    night, own_work = map(float, found.groups())
    return [
        Figure("jobs' own work", own_work, "s"),
        Figure("night", night, "s", "jobs' own work", night / own_work),
    ]
