from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recsae_lib.config import RecommenderSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.evaluation import evaluated_users, measure_test
from recsae_lib.recommenders.fit import EpochReport, TrainedRecommender, fit
from recsae_lib.recommenders.training_histories import TrainingHistories

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads wait for each other longer than these small models take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def histories_of(users: list[list[int]], item_count: int) -> TrainingHistories:
    offsets = np.cumsum([0, *map(len, users)])
    return TrainingHistories(offsets, np.array([item for user in users for item in user], dtype=np.int32), item_count)


def cycles(items: int = 12, users: int = 60, length: int = 8) -> TrainingHistories:
    """User u walks round the catalogue: item i is always followed by i+1, so that the next one is certain."""
    return histories_of([[(3 * user + step) % items for step in range(length)] for user in range(users)], items)


def tastes(blocks: int = 4, width: int = 12, users: int = 160, length: int = 9) -> TrainingHistories:
    """Each user takes items of one block of the catalogue in random order: who the user is tells what is next."""
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


def changed(settings: dict[str, object], **changes: object) -> dict[str, object]:
    kind = str(settings["kind"])
    return {**settings, kind: {**settings[kind], **changes}}  # type: ignore[dict-item]


@pytest.mark.parametrize("loss", ["cross_entropy", "bpr"])
def test_sasrec_learns_what_follows_what(loss: str) -> None:
    histories = cycles()
    trained = train(histories, **changed(SASREC, loss=loss, epochs=30))
    metrics = measure_test(trained.model, histories, evaluated_users(histories, 1000, seed=0), CPU)
    assert metrics["test_hr@5"] == 1.0
    assert metrics["test_ndcg@5"] > 0.99
    assert metrics["popularity_ndcg@5"] < 0.5


def test_bpr_mf_learns_tastes() -> None:
    histories = tastes()
    trained = train(histories, **BPR_MF)
    metrics = measure_test(trained.model, histories, evaluated_users(histories, 1000, seed=0), CPU)
    assert metrics["test_hr@5"] > 0.95  # four items of the block are unseen
    assert metrics["popularity_hr@5"] < 0.4


@pytest.mark.parametrize(("histories", "settings"), [(cycles(), SASREC), (tastes(), BPR_MF)], ids=["sasrec", "bpr_mf"])
def test_training_again_gives_the_same_bits(histories: TrainingHistories, settings: dict[str, object]) -> None:
    settings = changed(changed(settings, epochs=3), **({"dropout": 0.5} if settings is SASREC else {}))
    torch_state = torch.get_rng_state()
    first = train(histories, **settings)
    assert torch.equal(torch.get_rng_state(), torch_state)  # what others draw is left alone …
    torch.rand(7)  # … and does not matter
    second, other = train(histories, **settings), train(histories, seed=1, **settings)
    for name, weights in first.model.state_dict().items():
        assert torch.equal(weights, second.model.state_dict()[name])
    assert [report.loss for report in first.reports] == [report.loss for report in second.reports]
    assert not torch.equal(first.model.item_embeddings(), other.model.item_embeddings())


def test_the_best_epoch_is_kept_and_training_stops_when_none_is_better() -> None:
    histories = cycles()
    told: list[EpochReport] = []
    settings = RecommenderSettings.model_validate(changed(SASREC, epochs=100, patience=4))
    trained = fit(histories, settings, 0, CPU, told.append)
    scores = [report.dev_ndcg for report in told]
    assert trained.reports == tuple(told)
    assert trained.best_epoch == 1 + scores.index(max(scores))
    assert len(told) == trained.best_epoch + 4 < 100
    assert [report.epoch for report in told] == list(range(1, len(told) + 1))
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
    assert evaluated_users(with_short, 100, seed=0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("settings", [SASREC, BPR_MF], ids=["sasrec", "bpr_mf"])
def test_a_divergent_training_is_refused(settings: dict[str, object]) -> None:
    kind = settings["kind"]
    with pytest.raises(InputError, match=rf"diverged in epoch \d+\. Set a lower recommender\.{kind}\.learning_rate"):
        train(cycles(), **changed(settings, learning_rate=1.0, l2=1e300))


@pytest.mark.parametrize("settings", [SASREC, BPR_MF], ids=["sasrec", "bpr_mf"])
@pytest.mark.parametrize("users", [[], [[0, 1], [1]]], ids=["nobody", "only short histories"])
def test_where_nobody_can_be_evaluated_is_refused(settings: dict[str, object], users: list[list[int]]) -> None:
    with pytest.raises(InputError, match="No user has 3 interactions or more"):
        train(histories_of(users, 2), **settings)
