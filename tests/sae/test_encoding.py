from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.sae import encoding
from recsae_lib.sae.encoding import dimension_batches, encode_batches
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import save_sae

DIMENSION, NUM_LATENTS, K = 6, 40, 4


@pytest.fixture
def sae() -> SparseAutoencoder:
    sample = torch.randn(200, DIMENSION, generator=torch.Generator().manual_seed(0)) + 1.0
    sae = SparseAutoencoder.initialise(sample, NUM_LATENTS, K, seed=1)
    with torch.no_grad():
        sae.b_enc -= 1.2  # so that some rows fire fewer than k latents, and some none
    return sae


@pytest.fixture
def folder(sae: SparseAutoencoder, tmp_path: Path) -> str:
    save_sae(sae, tmp_path, {})
    return str(tmp_path)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((2500, DIMENSION)).astype(np.float32) + 1.0


def batch_of(x: np.ndarray) -> pa.RecordBatch:
    lists = pa.array(list(x), type=pa.list_(pa.float32()))
    return pa.RecordBatch.from_arrays(
        [pa.array([f"u{row}" for row in range(len(x))]), lists], ["user_id", "representation"]
    )


def test_batches_carry_what_the_model_and_numpy_compute(sae: SparseAutoencoder, folder: str, x: np.ndarray) -> None:
    (encoded,) = encode_batches(folder)(iter([batch_of(x)]))
    rows = encoded.to_pylist()
    activations, latent_ids = sae.encode(torch.from_numpy(x))
    W_enc, b_enc, b_dec = (p.detach().double().numpy() for p in (sae.W_enc, sae.b_enc, sae.b_dec))
    dense = np.maximum((x - b_dec) @ W_enc.T + b_enc, 0.0)
    lengths = set()
    for row, (values, ids) in enumerate(zip(activations, latent_ids, strict=True)):
        assert rows[row]["user_id"] == f"u{row}"
        assert rows[row]["latent_ids"] == ids[values > 0].tolist()
        np.testing.assert_allclose(rows[row]["activations"], values[values > 0], rtol=1e-5, atol=1e-6)
        expected = [unit for unit in np.argsort(-dense[row], kind="stable")[:K] if dense[row, unit] > 1e-6]
        assert rows[row]["latent_ids"][: len(expected)] == expected
        np.testing.assert_allclose(
            rows[row]["activations"][: len(expected)], dense[row, expected], rtol=1e-4, atol=1e-6
        )
        lengths.add(len(expected))
    assert lengths == {0, 1, 2, 3, 4}


def test_schema_is_that_of_the_table(folder: str, x: np.ndarray) -> None:
    (encoded,) = encode_batches(folder)(iter([batch_of(x[:3])]))
    assert encoded.schema == pa.schema(
        [("user_id", pa.string()), ("latent_ids", pa.list_(pa.int32())), ("activations", pa.list_(pa.float32()))]
    )
    assert encoding.ENCODED_COLUMNS == "user_id string, latent_ids array<int>, activations array<float>"


def test_each_user_is_measured_against_the_mean_of_ordinary_ones(
    sae: SparseAutoencoder, folder: str, x: np.ndarray
) -> None:
    far = x[:100].copy()
    far[3] *= 1e6
    (encoded,) = encode_batches(folder, far)(iter([batch_of(far)]))
    assert encoded.schema.names == ["user_id", "latent_ids", "activations", "fvu", "distance"]
    fvu, distance = (encoded.column(name).to_numpy() for name in ("fvu", "distance"))
    assert np.flatnonzero(distance > 1).tolist() == [3]
    assert distance[3] > 1e4
    ordinary = np.delete(np.arange(100), 3)
    x_hat = sae(torch.from_numpy(far)).detach().double().numpy()
    mean = far[ordinary].mean(0)  # to which the one at the edge of reach adds a hundredth
    expected = np.square(far - x_hat).sum(1) / np.square(far - mean).sum(1)
    np.testing.assert_allclose(fvu[ordinary], expected[ordinary], rtol=0.2)
    assert 0.3 < np.median(fvu) < 1.2


