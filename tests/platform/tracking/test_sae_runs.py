"""What a training of SAEs leaves in MLflow: on a registry of its own, with SAEs that were never trained."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsae_lib.config import SaeSettings, Settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.tracking.sae_runs import (
    SaeRuns,
    epoch_line,
    epoch_metrics,
    lineage,
    open_runs,
    outcome_line,
    register,
    training_identity,
    training_parameters,
    warm_start,
)
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.dictionaries import dictionaries_of, figures_of
from recsae_lib.sae.evaluation import SaeMetrics
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae
from recsae_lib.sae.training.loop import TrainedSae
from recsae_lib.sae.training.one_sae import EpochReport, SaeChoice
from recsae_lib.sae.training.sweep import SweepResult
from tests.workspace import write_mlflow_database

REPORT = EpochReport(epoch=2, fvu=0.25, auxk=0.5, l0=3.96, dead_fraction=0.125, rows=3000, seconds=2.0)
MEASURED = SaeMetrics(0.25, 0.2, 0.3, 2, 3.5, 7, 0.125, 0.875, 0.75, 1000, np.array([0.5] * 7 + [0.0]))
CHOICES = (SaeChoice(SaeSettings(k=1, epochs=3), seed=5), SaeChoice(SaeSettings(k=2, epochs=3), seed=6))
REPLICA = SaeChoice(SaeSettings(k=2, epochs=3), seed=7, replica=1)
NAME = "recsae-shop"
ROWS: dict[str, object] = {"data_folder": "bulk/site=last/rows=training", "data_digest": "0123456789abcdef"}


@dataclass
class FakeRun:
    """Keeps what is logged."""

    logged: list[tuple[dict[str, float], int]] = field(default_factory=list)

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.logged.append((metrics, step))


def sae(seed: int = 1) -> SparseAutoencoder:
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((32, 4)).astype(np.float32))
    return SparseAutoencoder.initialise(x, 8, 2, seed)


@pytest.fixture
def context(tmp_path: Path) -> JobContext:
    write_mlflow_database(tmp_path / "mlflow.db")
    paths = {
        "var": str(tmp_path / "var"),
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "artifacts": str(tmp_path / "artifacts"),
    }
    settings = Settings.model_validate({"namespace": "shop", "paths": paths, "seed": 9})
    context = JobContext("train_sae", settings, date(2026, 11, 20))
    vars(context)["model_version"] = 3  # what the registry would say of the recommender
    return context


def registered(
    context: JobContext, trained: SparseAutoencoder, choice: SaeChoice = CHOICES[1], replicas: tuple[int, ...] = (7,)
) -> int:
    """Register with replicas of these seeds and an untrained one beside it; figures are made up of the seeds."""
    others = [(UnitKind.SAE, number, sae(seed)) for number, seed in enumerate(replicas, start=1)]
    others.append((UnitKind.UNTRAINED, 1, sae(seed=99)))
    figures = iter(range(len(others) + 1))
    with open_runs(context, [choice], ROWS) as runs:
        ended = TrainedSae(trained, sae(seed=99), (REPORT,))
        example, fidelity = np.zeros((3, 4), np.float32), {"ndcg@10_kept": 0.5}
        return register(
            *(context, runs.whole, choice, ended, MEASURED, fidelity, example, {"data_digest": "abc"}),
            others=others,
            measure=lambda of: {"ndcg@10_kept": next(figures) / 8},
        )


def test_an_epoch_and_an_outcome_as_people_read_them() -> None:
    assert epoch_line(REPORT, 30, 0.9) == (
        "epoch 2 of 30: FVU 0.2500, L0 3.96, dead latents 12.5 %, dev NDCG@10 kept 90.0%, 1,500 rows/s"
    )
    assert "kept not measured" in epoch_line(REPORT, 30, None)
    assert outcome_line(MEASURED, None) == (
        "FVU 0.2500, within reach 0.2000 (2 rows beyond reach), by dimension 0.3000, L0 3.50, dead latents 12.5 %, "
        "NDCG@10 kept not measured"
    )


def test_metrics_of_an_epoch_have_names_of_their_own() -> None:
    passed = {"epoch_fvu": 0.25, "epoch_auxk": 0.5, "epoch_l0": 3.96, "epoch_dead_fraction": 0.125}
    assert epoch_metrics(REPORT, None) == passed
    assert epoch_metrics(REPORT, 0.9) == {**passed, "epoch_dev_ndcg@10_kept": 0.9}


def test_lineage_names_a_parent_where_there_is_one() -> None:
    assert sorted(lineage("abc", None)) == ["code_version", "data_digest"]
    assert lineage("abc", 4).items() >= {"data_digest": "abc", "parent_version": "4"}.items()


def test_other_parameters_are_another_training() -> None:
    first, second = (training_identity({"seed": seed}) for seed in (1, 2))
    assert first != second
    assert first == training_identity({"seed": 1})


def test_the_batch_size_in_use_is_logged(context: JobContext) -> None:
    parameters = training_parameters(context, {"batch_size": 64, "data_digest": "abc"}, "cpu", 2)
    assert context.settings.sae.batch_size is None
    expected = {"batch_size": 64, "data_digest": "abc", "device": "cpu", "processes": 2, "seed": 9, "k": 8}
    assert parameters.items() >= {**expected, "recommender": "recommender-shop 3"}.items()


def test_each_epoch_is_logged_and_first_and_last_are_shown(caplog: pytest.LogCaptureFixture) -> None:
    runs: Any = (FakeRun(), FakeRun())
    measured = []

    def kept_of(of_epoch: SparseAutoencoder) -> float:
        measured.append(of_epoch)
        return 0.75

    log_epoch = SaeRuns(runs[0], runs, CHOICES).log_epochs(kept_of)
    one = sae()
    with caplog.at_level(logging.INFO, "recsae"):
        for epoch in (1, 2, 3):
            report = EpochReport(epoch, 1 / epoch, 0.0, 1.0, 0.0, 100, 1.0)
            log_epoch(1, report, None if epoch == 1 else one)  # of a pass before a restart there is no SAE
    assert [(step, metrics.get("epoch_dev_ndcg@10_kept")) for metrics, step in runs[1].logged] == [
        (1, None),
        (2, 0.75),
        (3, 0.75),
    ]
    assert (runs[0].logged, measured) == ([], [one, one])
    assert [message.partition(": FVU")[0] for message in caplog.messages] == [
        "train_sae: top_k, k = 2, s = 16, seed 6: epoch 1 of 3",
        "train_sae: top_k, k = 2, s = 16, seed 6: epoch 3 of 3",
    ]


def test_one_sae_has_the_run_several_have_nested_ones(context: JobContext) -> None:
    with open_runs(context, CHOICES[:1], ROWS) as alone:
        assert alone.each == (alone.whole,)
        alone.log_sweep([SweepResult(CHOICES[0], 0.5, 0.0, 1.0, None)], [7], 0)
    with open_runs(context, CHOICES, {**ROWS, "seed": 9}) as runs:
        results = [SweepResult(choice, 0.5, 0.0, 1.0, None) for choice in CHOICES]
        runs.log_sweep(results, [7, 8], best=1)
    client = context.registry.client
    read = [client.get_run(run.run_id).inputs.dataset_inputs for run in (alone.whole, runs.whole, *runs.each)]
    assert [(one.dataset.name, one.dataset.digest, one.dataset.source) for (one,) in read] == [
        ("representations", "0123456789abcdef", '{"path": "bulk/site=last/rows=training"}')
    ] * 4
    whole, *each = (client.get_run(run.run_id).data for run in (runs.whole, *runs.each))
    assert [one.tags["mlflow.parentRunId"] for one in each] == [runs.whole.run_id] * 2
    assert [(one.params["k"], one.params["seed"]) for one in each] == [("1", "5"), ("2", "6")]
    assert whole.tags["best_version"] == "8"
    assert whole.tags["mlflow.note.content"] == "2 sparse autoencoders side by side; the best is version 8."
    assert "best_version" not in client.get_run(alone.whole.run_id).data.tags
    assert [file.path for file in client.list_artifacts(runs.whole.run_id, "tables")] == ["tables/sweep.json"]


def test_a_version_has_weights_metrics_and_origin(context: JobContext) -> None:
    trained = sae()
    version = registered(context, trained)
    tags, metrics = context.registry.tags(NAME, version), context.registry.metrics(NAME, version)
    assert {name: tags[name] for name in ("model_version", "dt", "num_latents", "dimension", "k", "variant")} == {
        "model_version": "3",
        "dt": "2026-11-20",
        "num_latents": "8",
        "dimension": "4",
        "k": "2",
        "variant": "top_k",
    }
    assert tags["data_digest"] == "abc"
    assert metrics == {
        "fvu": 0.25,
        "fvu_within_reach": 0.2,
        "fvu_by_dimension": 0.3,
        "rows_beyond_reach": 2.0,
        "l0": 3.5,
        "dead_fraction": 0.125,
        "mean_cosine": 0.875,
        "shrinkage": 0.75,
        "training_rows": 1000.0,
        "ndcg_at_10_kept": 0.5,
    }
    folder = context.registry.fetch(NAME, version)
    assert torch.equal(load_sae(folder).W_dec, trained.W_dec)
    assert [(one.kind, one.number) for one in dictionaries_of(folder)] == [("sae", 1), ("untrained", 1)]
    assert torch.equal(load_sae(folder / "dictionaries/sae-1").W_dec, sae(seed=7).W_dec)
    assert torch.equal(load_sae(folder / "dictionaries/untrained-1").W_dec, sae(seed=99).W_dec)
    kept = {key: figures["ndcg@10_kept"] for key, figures in figures_of(folder).items()}
    found = context.registry.client.get_model_version(NAME, str(version))
    assert found.description == f"Sparse autoencoder of 2026-11-20: {outcome_line(MEASURED, 0.5)}."
    assert kept == {("sae", 0): 0.0, ("sae", 1): 0.125, ("untrained", 1): 0.25}
    (run,) = (one for one in context.registry.versions(NAME))
    logged = context.registry.client.get_run(run.run_id).data.metrics
    assert logged["dictionaries/untrained-1_ndcg_at_10_kept"] == 0.25


def test_other_dictionaries_beside_the_same_sae_are_a_version(context: JobContext) -> None:
    first, more, again = (registered(context, sae(), replicas=seeds) for seeds in ((7,), (7, 8), (7,)))
    assert (first, more, again) == (1, 2, 1)
    counts = [len(dictionaries_of(context.registry.fetch(NAME, version))) for version in (1, 2, 1)]
    assert counts == [2, 3, 2]


def test_a_replica_has_a_run_in_that_of_its_sae(context: JobContext) -> None:
    several = (CHOICES[0], replace(REPLICA, seed=8), CHOICES[1], REPLICA)
    for choices in (several, several[2:]):
        with open_runs(context, choices, ROWS) as runs:
            pass
        client = context.registry.client
        each = [client.get_run(run.run_id) for run in runs.each]
        for own, replica in zip(each[::2], each[1::2], strict=True):
            assert replica.data.tags["mlflow.parentRunId"] == own.info.run_id
        assert each[-1].info.run_name == "replica 1: top_k, k = 2, s = 16, seed 7"
        assert (each[-2].info.run_id == runs.whole.run_id) == (len(choices) == 2)


def test_replicas_are_logged_but_neither_measured_nor_shown(caplog: pytest.LogCaptureFixture) -> None:
    runs: Any = (FakeRun(), FakeRun())
    log_epoch = SaeRuns(runs[0], runs, (CHOICES[1], REPLICA)).log_epochs(lambda of_epoch: 0.75)
    with caplog.at_level(logging.INFO, "recsae"):
        for number in (0, 1):
            log_epoch(number, EpochReport(1, 0.5, 0.0, 1.0, 0.0, 100, 1.0), sae())
    assert ["epoch_dev_ndcg@10_kept" in run.logged[0][0] for run in runs] == [True, False]
    assert [message.partition(" of 3")[0] for message in caplog.messages] == ["train_sae: epoch 1"]


def test_the_tag_k_is_that_of_the_settings(context: JobContext) -> None:
    trained = sae()
    trained.k, trained.threshold = 8, 0.125  # as BatchTopK leaves it, whose rows share what k allows them
    choice = SaeChoice(SaeSettings(k=2, variant="batch_top_k"), seed=5)
    tags = context.registry.tags(NAME, registered(context, trained, choice))
    assert (tags["k"], tags["most_active_latents"], tags["variant"]) == ("2", "8", "batch_top_k")


def test_a_warm_start_goes_on_from_the_champion(context: JobContext, caplog: pytest.LogCaptureFixture) -> None:
    assert warm_start(context) == (None, None)
    settings = context.settings.model_copy(
        update={"sae": context.settings.sae.model_copy(update={"start": "champion"})}
    )
    warm = JobContext("train_sae", settings, context.dt)
    vars(warm)["model_version"] = 3
    with caplog.at_level(logging.INFO, "recsae"):
        assert warm_start(warm) == (None, None)
        context.registry.promote(NAME, registered(context, sae()))
        version, start = warm_start(warm)
        assert start is not None
        assert (version, torch.equal(start.W_dec, sae().W_dec)) == (1, True)
        assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == []
        vars(warm)["model_version"] = 4
        warm_start(warm)
    assert "has no champion yet" in caplog.messages[0]
    assert "reads recommender version 3, not 4" in caplog.messages[-1]
