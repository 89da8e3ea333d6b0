from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from recsae_lib.config import RecommenderSettings
from recsae_lib.errors import InputError
from recsae_lib.platform.compute.checkpoint import CheckpointFile
from recsae_lib.recommenders.evaluation import measure_test
from recsae_lib.recommenders.fit import EpochReport, TrainedRecommender, fit
from recsae_lib.recommenders.training_histories import TrainingHistories
from tests.histories import histories_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads wait for each other longer than these small models take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def cycles(items: int = 12, users: int = 60, length: int = 8) -> TrainingHistories:
    """User u walks round the catalogue: item i is always followed by i+1, so that the next one is certain."""
    return histories_of([[(3 * user + step) % items for step in range(length)] for user in range(users)], items)


def tastes(blocks: int = 4, width: int = 12, users: int = 160, length: int = 9) -> TrainingHistories:
    """Each user takes items of one block of the catalogue in random order: who the user is decides what is next."""
    random = np.random.default_rng(0)
    return histories_of(
        [(width * (user % blocks) + random.permutation(width)[:length]).tolist() for user in range(users)],
        blocks * width,
    )


def train(histories: TrainingHistories, seed: int = 0, **settings: object) -> TrainedRecommender:
    return fit(histories, RecommenderSettings.model_validate(settings), seed, CPU, lambda report: None)


SASREC = {
    "kind": "sasrec",
    "dimension": 16,
    "sasrec": {"history_length": 4, "dropout": 0.0, "learning_rate": 0.02, "batch_size": 16, "epochs": 12},
}
BPR_MF = {
    "kind": "bpr_mf",
    "dimension": 8,
    "bpr_mf": {"learning_rate": 0.05, "batch_size": 32, "epochs": 30, "patience": 30},
}


LIGHTGCN = {
    "kind": "lightgcn",
    "dimension": 8,
    "lightgcn": {"layers": 2, "learning_rate": 0.05, "batch_size": 64, "epochs": 30, "patience": 30},
}
TIMIREC = {
    "kind": "timirec",
    "dimension": 16,
    "timirec": {
        "interests": 2,
        "history_length": 4,
        "dropout": 0.0,
        "learning_rate": 0.02,
        "batch_size": 16,
        "epochs": 8,
        "patience": 8,
    },
}
FAMILIES = [SASREC, BPR_MF, LIGHTGCN, TIMIREC]
NAMES = ["sasrec", "bpr_mf", "lightgcn", "timirec"]


def changed(settings: dict[str, object], **changes: object) -> dict[str, object]:
    kind = str(settings["kind"])
    return {**settings, kind: {**settings[kind], **changes}}  # type: ignore[dict-item]


@pytest.mark.parametrize("loss", ["cross_entropy", "sampled_softmax", "bpr"])
def test_sasrec_learns_what_follows_what(loss: str) -> None:
    histories = cycles()
    trained = train(histories, **changed(SASREC, loss=loss, candidates=6, epochs=30))
    metrics = measure_test(trained.model, histories, histories.held_out_users("test", 1000, seed=0), CPU)
    assert metrics["test_hr@5"] == 1.0
    assert metrics["test_ndcg@5"] > 0.7
    assert metrics["popularity_ndcg@5"] < 0.5


def test_timirec_learns_what_follows_what() -> None:
    histories = cycles()
    trained = train(histories, **TIMIREC)
    metrics = measure_test(trained.model, histories, histories.held_out_users("test", 1000, seed=0), CPU)
    assert metrics["test_hr@5"] == 1.0
    assert metrics["test_ndcg@5"] > 0.8
    phases = [report.phase for report in trained.reports]
    assert phases == sorted(phases, reverse=True)  # pre-training, then fine-tuning
    assert set(phases) == {"pre-training", "fine-tuning"}
    assert trained.reports[trained.best_epoch - 1].phase == "fine-tuning"


@pytest.mark.parametrize("settings", [BPR_MF, LIGHTGCN], ids=["bpr_mf", "lightgcn"])
def test_tastes_are_learned(settings: dict[str, object]) -> None:
    histories = tastes()
    trained = train(histories, **settings)
    metrics = measure_test(trained.model, histories, histories.held_out_users("test", 1000, seed=0), CPU)
    assert metrics["test_hr@5"] > 0.95  # four items of the block are unseen
    assert metrics["popularity_hr@5"] < 0.4


class KilledError(Exception):
    """Stands for a signal at the end of an epoch."""