def test_a_user_on_the_mean_has_no_fvu(folder: str) -> None:
    (encoded,) = encode_batches(folder, np.array([GOOD, GOOD], np.float32))(iter([lists([GOOD])]))
    assert encoded.to_pylist()[0]["fvu"] is None
    assert encoded.to_pylist()[0]["distance"] == 0.0


def test_slices_empty_batches_and_chunk_borders_change_nothing(folder: str, x: np.ndarray) -> None:
    encode = encode_batches(folder)
    whole = next(encode(iter([batch_of(x)]))).to_pylist()
    batch = batch_of(x)
    pieces = [batch.slice(0, 0), batch.slice(0, 1024), batch.slice(1024, 1), batch.slice(1025), batch.slice(0, 0)]
    encoded = list(encode(iter(pieces)))
    assert [piece.num_rows for piece in encoded] == [0, 1024, 1, 1475, 0]
    joined = [row for piece in encoded for row in piece.to_pylist()]
    assert [(row["user_id"], row["latent_ids"]) for row in joined] == [
        (row["user_id"], row["latent_ids"]) for row in whole
    ]


def test_weights_load_once_and_again_if_the_folder_is_rewritten(
    sae: SparseAutoencoder, folder: str, x: np.ndarray
) -> None:
    encode = encode_batches(folder)
    before = next(encode(iter([batch_of(x[:50])]))).to_pylist()
    loads = encoding._worker_sae.cache_info().misses
    next(encode(iter([batch_of(x[:50])])))
    assert encoding._worker_sae.cache_info().misses == loads
    with torch.no_grad():
        sae.W_enc.mul_(2.0)
    save_sae(sae, folder, {})
    assert next(encode(iter([batch_of(x[:50])]))).to_pylist() != before


def lists(values: list[object], value_type: pa.DataType | None = None) -> pa.RecordBatch:
    array = pa.array(values, type=pa.list_(value_type or pa.float32()))
    return pa.RecordBatch.from_arrays([pa.array(["u"] * len(values)), array], ["user_id", "representation"])


GOOD = [0.5] * DIMENSION


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (lists([[0.5] * 5, [0.5] * 5]), "they hold 5 to 5 numbers, the SAE takes 6"),
        (lists([[0.5] * 5, [0.5] * 7]), "5 to 7"),  # as many numbers as two good rows have
        (lists([GOOD, None]), "null"),
        (lists([GOOD, [*GOOD[:5], None]]), "null"),
        (lists([GOOD, [*GOOD[:5], float("nan")]]), "NaN"),
        (lists([GOOD, [*GOOD[:5], float("inf")]]), "NaN"),
        (lists([GOOD], pa.float64()), r"list<float>"),
    ],
)
def test_representations_that_do_not_fit_are_refused(folder: str, batch: pa.RecordBatch, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(encode_batches(folder)(iter([batch])))
    with pytest.raises(InputError, match=message):
        list(dimension_batches(GOOD, GOOD, K)(iter([batch])))


def test_raw_dimensions_are_units_one_for_each_sign() -> None:
    mean, deviation = [1.0, 0.0, -2.0, 5.0], [2.0, 0.5, 1.0, 0.0]
    x = np.array([[5.0, -0.25, -2.0, 9.0], [1.0, 2.0, -5.0, 5.0], [1.0, 0.0, -2.0, 0.0], [3.0, 0.5, -1.0, 5.0]])
    (encoded,) = dimension_batches(mean, deviation, k=2)(iter([lists(x.tolist())]))
    assert encoded.column(1).to_pylist() == [[0, 3], [2, 5], [], [0, 2]]  # in the last row three tie
    assert encoded.column(2).to_pylist() == [[2.0, 0.5], [4.0, 3.0], [], [1.0, 1.0]]
    assert encoded.schema.names == ["user_id", "latent_ids", "activations"]


def test_more_units_asked_for_than_there_are() -> None:
    (encoded,) = dimension_batches([0.0, 0.0], [1.0, 1.0], k=8)(iter([lists([[1.0, -3.0]])]))
    assert encoded.column(1).to_pylist() == [[3, 0]]
