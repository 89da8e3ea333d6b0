from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from recsae_lib.config import SaeSettings
from recsae_lib.errors import InputError, StoppedError
from recsae_lib.platform.compute.checkpoint import CheckpointFile
from recsae_lib.sae.clusters import cluster_directions
from recsae_lib.sae.evaluation import evaluate_sae
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.training import state as training_state
from recsae_lib.sae.training.loop import TrainedSae, train_saes
from recsae_lib.sae.training.one_sae import EpochReport, SaeChoice
from recsae_lib.sae.training.optimiser import remove_parallel_gradient
from recsae_lib.sae.training.state import TrainingState, default_learning_rate, rate_share
from recsae_lib.sae.training.sweep import with_replicas


def batches_of(x: torch.Tensor, batch_size: int) -> Callable[[int], Iterator[torch.Tensor]]:
    def iterate(epoch: int) -> Iterator[torch.Tensor]:
        yield from x[torch.randperm(len(x), generator=torch.Generator().manual_seed(epoch))].split(batch_size)

    return iterate


def planted(rows: int, dimension: int, atoms: int, active: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit atoms, and rows that are sums of a few of them, off centre and at another scale."""
    random = torch.Generator().manual_seed(seed)
    directions = F.normalize(torch.randn(atoms, dimension, generator=random))
    chosen = torch.rand(rows, atoms, generator=random).topk(active).indices
    strengths = torch.rand(rows, active, generator=random) + 0.5
    x = torch.einsum("na,nad->nd", strengths, directions[chosen])
    x += 0.01 * torch.randn(rows, dimension, generator=random)
    return directions, 20.0 * (x + 2.0 * torch.randn(dimension, generator=random))


def train_one(
    batches: Callable[[int], Iterator[torch.Tensor]],
    dimension: int,
    settings: SaeSettings,
    seed: int = 1,
    on_epoch: Callable[[EpochReport, SparseAutoencoder | None], None] = lambda report, sae: None,
    **options: Any,
) -> TrainedSae:
    choices = [SaeChoice(settings, seed)]
    (trained,) = train_saes(batches, dimension, choices, "cpu", lambda _, report, sae: on_epoch(report, sae), **options)
    return trained


def train(x: torch.Tensor, settings: SaeSettings, seed: int = 1) -> TrainedSae:
    return train_one(batches_of(x, settings.batch_size or 1024), x.shape[1], settings, seed)


def test_planted_dictionary_is_found_again() -> None:
    atoms, x = planted(rows=50_000, dimension=32, atoms=96, active=4)
    trained = train(x, SaeSettings(expansion_factor=3, k=4, batch_size=512, epochs=15, learning_rate=4e-3))
    best_cosine = (atoms @ trained.sae.W_dec.detach().T).max(1).values
    assert best_cosine.mean() >= 0.95
    metrics = evaluate_sae(trained.sae, x.split(4096))
    assert metrics.fvu < 0.2
    assert metrics.dead_fraction <= 0.05
    assert metrics.l0 <= 4
    baseline = evaluate_sae(trained.initial, x.split(4096))
    assert baseline.fvu > 2 * metrics.fvu
    assert (atoms @ trained.initial.W_dec.detach().T).max(1).values.mean() < 0.6
    # The model takes raw rows: what training reported of scaled ones holds for them.
    assert metrics.fvu == pytest.approx(trained.reports[-1].fvu, rel=0.05)


def test_auxk_brings_dead_latents_back_and_lowers_the_fvu() -> None:
    _, x = planted(rows=10_000, dimension=32, atoms=96, active=4)
    x = (x - x.mean(0)) / x.std()
    dead_fraction, unexplained = {}, {}
    for alpha in (1 / 32, 0.0):
        sae = SparseAutoencoder.initialise(x[:1000], num_latents=96, k=4, seed=1)
        with torch.no_grad():
            sae.W_enc[48:] *= 1e-3  # half of the latents are too weak to be among the largest
        settings = SaeSettings(k=4, dead_after_rows=2000, learning_rate=4e-3, auxiliary_coefficient=alpha)
        state = TrainingState(sae, settings, len(x), steps=200)
        for _ in range(10):
            for batch in x.split(500):
                state.step(batch, total_variance=32.0)
        metrics = evaluate_sae(sae, x.split(4096))
        dead_fraction[alpha], unexplained[alpha] = metrics.dead_fraction, metrics.fvu
    assert dead_fraction[1 / 32] < 0.05
    assert dead_fraction[0.0] > 0.4
    assert unexplained[1 / 32] < 0.8 * unexplained[0.0]


def test_decoder_rows_keep_unit_norm_with_orthogonal_gradients() -> None:
    _, x = planted(rows=2000, dimension=8, atoms=24, active=2)
    sae = train(x, SaeSettings(expansion_factor=4, k=2, batch_size=200, epochs=3)).sae
    torch.testing.assert_close(sae.W_dec.norm(dim=1).detach(), torch.ones(32), rtol=0, atol=1e-6)
    (sae(x) - x).square().sum().backward()
    assert ((sae.W_dec.grad * sae.W_dec).sum(1).abs() > 1e-2).any()
    remove_parallel_gradient(sae.W_dec)
    along = (sae.W_dec.grad * sae.W_dec).sum(1).abs()
    assert (along <= 1e-5 * sae.W_dec.grad.norm(dim=1) + 1e-6).all()
    assert sae.W_dec.grad.abs().max() > 1.0


def test_same_seed_same_bits_another_seed_others() -> None:
    _, x = planted(rows=3000, dimension=8, atoms=24, active=2)
    settings = SaeSettings(expansion_factor=8, k=2, batch_size=256, epochs=4)
    first, again, other = (train(x, settings, seed) for seed in (1, 1, 2))
    for name, tensor in first.sae.state_dict().items():
        assert torch.equal(tensor, again.sae.state_dict()[name])
    for name, tensor in first.initial.state_dict().items():
        assert torch.equal(tensor, again.initial.state_dict()[name])
    assert not torch.equal(first.sae.W_dec, other.sae.W_dec)


def test_batch_top_k_leaves_a_threshold_for_k_latents_a_row() -> None:
    _, x = planted(rows=5000, dimension=16, atoms=48, active=3)
    settings = SaeSettings(expansion_factor=4, k=3, batch_size=256, epochs=10, variant="batch_top_k")
    sae = train(x, settings).sae
    assert (sae.k, sae.threshold > 0) == (12, True)
    active = (sae.encode(x)[0] > 0).sum(1)
    assert active.double().mean().item() == pytest.approx(3, rel=0.05)
    assert active.max() > 3


@pytest.mark.parametrize("variant", ["top_k", "batch_top_k"])
@pytest.mark.parametrize("stops", [(1,), (4, 6), (7, 8, 9), (20,)])  # 8 steps a pass, 3 passes
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    stops: tuple[int, ...], variant: str, tmp_path: Path
) -> None:
    _, x = planted(rows=2000, dimension=8, atoms=24, active=2)
    # Dead after a part of a pass, so that AuxK is at work.
    settings = SaeSettings(expansion_factor=16, k=2, batch_size=256, epochs=3, dead_after_rows=500, variant=variant)
    batches = batches_of(x, settings.batch_size)
    checkpoint = CheckpointFile(tmp_path / "checkpoint.safetensors", "identity", seconds=3600.0)
    done = 0
    for until in stops:

        def stop(until: int = until) -> bool:
            nonlocal done
            done += 1
            return done == until

        with pytest.raises(StoppedError):
            train_one(batches, 8, settings, checkpoint=checkpoint, stop=stop)
    given: list[tuple[int, bool]] = []
    resumed = train_one(
        batches, 8, settings, 1, lambda report, sae: given.append((report.epoch, sae is None)), checkpoint=checkpoint
    )
    whole = train(x, settings)
    for name, weights in whole.sae.state_dict().items():
        assert torch.equal(weights, resumed.sae.state_dict()[name]), name
        assert torch.equal(whole.initial.state_dict()[name], resumed.initial.state_dict()[name]), name
    assert (resumed.sae.k, resumed.sae.threshold) == (whole.sae.k, whole.sae.threshold)
    for ours, expected in zip(resumed.reports, whole.reports, strict=True):
        assert (ours.fvu, ours.auxk, ours.l0, ours.rows) == (expected.fvu, expected.auxk, expected.l0, expected.rows)
    assert given == [(epoch, epoch * 8 < stops[-1]) for epoch in (1, 2, 3)]
    assert not checkpoint.path.exists()


def test_the_best_weights_outlive_a_stop_with_their_threshold(tmp_path: Path) -> None:
    _, x = planted(rows=1000, dimension=8, atoms=24, active=2)
    noise = torch.randn(1000, 8, generator=torch.Generator().manual_seed(9)) * 1000

    def turns_bad(epoch: int) -> Iterator[torch.Tensor]:
        return batches_of(x, 100)(epoch) if epoch <= 2 else iter((x + noise).split(100))

    settings = SaeSettings(expansion_factor=4, k=2, batch_size=100, epochs=4, variant="batch_top_k")
    checkpoint = CheckpointFile(tmp_path / "checkpoint.safetensors", "identity", seconds=3600.0)
    steps = iter(range(100))
    with pytest.raises(StoppedError):
        train_one(turns_bad, 8, settings, checkpoint=checkpoint, stop=lambda: next(steps) == 25)
    resumed, whole = train_one(turns_bad, 8, settings, checkpoint=checkpoint), train_one(turns_bad, 8, settings)
    assert min(whole.reports, key=lambda report: report.fvu).epoch == 2
    assert whole.sae.threshold > 0
    assert (resumed.sae.k, resumed.sae.threshold) == (whole.sae.k, whole.sae.threshold)
    assert torch.equal(resumed.sae.W_enc, whole.sae.W_enc)


def test_saes_that_share_passes_equal_those_trained_alone(tmp_path: Path) -> None:
    _, x = planted(rows=2000, dimension=8, atoms=24, active=2)
    shared = {"batch_size": 256, "epochs": 4, "dead_after_rows": 500}
    choices = [
        SaeChoice(SaeSettings(expansion_factor=16, k=2, **shared), 1),
        SaeChoice(SaeSettings(expansion_factor=4, k=3, **{**shared, "epochs": 2}), 1),
        SaeChoice(SaeSettings(expansion_factor=4, k=3, **shared), 2),
    ]
    checkpoint = CheckpointFile(tmp_path / "checkpoint.safetensors", "identity", seconds=3600.0)
    steps = iter(range(100))
    with pytest.raises(StoppedError):  # in the third pass, when one of them has ended
        train_saes(
            batches_of(x, 256), 8, choices, "cpu", lambda *_: None, checkpoint, stop=lambda: next(steps) == 8 * 2 + 3
        )
    given: list[tuple[int, int]] = []
    together = train_saes(
        batches_of(x, 256),
        8,
        choices,
        "cpu",
        lambda number, report, sae: given.append((number, report.epoch)),
        checkpoint,
    )
    assert sorted(given) == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]
    for ours, choice in zip(together, choices, strict=True):
        alone = train(x, choice.settings, choice.seed)
        for name, weights in alone.sae.state_dict().items():
            assert torch.equal(weights, ours.sae.state_dict()[name]), name
        assert [report.fvu for report in ours.reports] == [report.fvu for report in alone.reports]


def test_a_replica_has_the_bits_of_its_seed_trained_alone() -> None:
    _, x = planted(rows=2000, dimension=8, atoms=24, active=2)
    settings = SaeSettings(expansion_factor=4, k=2, batch_size=256, epochs=3, initial_directions="clusters")
    choices = with_replicas([SaeChoice(settings, 1), SaeChoice(settings.model_copy(update={"k": 3}), 2)], 2)
    together = train_saes(batches_of(x, 256), 8, choices, "cpu", lambda *_: None)
    assert [choice.seed for choice in choices] == [1, 3, 4, 2, 3, 4]
    for ours, choice in zip(together, choices, strict=True):
        alone = train(x, choice.settings, choice.seed)
        for name, weights in alone.sae.state_dict().items():
            assert torch.equal(weights, ours.sae.state_dict()[name]), name


def test_clusters_are_begun_with_and_others_do_not_notice() -> None:
    _, x = planted(rows=3000, dimension=8, atoms=24, active=1)
    shared = {"expansion_factor": 4, "k": 1, "batch_size": 256, "epochs": 1, "learning_rate": 1e-9}
    begun, random = (SaeSettings(**shared, initial_directions=name) for name in ("clusters", "random"))
    both = train_saes(batches_of(x, 256), 8, [SaeChoice(begun, 1), SaeChoice(random, 1)], "cpu", lambda *_: None)
    expected = cluster_directions(x, 32, seed=1)
    found = both[0].sae.W_dec.detach()
    # k-means of rows of another scale and order, so not the same bits; most centroids are found either way.
    assert (found @ expected.T).max(1).values.median() > 0.999
    torch.testing.assert_close(both[0].sae.W_enc, both[0].sae.W_dec, rtol=0, atol=1e-5)
    assert (F.normalize(both[0].initial.W_dec.detach()) @ expected.T).max(1).values.median() < 0.99
    for name, weights in train(x, random).sae.state_dict().items():
        assert torch.equal(weights, both[1].sae.state_dict()[name]), name
        assert torch.equal(both[0].initial.state_dict()[name], both[1].initial.state_dict()[name]), name


def test_a_due_checkpoint_is_written_and_bound_to_its_data(tmp_path: Path) -> None:
    _, x = planted(rows=1000, dimension=8, atoms=24, active=2)
    settings = SaeSettings(expansion_factor=4, k=2, batch_size=100, epochs=2)
    path, seen = tmp_path / "checkpoint.safetensors", []

    def look() -> bool:
        seen.append(path.exists())
        return len(seen) == 15

    with pytest.raises(StoppedError):
        train_one(batches_of(x, 100), 8, settings, checkpoint=CheckpointFile(path, "a", 0.0), stop=look)
    assert seen == [False, *[True] * 14]
    assert CheckpointFile(path, "b", 0.0).load() is None
    assert CheckpointFile(path, "a", 0.0).load() is not None


def test_global_random_state_is_neither_read_nor_moved() -> None:
    _, x = planted(rows=500, dimension=8, atoms=24, active=2)
    settings = SaeSettings(expansion_factor=2, k=2, batch_size=100, epochs=1)
    torch.manual_seed(1)
    first, after = train(x, settings), torch.rand(1)
    torch.manual_seed(1)
    assert after == torch.rand(1)
    torch.manual_seed(2)
    assert torch.equal(first.sae.W_enc, train(x, settings).sae.W_enc)


def test_scale_of_the_representations_does_not_matter() -> None:
    _, x = planted(rows=3000, dimension=8, atoms=24, active=2)
    settings = SaeSettings(expansion_factor=4, k=2, batch_size=256, epochs=3)
    # A power of two leaves every mantissa alone, so that the two trainings are the same to the last bit.
    fvus = [[report.fvu for report in train(x * factor, settings).reports] for factor in (1.0, 2.0**-12)]
    assert fvus[0] == pytest.approx(fvus[1], rel=1e-5)


def test_best_epoch_is_kept_and_patience_ends_training() -> None:
    _, x = planted(rows=1000, dimension=8, atoms=24, active=2)
    good, noise = batches_of(x, 100), torch.randn(1000, 8, generator=torch.Generator().manual_seed(9)) * 1000

    def turns_bad(epoch: int) -> Iterator[torch.Tensor]:
        return good(epoch) if epoch <= 2 else iter((x + noise).split(100))

    settings = SaeSettings(expansion_factor=4, k=2, batch_size=100, epochs=50, patience=3)
    given: list[EpochReport] = []
    weights: list[torch.Tensor] = []

    def on_epoch(report: EpochReport, sae: SparseAutoencoder | None) -> None:
        assert sae is not None
        given.append(report)
        weights.append(sae.W_dec.detach().clone())

    trained = train_one(turns_bad, 8, settings, 1, on_epoch)
    assert [report.epoch for report in given] == [1, 2, 3, 4, 5]
    assert trained.reports == tuple(given)
    assert torch.equal(trained.sae.W_dec, weights[1])
    assert not torch.equal(trained.sae.W_dec, weights[4])


def test_dead_latents_are_counted_by_rows_since_they_fired() -> None:
    _, x = planted(rows=1000, dimension=8, atoms=24, active=2)
    shared = {"expansion_factor": 16, "k": 1, "batch_size": 100, "epochs": 1, "learning_rate": 1e-9}
    for window, last_rows in ((300, 300), (None, 1000)):  # one pass where unset
        trained = train(x, SaeSettings(**shared, dead_after_rows=window))
        *_, last = [batches_of(x, 1000)(1)]
        order = next(last)
        _, latent_ids = trained.initial.encode(order[-last_rows:])
        expected = 1 - len(latent_ids.unique()) / 128
        assert trained.reports[0].dead_fraction == pytest.approx(expected)
        assert 0.05 < expected < 0.95


def test_report_counts_rows_and_active_latents() -> None:
    _, x = planted(rows=1050, dimension=8, atoms=24, active=2)
    report = train(x, SaeSettings(expansion_factor=4, k=3, batch_size=100, epochs=1, learning_rate=1e-9)).reports[0]
    initial = train(x, SaeSettings(expansion_factor=4, k=3, batch_size=100, epochs=1)).initial
    metrics = evaluate_sae(initial, [x])
    assert report.rows == 1050
    assert report.l0 == pytest.approx(metrics.l0, abs=1e-6)
    assert report.fvu == pytest.approx(metrics.fvu, rel=1e-4)
    assert report.seconds > 0


def test_default_learning_rate() -> None:
    assert default_learning_rate(2**14) == pytest.approx(8e-4)
    assert default_learning_rate(2**10) == pytest.approx(3.2e-3)


def test_learning_rate_rises_and_falls() -> None:
    shares = [rate_share(done, 100) for done in range(100)]
    assert shares[:11] == pytest.approx([0.1 * n for n in range(1, 11)] + [1.0])
    assert set(shares[9:81]) == {1.0}
    assert shares[-3:] == pytest.approx([0.15, 0.1, 0.05])
    assert [rate_share(done, 1) for done in range(1)] == [1.0]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.empty(0, 8), "The 0 training"),
        (torch.ones(100, 8), "variance"),
        (torch.full((100, 8), float("nan")), "variance"),
    ],
)
def test_rows_that_cannot_be_learnt_from_are_refused(x: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(x, SaeSettings(expansion_factor=2, k=2))


def test_divergence_is_reported() -> None:
    _, x = planted(rows=1000, dimension=8, atoms=24, active=2)

    def explodes(epoch: int) -> Iterator[torch.Tensor]:
        return iter((x * (float("nan") if epoch == 2 else 1.0)).split(100))

    with pytest.raises(InputError, match=r"diverged in epoch 2.*sae\.learning_rate"):
        train_one(explodes, 8, SaeSettings(expansion_factor=4, k=2))


@pytest.mark.parametrize("corrupt", [1e2, 1e4, 1e25])
def test_one_row_far_out_does_not_decide_the_training(corrupt: float) -> None:
    _, x = planted(rows=4000, dimension=16, atoms=48, active=2)
    settings = SaeSettings(expansion_factor=4, k=2, batch_size=64, epochs=10)
    alone = evaluate_sae(train(x, settings).sae, [x])
    assert alone.rows_beyond_reach == 0
    assert alone.fvu_within_reach == pytest.approx(alone.fvu, rel=1e-9)
    damaged = x.clone()
    damaged[2000] *= corrupt
    trained = train(damaged, settings)
    measured = evaluate_sae(trained.sae, [damaged])
    assert measured.rows_beyond_reach == 1
    assert measured.fvu_within_reach == pytest.approx(alone.fvu, rel=0.1)
    assert trained.reports[-1].fvu == pytest.approx(measured.fvu_within_reach, rel=0.2)


def test_long_passes_bound_the_dead_window() -> None:
    assert training_state.LONGEST_DEAD_WINDOW == 10_000_000


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("variant", ["top_k", "batch_top_k", "matryoshka"])
def test_training_on_cuda_comes_to_what_a_cpu_comes_to(variant: str) -> None:
    _, x = planted(rows=5000, dimension=16, atoms=48, active=2)
    settings = SaeSettings(expansion_factor=4, k=2, batch_size=256, epochs=5, variant=variant)
    fvus = []
    for device in ("cpu", "cuda"):
        (trained,) = train_saes(batches_of(x, 256), 16, [SaeChoice(settings, 1)], device, lambda *_: None)
        fvus.append(trained.reports[-1].fvu)
    assert fvus[0] == pytest.approx(fvus[1], rel=0.02)
