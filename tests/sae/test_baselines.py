"""Dictionaries that nobody trained: what they fire for, and that their decoders are the best for it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae import decoder_fit
from recsae_lib.sae.baselines import along, baselines, dimensions, user_directions
from recsae_lib.sae.clusters import cluster_directions
from recsae_lib.sae.decoder_fit import with_fitted_decoder
from recsae_lib.sae.encoding import dimension_batches
from recsae_lib.sae.evaluation import evaluate_sae
from recsae_lib.sae.model import SparseAutoencoder

LATENTS, K, DIMENSION = 24, 3, 8


@pytest.fixture
def rows() -> torch.Tensor:
    """Rows around six far centres, off the origin."""
    random = torch.Generator().manual_seed(0)
    centres = 5 * torch.randn(6, DIMENSION, generator=random)
    return centres.repeat(100, 1) + torch.randn(600, DIMENSION, generator=random) + 3.0


@pytest.fixture
def initial(rows: torch.Tensor) -> SparseAutoencoder:
    return SparseAutoencoder.initialise(rows, LATENTS, K, seed=7)


def dense_codes(sae: SparseAutoencoder, rows: torch.Tensor) -> np.ndarray:
    """z of the formula, without our kernels: (n, M) float64."""
    a = np.maximum((rows - sae.b_dec).double().numpy(force=True) @ sae.W_enc.double().numpy(force=True).T, 0)
    smallest = np.sort(a, axis=1)[:, [-sae.k]]
    return np.where(a >= smallest, a, 0.0)


@pytest.mark.parametrize("dense_latents", [4096, 0], ids=["exactly", "by_conjugate_gradients"])
def test_the_fitted_decoder_is_that_of_least_squares(
    dense_latents: int, rows: torch.Tensor, initial: SparseAutoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_fit, "DENSE_LATENTS", dense_latents)
    fitted = with_fitted_decoder(initial, rows)
    centred = (rows - initial.b_dec).double().numpy(force=True)
    codes = dense_codes(initial, rows)
    fires = (codes > 0).any(0)
    expected = np.zeros((LATENTS, DIMENSION))
    expected[fires] = np.linalg.lstsq(codes[:, fires], centred, rcond=None)[0]
    np.testing.assert_allclose(fitted.W_dec.numpy(force=True), expected, rtol=0, atol=2e-3)


def test_a_fitted_decoder_reconstructs_better_than_its_own(rows: torch.Tensor, initial: SparseAutoencoder) -> None:
    own, fitted = (evaluate_sae(sae, [rows]).fvu for sae in (initial, with_fitted_decoder(initial, rows)))
    assert fitted < 0.8 * own


def test_fitting_the_decoder_leaves_the_activations_alone(rows: torch.Tensor, initial: SparseAutoencoder) -> None:
    made = {(kind, number): sae for kind, number, sae in baselines(initial, rows, seed=7)}
    for number in (1, 2, 3):
        untrained, fitted = (made[kind, number] for kind in (UnitKind.UNTRAINED, UnitKind.UNTRAINED_FITTED))
        for ours, theirs in zip(fitted.encode(rows), untrained.encode(rows), strict=True):
            assert torch.equal(ours, theirs)
        assert not torch.allclose(fitted.W_dec, untrained.W_dec, atol=0.1)
    assert torch.equal(made[UnitKind.UNTRAINED, 1].W_enc, initial.W_enc)
    assert not torch.equal(made[UnitKind.UNTRAINED, 2].W_enc, made[UnitKind.UNTRAINED, 3].W_enc)


def test_there_are_three_seeds_of_each_kind_of_the_same_size(rows: torch.Tensor, initial: SparseAutoencoder) -> None:
    first, again = (list(baselines(initial, rows, seed=7)) for _ in range(2))
    drawn = ("untrained", "untrained_fitted", "cluster", "random_user")
    keys = sorted((kind.value, number) for kind, number, _ in first)
    assert keys == sorted([*((kind, number) for kind in drawn for number in (1, 2, 3)), ("dimension", 1)])
    for (kind, _, sae), (_, _, same) in zip(first, again, strict=True):
        latents = 2 * DIMENSION if kind == UnitKind.DIMENSION else LATENTS
        assert (sae.num_latents, sae.k, sae.threshold) == (latents, K, 0.0)
        for name, weights in sae.state_dict().items():
            assert torch.equal(weights, same.state_dict()[name]), (kind, name)


def test_dimensions_fire_as_dimension_batches_says() -> None:
    random = np.random.default_rng(3)
    x = (random.standard_normal((200, 5)) * [1.0, 10.0, 0.1, 0.0, 3.0] + 4.0).astype(np.float32)
    mean, deviation = x.mean(0), x.std(0)
    deviation[3] = 0.0
    sae = dimensions(torch.from_numpy(mean), torch.from_numpy(deviation), 3)
    activations, latent_ids = sae.encode(torch.from_numpy(x))
    column = pa.array(x.tolist(), pa.list_(pa.float32()))
    batch = pa.RecordBatch.from_arrays([pa.array([str(n) for n in range(200)]), column], ["user_id", "representation"])
    (encoded,) = dimension_batches(mean.tolist(), deviation.tolist(), 3)(iter([batch]))
    active = activations > 0
    assert [ids[on].tolist() for ids, on in zip(latent_ids, active, strict=True)] == encoded["latent_ids"].to_pylist()
    ours = [values[on].tolist() for values, on in zip(activations, active, strict=True)]
    assert ours == encoded["activations"].to_pylist()
    assert not {6, 7} & set(latent_ids[active].tolist())


def test_all_dimensions_together_give_x_back(rows: torch.Tensor) -> None:
    sae = dimensions(rows.mean(0), rows.std(0), k=100)
    assert sae.k == 2 * DIMENSION
    torch.testing.assert_close(sae(rows).detach(), rows, rtol=1e-5, atol=1e-4)


def test_cluster_directions_point_at_planted_centres(rows: torch.Tensor) -> None:
    planted = F.normalize(rows.view(100, 6, DIMENSION).mean(0) - rows.mean(0))
    for seed in (1, 2, 3):
        found = cluster_directions(rows, 6, seed)
        assert ((planted @ found.T).max(1).values > 0.99).all()


def test_random_users_are_unit_directions_of_rows(rows: torch.Tensor) -> None:
    away = F.normalize(rows - rows.mean(0))
    drawn = user_directions(rows, 10, seed=1)
    cosines, which = (drawn @ away.T).max(1)
    torch.testing.assert_close(cosines, torch.ones(10))
    assert len(which.unique()) == 10
    assert not torch.equal(drawn, user_directions(rows, 10, seed=2))


def test_fewer_rows_than_latents_leave_some_that_never_fire(rows: torch.Tensor) -> None:
    few = rows[:5]
    for directions in (user_directions(few, 8, seed=1), cluster_directions(few, 8, seed=1)):
        sae = along(directions, few, k=8)
        _, latent_ids = sae.encode(few)
        assert (sae.num_latents, (directions == 0).all(1).sum()) == (8, 3)
        assert latent_ids.max() < 5
        assert not sae.W_dec[5:].any()