@pytest.mark.parametrize("settings", FAMILIES, ids=NAMES)
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_killed_training_goes_on_to_the_same_bits(settings: dict[str, object], at: int, tmp_path: Path) -> None:
    drops = {"dropout": 0.5} if settings in (SASREC, TIMIREC) else {}
    chosen = RecommenderSettings.model_validate(changed(settings, epochs=2 if settings is TIMIREC else 4, **drops))
    histories, path = cycles(), tmp_path / "checkpoint.safetensors"

    def kill(report: EpochReport) -> None:
        if report.epoch == at:
            raise KilledError

    with pytest.raises(KilledError):
        fit(histories, chosen, 0, CPU, kill, path, checkpoint_seconds=0.0)
    assert path.exists() == (at > 1)
    again: list[EpochReport] = []
    resumed = fit(histories, chosen, 0, CPU, again.append, path, checkpoint_seconds=0.0)
    whole = fit(histories, chosen, 0, CPU, lambda report: None)
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, resumed.model.state_dict()[name]), name
    assert [report.loss for report in resumed.reports] == [report.loss for report in whole.reports]
    assert [report.epoch for report in again] == [report.epoch for report in whole.reports]
    assert not path.exists()


def test_a_checkpoint_of_other_settings_or_damaged_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"

    def kill(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KilledError

    def epochs_told(seed: int) -> list[float]:
        given: list[EpochReport] = []
        chosen = RecommenderSettings.model_validate(changed(SASREC, epochs=3))
        fit(cycles(), chosen, seed, CPU, given.append, path)
        return [report.seconds for report in given]

    chosen = RecommenderSettings.model_validate(changed(SASREC, epochs=3))
    with pytest.raises(KilledError):
        fit(cycles(), chosen, 0, CPU, kill, path, checkpoint_seconds=0.0)
    kept = path.read_bytes()
    progress = CheckpointFile(path, "another identity", 0.0).load()
    assert progress is None
    path.write_bytes(kept[:-7])
    assert len(epochs_told(seed=0)) == 3
    path.write_bytes(kept)
    assert len(epochs_told(seed=1)) == 3


@pytest.mark.parametrize(
    ("histories", "settings"), list(zip([cycles(), tastes(), tastes(), cycles()], FAMILIES, strict=True)), ids=NAMES
)
def test_training_again_gives_the_same_bits(histories: TrainingHistories, settings: dict[str, object]) -> None:
    drops = {"dropout": 0.5} if settings in (SASREC, TIMIREC) else {}
    settings = changed(changed(settings, epochs=3), **drops)
    torch_state = torch.get_rng_state()
    first = train(histories, **settings)
    assert torch.equal(torch.get_rng_state(), torch_state)  # what others draw is left alone …
    torch.rand(7)  # … and does not matter
    second, other = train(histories, **settings), train(histories, seed=1, **settings)
    for name, weights in first.model.state_dict().items():
        assert torch.equal(weights, second.model.state_dict()[name])
    assert [report.loss for report in first.reports] == [report.loss for report in second.reports]
    assert not torch.equal(first.model.item_embeddings(), other.model.item_embeddings())


def test_training_keeps_the_best_epoch_and_stops_after_it() -> None:
    histories = cycles()
    given: list[EpochReport] = []
    settings = RecommenderSettings.model_validate(changed(SASREC, epochs=100, patience=4))
    trained = fit(histories, settings, 0, CPU, given.append)
    scores = [report.dev_ndcg for report in given]
    assert trained.reports == tuple(given)
    assert trained.best_epoch == 1 + scores.index(max(scores))
    assert len(given) == trained.best_epoch + 4 < 100
    assert [report.epoch for report in given] == list(range(1, len(given) + 1))
    short = RecommenderSettings.model_validate(changed(SASREC, epochs=trained.best_epoch))
    assert torch.equal(
        fit(histories, short, 0, CPU, lambda report: None).model.item_embeddings(), trained.model.item_embeddings()
    )


def test_short_histories_train_but_are_not_evaluated() -> None:
    long = [[0, 1, 2, 3, 4, 5]] * 4
    alone, with_short = histories_of(long, 8), histories_of([*long, [6, 7], [5]], 8)
    weights = [
        train(histories, **changed(SASREC, epochs=2)).model.item_embeddings()[7] for histories in (alone, with_short)
    ]
    assert not torch.equal(*weights)
    assert with_short.held_out_users("dev", 100, seed=0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("settings", FAMILIES, ids=NAMES)
def test_a_divergent_training_is_refused(settings: dict[str, object]) -> None:
    kind = settings["kind"]
    with pytest.raises(InputError, match=rf"diverged in epoch \d+\. Set a lower recommender\.{kind}\.learning_rate"):
        train(cycles(), **changed(settings, learning_rate=1.0, l2=1e300, epochs=100))


@pytest.mark.parametrize("settings", FAMILIES, ids=NAMES)
@pytest.mark.parametrize("users", [[], [[0, 1], [1]]], ids=["nobody", "only short histories"])
def test_where_nobody_can_be_evaluated_is_refused(settings: dict[str, object], users: list[list[int]]) -> None:
    with pytest.raises(InputError, match="No user has a dev item"):
        train(histories_of(users, 2), **settings)
