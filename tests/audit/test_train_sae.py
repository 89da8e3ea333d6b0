"""The training job by itself, on a copy of what an audit left: stopped, in several processes, as a sweep, warm."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient

from recsae_jobs import choose_sae, train_sae
from recsae_lib.errors import InputError
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.tracking.registry import Registry
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.sae.store import load_sae
from tests.workspace import DT, REPOSITORY, Workspace

pytestmark = pytest.mark.integration

NAME = "recsae-planted"
ARGUMENTS = ("--conf", "conf/planted.yaml", "--dt", DT.isoformat())


@pytest.fixture
def copy(audited: Workspace, tmp_path: Path) -> Workspace:
    """Representations, models and settings of the audited workspace, to write to."""
    for part in ("bulk", "mlflow"):
        shutil.copytree(audited.folder / "var" / part, tmp_path / "var" / part)
    shutil.copytree(audited.folder / "conf", tmp_path / "conf", symlinks=True)
    workspace = Workspace(tmp_path, audited.catalog, audited.spark)
    workspace.relocate_models()
    return workspace


def registry(workspace: Workspace) -> Registry:
    var = workspace.folder / "var"
    return Registry(f"sqlite:///{var}/mlflow/mlflow.db", f"{var}/mlflow/artifacts", var / "models")


def train(workspace: Workspace, *overrides: str) -> int:
    """Run the job in the tests' process; returns the candidate's version."""
    context = workspace.context("train_sae", *overrides)
    execute(context, train_sae.run)
    return context.sae_version


def train_apart(workspace: Workspace, *overrides: str) -> int:
    """Run the job in a process of its own, as the one that is stopped; returns the candidate's version."""
    sets = [argument for override in overrides for argument in ("--set", override)]
    answer = workspace.recsae("run", "train_sae", *ARGUMENTS, *sets)
    assert answer.returncode == 0, answer.stderr
    return registry(workspace).resolve(NAME, "candidate")


def killed_runs(workspace: Workspace) -> set[str]:
    """Trainings that did not end, without nested runs of replicas; the audited workspace may have some already."""
    client = registry(workspace).client
    experiment = client.get_experiment_by_name(NAME).experiment_id
    runs = client.search_runs([experiment], "attributes.status = 'KILLED' and tags.job = 'train_sae'")
    return {run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags}


def test_stopped_by_a_signal_it_says_so_and_resumes_exactly(copy: Workspace) -> None:
    longer = ("sae.epochs=15", "sae.patience=15")
    sets = [argument for override in longer for argument in ("--set", override)]
    earlier = killed_runs(copy)
    with copy.start("run", "train_sae", *ARGUMENTS, *sets) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "epoch 1 of 15" in line:
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
    assert process.returncode == 4, rest
    assert "start again to go on" in rest
    before = registry(copy).versions(NAME)
    (killed,) = killed_runs(copy) - earlier
    resumed = train_apart(copy, *longer)
    assert resumed > before[0].number
    client = registry(copy).client
    assert len(client.get_metric_history(registry(copy).versions(NAME)[0].run_id, "epoch_fvu")) > len(
        client.get_metric_history(killed, "epoch_fvu")
    )
    # A version is known by the digest of its weights: training once more without a stop gives the same one.
    assert train_apart(copy, *longer) == resumed
    assert len(registry(copy).versions(NAME)) == len(before) + 1


