from __future__ import annotations

import numpy as np
import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.sae.evaluation import evaluate_sae, fvu_of_rows
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.moments import RunningMoments


def silent_sae(b_dec: torch.Tensor, num_latents: int = 4) -> SparseAutoencoder:
    """No latent ever fires, so x̂ = b_dec."""
    directions = torch.eye(num_latents, len(b_dec))
    return SparseAutoencoder(directions, torch.full((num_latents,), -1e6), directions.clone(), b_dec, 2)


def test_mean_predictor_has_an_fvu_of_exactly_one() -> None:
    x = torch.tensor([[1.0, 2.0, -3.0, 0.5], [3.0, 6.0, 1.0, 1.5], [2.0, -2.0, 5.0, 4.0], [-2.0, 2.0, 1.0, 2.0]])
    metrics = evaluate_sae(silent_sae(x.mean(0)), x.split(3))
    assert metrics.fvu == 1.0
    assert (metrics.alive, metrics.dead_fraction, metrics.l0, metrics.rows) == (0, 1.0, 0.0, 4)
    assert np.isnan(metrics.shrinkage)


def test_perfect_reconstruction_has_an_fvu_of_zero() -> None:
    identity = torch.cat([torch.eye(3), -torch.eye(3)])
    sae = SparseAutoencoder(identity, torch.zeros(6), identity.clone(), torch.zeros(3), 3)
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    metrics = evaluate_sae(sae, x.split(7))
    assert metrics.fvu == 0.0
    assert metrics.mean_cosine == pytest.approx(1.0, abs=1e-6)
    assert metrics.l0 == 3.0
    assert metrics.dead_fraction == 0.0


def test_set_metrics_match_numpy_and_do_not_depend_on_batches() -> None:
    random = torch.Generator().manual_seed(1)
    x = torch.randn(501, 8, generator=random) + 100.0
    sae = SparseAutoencoder.initialise(x, 64, 2, seed=3)
    whole, streamed = evaluate_sae(sae, [x]), evaluate_sae(sae, x.split(13))
    exact, exact_hat = x.double().numpy(), sae(x).detach().double().numpy()
    fvu = np.square(exact - exact_hat).sum() / np.square(exact - exact.mean(0)).sum()
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(exact_hat, axis=1)
    for metrics in (whole, streamed):
        assert metrics.fvu == pytest.approx(fvu, rel=1e-5)
        assert metrics.mean_cosine == pytest.approx(((exact * exact_hat).sum(1) / norms).mean(), rel=1e-6)
    centred, centred_hat = exact - sae.b_dec.detach().numpy(), exact_hat - sae.b_dec.detach().numpy()
    # The factor that would bring x̂ nearest to x is its inverse.
    best, *_ = np.linalg.lstsq(centred_hat.reshape(-1, 1), centred.reshape(-1), rcond=None)
    assert whole.shrinkage == pytest.approx(1 / best[0], rel=1e-5)
    assert 0.2 < whole.shrinkage < 5
    activations, latent_ids = sae.encode(x)
    counts = np.bincount(latent_ids[activations > 0].numpy(), minlength=64)
    np.testing.assert_allclose(whole.densities, counts / 501)
    np.testing.assert_array_equal(whole.densities, streamed.densities)
    assert whole.alive == len(latent_ids[activations > 0].unique())
    assert whole.dead_fraction == 1 - whole.alive / 64
    assert whole.l0 == (activations > 0).sum().item() / 501


def keeping(dimensions: int, of: int) -> SparseAutoencoder:
    """Reconstructs the first dimensions, and gives 0 for the others."""
    directions = torch.cat([torch.eye(of)[:dimensions], -torch.eye(of)[:dimensions]])
    return SparseAutoencoder(directions, torch.zeros(2 * dimensions), directions.clone(), torch.zeros(of), dimensions)


def test_one_corrupt_row_does_not_hide_all_others() -> None:
    x = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    x[:, 0] = 0.0
    x[7] = 0.0
    x[7, 0] = 1e5  # reconstructed to the bit, while of all others nothing is
    metrics = evaluate_sae(keeping(1, 8), x.split(64))
    assert metrics.fvu < 1e-4
    assert metrics.rows_beyond_reach == 1
    assert metrics.fvu_within_reach == pytest.approx(1.0, abs=1e-3)
    assert metrics.by_name()["fvu_within_reach"] == metrics.fvu_within_reach
    assert metrics.by_name()["rows_beyond_reach"] == 1


def test_one_wide_dimension_does_not_hide_all_others() -> None:
    x = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0))
    x[:, 0] *= 1e3
    metrics = evaluate_sae(keeping(1, 8), x.split(64))
    assert metrics.fvu < 1e-4
    assert metrics.fvu_within_reach < 1e-4
    assert metrics.fvu_by_dimension == pytest.approx(7 / 8, abs=1e-3)
    x[:, 3] = 5.0  # does not count
    assert evaluate_sae(keeping(1, 8), x.split(64)).fvu_by_dimension == pytest.approx(6 / 7, abs=1e-3)


@pytest.mark.parametrize("x", [torch.empty(0, 4), torch.ones(9, 4)])
def test_sets_without_variance_are_refused(x: torch.Tensor) -> None:
    with pytest.raises(InputError, match="no variance"):
        evaluate_sae(silent_sae(torch.zeros(4)), x.split(3))


def test_moments_stay_exact_far_from_the_origin() -> None:
    x = torch.randn(10_000, 5, generator=torch.Generator().manual_seed(2)) + 10_000.0
    moments = RunningMoments(5)
    for batch in (*x.split(37), x[:0]):
        moments.add(batch)
    exact = x.double().numpy()
    assert moments.rows == 10_000
    np.testing.assert_allclose(moments.mean.numpy(), exact.mean(0), rtol=1e-13)
    assert moments.squared_deviations == pytest.approx(np.square(exact - exact.mean(0)).sum(), rel=1e-10)


def test_fvu_of_rows_is_that_of_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(3)) + 5.0
    sae = SparseAutoencoder.initialise(x, 24, 2, seed=3)
    monkeypatch.setattr("recsae_lib.sae.evaluation.BLOCK_ROWS", 200)
    assert fvu_of_rows(sae, x) == pytest.approx(evaluate_sae(sae, x.split(64)).fvu, rel=1e-6)
