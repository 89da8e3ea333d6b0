"""How every job after training grows with users: seconds, memory by part, what is shuffled, spilled and uneven."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import yaml

from recsae_lib.platform.job.record import book_path, read_book
from tests.benchmarks.growing.event_log import Work
from tests.benchmarks.growing.figures import Measured, figures_of, line_of, read_measured, report, write_measured
from tests.benchmarks.growing.processes import PartUsage
from tests.benchmarks.growing.world import DIMENSION, Size, count_of
from tests.benchmarks.harness import Figure
from tests.workspace import DT, REPOSITORY

SIZES, ITEMS = os.environ.get("SIZE", "100k,1m"), os.environ.get("ITEMS", "100k")
NAMESPACE, CONF = "growth", "conf/growth.yaml"
SECOND_NIGHT = date(2026, 11, 21)  # which compare_versions compares with the first
# In the order of an audit, with what is done between jobs; choose_sae and tune_recommendations do nothing by default.
PLAN = (
    "world",
    "ingest_dataset",
    "recommender",
    "extract_representations",
    "recommend_items",
    "sae",
    "encode_latents",
    "compute_concept_terms",
    "compute_latent_effects",
    "interpret_concepts",
    "verify_concepts",
    "measure_coverage",
    "nothing_to_compare",
    "publish_audit",
    "build_explorer",
    "second_night",
    "compare_versions",
)
STEPS = ("world", "recommender", "sae", "second_night")
UNMEASURED = (*STEPS, "nothing_to_compare")
JOBS = tuple(name for name in PLAN if name not in UNMEASURED)
# With GO_ON=1 a run goes on after the last job that an earlier one with the same SIZE and ITEMS has measured.
GOES_ON = os.environ.get("GO_ON") == "1"
CONDITIONS = (
    f"SIZE={SIZES} users, ITEMS={ITEMS} items at every size (recommend_items scores users x items); planted data of 20 "
    "interactions a user, item popularity by Zipf's law, a feature that 40 % of the users like, 10 users of "
    f"10,000 interactions; d={DIMENSION}, 1,024 latents, k=8, all else by default; jobs as processes one by one, Spark "
    "as in conf/spark/local.conf; seconds: of a job's own work, start of Spark included; memory: the largest "
    "proportional set size of driver, JVM and all Python workers, each at its own moment; compare_versions by "
    "activations, against a night that repeats the first one under another recommender; Spark writes event logs"
)


NOTHING = Measured(0.0, 0.0, {}, 0, Work.of(()))


def measure(work: Path) -> list[Figure]:
    sizes = sorted((Size(count_of(name), count_of(ITEMS)) for name in SIZES.split(",")), key=lambda size: size.users)
    measured = {size: measure_size(work / size.folder_name, size) for size in sizes}
    print("\n".join(report(measured)), flush=True)
    return figures_of(measured)


def measure_size(folder: Path, size: Size) -> dict[str, Measured]:
    """Lay out a world, register its models, and run every job on it."""
    kept = folder / "measured.json"
    done = read_measured(kept) if GOES_ON else {}
    if not done:
        lay_out(folder, size)
    for name in PLAN:
        if name not in done:
            done[name] = run(folder, size, name)
            write_measured(kept, done)
        if name in JOBS:
            print(line_of(size, name, done[name]), flush=True)
    return {name: done[name] for name in JOBS}


def run(folder: Path, size: Size, name: str) -> Measured:
    """Run a job, or what is done between jobs."""
    if name == "world" and (folder / "data" / "_finished").exists():
        return NOTHING
    if name == "second_night":
        step(folder, size, name, SECOND_NIGHT, "--after", DT.isoformat())
    elif name in STEPS:
        step(folder, size, name, DT)
    elif name == "nothing_to_compare":
        run_job(folder, "compare_versions", DT)
    else:
        return run_job(folder, name, SECOND_NIGHT if name == "compare_versions" else DT)
    if name == "world":
        (folder / "data" / "_finished").touch()
    return NOTHING


def lay_out(folder: Path, size: Size) -> None:
    """Write settings and Spark properties; what an earlier run wrote goes, but for its planted data."""
    for name in ("var", "conf"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("conf", "data", "logs", "events"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "conf" / "spark").symlink_to(REPOSITORY / "conf" / "spark")
    properties = (REPOSITORY / "conf" / "spark" / "local.conf").read_text(encoding="utf-8")
    events = (folder / "events").absolute().as_uri()
    logged = f"spark.eventLog.enabled true\nspark.eventLog.dir {events}\n"
    (folder / "conf" / "growth.conf").write_text(properties + logged, encoding="utf-8")
    module = {
        "factory": "tests.benchmarks.growing.averaging:build",
        "arguments": {"rows": size.items + 1, "dimension": DIMENSION},
        "weights": "data/items.safetensors",
        "item_embeddings": "items.weight",
    }
    settings = {
        "namespace": NAMESPACE,
        "spark": {"properties": "conf/growth.conf"},
        "dataset": {"format": "parquet", "interactions": "data/interactions", "items": "data/items"},
        "recommender": {"kind": "module", "dimension": DIMENSION, "module": module},
        "representations": {"training_positions": 1},
        # Nobody trained the SAE: it reconstructs as well as its planted directions do.
        "checks": {"maximum_fvu": 10.0, "maximum_fvu_by_user": 10.0, "maximum_fvu_by_dimension": 10.0},
    }
    (folder / CONF).write_text(yaml.safe_dump(settings), encoding="utf-8")


def step(folder: Path, size: Size, name: str, dt: date, *more: str) -> None:
    """Run what stands between jobs, unmeasured."""
    sizes = ["--users", str(size.users), "--items", str(size.items)]
    command = [sys.executable, "-m", "tests.benchmarks.growing.steps", name, "--conf", CONF, "--dt", dt.isoformat()]
    with start(folder, [*command, *sizes, *more], name) as process:
        process.wait()
    require_done(folder, name, process)


def run_job(folder: Path, job: str, dt: date) -> Measured:
    """Run one job as a process, and read what it came to."""
    logs = folder / "events"
    shutil.rmtree(logs)
    logs.mkdir()
    command = [sys.executable, "-m", "recsae_lib.cli", "run", job, "--conf", CONF, "--dt", dt.isoformat()]
    with start(folder, command, job) as process, PartUsage(process) as usage:
        process.wait()
    require_done(folder, job, process)
    record = read_book(book_path(folder / "var", NAMESPACE))[-1]
    (log,) = logs.iterdir()
    with log.open(encoding="utf-8") as lines:
        return Measured(record.seconds, usage.cpu_seconds, usage.gib, record.rows_out, Work.of(lines))


def start(folder: Path, command: list[str], name: str) -> subprocess.Popen[bytes]:
    """Start a process in the folder of a world; what it says goes to a file."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with (folder / "logs" / f"{name}.txt").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


def require_done(folder: Path, name: str, process: subprocess.Popen[bytes]) -> None:
    if process.returncode:
        said = (folder / "logs" / f"{name}.txt").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{name} ended with {process.returncode}: {said[-2000:]}")