def test_processes_train_one_sae_together(copy: Workspace) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    job = [str(REPOSITORY / "jobs" / "train_sae.py"), *ARGUMENTS, "--set", "sae.batch_size=128"]
    before = registry(copy).versions(NAME)
    answer = subprocess.run([*command, *job], cwd=copy.folder, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    after = registry(copy).versions(NAME)
    assert len(after) == len(before) + 1
    assert "candidate" in after[0].aliases
    for name in ("fvu", "l0", "training_rows", "ndcg_at_10_kept"):
        assert after[0].metrics[name] == pytest.approx(before[0].metrics[name], rel=0.3), name


def test_more_processes_than_row_groups_are_refused(copy: Workspace) -> None:
    bulk = str(copy.folder / "var" / "bulk")
    training = Path(RepresentationSet(bulk, "recommender-planted", 1, "last", "training", DT).path)
    first, *others = sorted(training.glob("*.parquet"))
    pq.write_table(pq.ParquetFile(first).read(), first)
    for other in others:
        other.unlink()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    job = [str(REPOSITORY / "jobs" / "train_sae.py"), *ARGUMENTS]
    answer = subprocess.run([*command, *job], cwd=copy.folder, capture_output=True, text=True, check=False)
    assert answer.returncode != 0
    assert "too few for 2 training processes" in answer.stderr
    assert "representations.minimum_row_groups" in answer.stderr


def test_a_sweep_registers_all_and_makes_the_best_one_candidate(copy: Workspace) -> None:
    before = registry(copy).versions(NAME)
    best = train(
        copy,
        "sae.sweep=[{k: 1}, {k: 3, seed: 7}, {k: 3, variant: batch_top_k}, {k: 3, expansion_factor: 4}]",
        "checks.minimum_ndcg_kept=0.0",
        "checks.maximum_dead_fraction=1.0",
        "checks.maximum_fvu=0.5",
    )
    made = registry(copy).versions(NAME)[: -len(before)]
    assert len(made) == 4
    client = MlflowClient()
    children = [client.get_run(version.run_id) for version in made]
    (parent,) = {child.data.tags["mlflow.parentRunId"] for child in children}
    assert client.get_run(parent).data.tags["best_version"] == str(best)
    table = json.loads(
        Path(mlflow.artifacts.download_artifacts(run_id=parent, artifact_path="tables/sweep.json")).read_text()
    )
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["k"], row["variant"], row["expansion_factor"], row["seed"]) for row in rows] == [
        (1, "top_k", 2, 2026),
        (3, "top_k", 2, 7),
        (3, "batch_top_k", 2, 2026),
        (3, "top_k", 4, 2026),
    ]
    assert {row["version"] for row in rows} == {version.number for version in made}
    good = [row for row in rows if row["fvu_within_reach"] <= 0.5] or rows
    assert best == min(good, key=lambda row: (row["k"] if good is not rows else 0, row["fvu_within_reach"]))["version"]
    assert "plots/fvu_by_k.png" in [file.path for file in client.list_artifacts(parent, "plots")]
    threshold_of = {row["variant"]: load_sae(registry(copy).fetch(NAME, row["version"])).threshold for row in rows}
    assert threshold_of["top_k"] == 0.0
    assert threshold_of["batch_top_k"] > 0.0


def test_an_automatic_sweep_is_judged_and_one_chosen(copy: Workspace) -> None:
    before = registry(copy).versions(NAME)
    auto = ("sae.sweep=auto", "sae.epochs=4", "checks.minimum_ndcg_kept=0.5")
    train(copy, *auto)
    made = registry(copy).versions(NAME)[: -len(before)]
    assert {version.tags["variant"] for version in made} == {"top_k", "batch_top_k"}
    for version in before[:1]:  # a version of no sweep is not chosen from
        execute(copy.context("choose_sae", "sae.sweep=auto", f"sae.version={version.number}"), choose_sae.run)
    assert not any("choice_live" in version.tags for version in registry(copy).versions(NAME))

    for _ in range(2):  # the second time changes nothing
        execute(copy.context("choose_sae", *auto), choose_sae.run)
        made = registry(copy).versions(NAME)[: -len(before)]
        known = {version.number: dict(version.tags) for version in made}
        assert {tags["sweep_versions"] for tags in known.values()} == {" ".join(map(str, sorted(known)))}
        faithful = {n: tags for n, tags in known.items() if float(tags["dev_ndcg_at_10_kept"]) >= 0.5}
        best = max(int(tags["choice_confirmed"]) for tags in faithful.values())
        assert best >= 3  # of the planted features, by half of the users
        assert int(known[registry(copy).resolve(NAME, "candidate")]["choice_confirmed"]) == best

    champion = registry(copy).champion(NAME)
    assert champion is not None
    alone = train(copy, *auto, "sae.start=champion", "sae.epochs=3")
    tags = registry(copy).tags(NAME, alone)
    assert tags["sweep_versions"] == str(alone)
    shape = ("num_latents", "k", "variant")
    assert [tags[name] for name in shape] == [registry(copy).tags(NAME, champion)[name] for name in shape]


def test_latents_of_a_warm_start_keep_their_places(copy: Workspace) -> None:
    champion = registry(copy).champion(NAME)
    assert champion is not None
    cold = train(copy, "seed=9", "sae.epochs=3")
    warm = train(copy, "seed=9", "sae.epochs=3", "sae.start=champion")
    before, warm_directions, cold_directions = (
        load_sae(registry(copy).fetch(NAME, version)).W_dec.detach() for version in (champion, warm, cold)
    )
    assert torch.cosine_similarity(before, warm_directions).mean() > 0.9
    assert torch.cosine_similarity(before, cold_directions).mean() < 0.5
    with pytest.raises(InputError, match=r"sae\.start to random"):
        train(copy, "sae.start=champion", "sae.expansion_factor=3")
