from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from recsae_lib.errors import InputError
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae, save_sae, weights_digest


@pytest.fixture
def sae() -> SparseAutoencoder:
    sample = torch.randn(100, 6, generator=torch.Generator().manual_seed(0))
    sae = SparseAutoencoder.initialise(sample, num_latents=24, k=3, seed=1)
    sae.threshold = 0.125
    return sae


@pytest.fixture
def folder(sae: SparseAutoencoder, tmp_path: Path) -> Path:
    save_sae(sae, tmp_path / "sae", {"recommender_version": 3, "site": "last"})
    return tmp_path / "sae"


def describe(folder: Path, **changes: object) -> None:
    description = json.loads((folder / "sae.json").read_text())
    (folder / "sae.json").write_text(json.dumps({**description, **changes}))


def replace_weights(folder: Path, **changes: torch.Tensor) -> None:
    """Other weights under a digest that fits them: only the checks of the contents stand in the way."""
    weights = {**load_file(folder / "weights.safetensors"), **changes}
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "weights.safetensors")
    describe(folder, weights_sha256=hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest())


def test_saved_and_loaded_sae_is_the_same_to_the_last_bit(sae: SparseAutoencoder, folder: Path) -> None:
    loaded = load_sae(folder)
    assert (loaded.num_latents, loaded.dimension, loaded.k, loaded.threshold) == (24, 6, 3, 0.125)
    for name, tensor in sae.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])
    description = json.loads((folder / "sae.json").read_text())
    assert description["metadata"] == {"recommender_version": 3, "site": "last"}
    assert sorted(path.name for path in folder.iterdir()) == ["sae.json", "weights.safetensors"]


def test_a_folder_of_before_batch_top_k_has_no_threshold(folder: Path) -> None:
    description = json.loads((folder / "sae.json").read_text())
    del description["threshold"]
    (folder / "sae.json").write_text(json.dumps({**description, "format_version": 1}))
    assert load_sae(folder).threshold == 0.0


def test_what_a_newer_release_has_added_is_left_alone(folder: Path) -> None:
    describe(folder, trained_by="recsae 0.9")
    assert load_sae(folder).threshold == 0.125


def test_digest_identifies_the_weights(sae: SparseAutoencoder, folder: Path, tmp_path: Path) -> None:
    save_sae(sae, tmp_path / "again", {"recommender_version": 4})
    assert weights_digest(tmp_path / "again") == weights_digest(folder)
    save_sae(sae.scaled(2.0), tmp_path / "other", {})
    assert weights_digest(tmp_path / "other") != weights_digest(folder)


def test_saving_again_replaces_and_leaves_a_loaded_sae_alone(sae: SparseAutoencoder, folder: Path) -> None:
    loaded = load_sae(folder)
    before = loaded.b_dec.detach().clone()
    save_sae(sae.scaled(3.0), folder, {})
    assert torch.equal(loaded.b_dec, before)
    torch.testing.assert_close(load_sae(folder).b_dec.detach(), 3.0 * before)


def test_subfolder_of_the_baseline_is_independent(sae: SparseAutoencoder, folder: Path) -> None:
    save_sae(sae.scaled(2.0), folder / "below", {})
    assert torch.equal(load_sae(folder).b_dec, sae.b_dec)
    torch.testing.assert_close(load_sae(folder / "below").b_dec, 2.0 * sae.b_dec)


def test_rows_of_other_norms_are_read_where_the_folder_says_so(sae: SparseAutoencoder, folder: Path) -> None:
    with torch.no_grad():
        sae.W_dec.mul_(3.0)
    save_sae(sae, folder, {}, unit_rows=False)
    assert torch.equal(load_sae(folder).W_dec, sae.W_dec)
    assert json.loads((folder / "sae.json").read_text())["format_version"] == 2
    describe(folder, unit_rows=True)
    with pytest.raises(InputError, match="unit norm"):
        load_sae(folder)


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


def truncate(folder: Path) -> None:
    content = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(content[:-100])


def no_safetensors(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(b"\x80\x04cos\nsystem\n.")
    describe(folder, weights_sha256=hashlib.sha256(b"\x80\x04cos\nsystem\n.").hexdigest())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "does not match the digest"),
        (truncate, "does not match the digest"),
        (no_safetensors, "cannot be read"),
        (lambda folder: (folder / "weights.safetensors").unlink(), "weights.safetensors cannot be read"),
        (lambda folder: (folder / "sae.json").unlink(), "sae.json cannot be read"),
        (lambda folder: (folder / "sae.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "sae.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda folder: (folder / "sae.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
        (lambda folder: (folder / "sae.json").write_text("[]"), "format version"),
        (lambda folder: describe(folder, format_version=3), "format version"),
        (lambda folder: describe(folder, k=0), "impossible sizes"),
        (lambda folder: describe(folder, threshold=-1.0), "impossible threshold"),
        (lambda folder: describe(folder, threshold="low"), "impossible threshold"),
        (lambda folder: describe(folder, k=25), "impossible sizes"),
        (lambda folder: describe(folder, k=True), "impossible sizes"),
        (lambda folder: describe(folder, num_latents="24"), "impossible sizes"),
        (lambda folder: describe(folder, weights_sha256=None), "weights_sha256"),
        (lambda folder: describe(folder, num_latents=23), "the shapes"),
        (lambda folder: describe(folder, dimension=7), "the shapes"),
        (lambda folder: replace_weights(folder, b_enc=torch.zeros(23)), "the shapes"),
        (lambda folder: replace_weights(folder, surplus=torch.zeros(2)), "the shapes"),
        (lambda folder: replace_weights(folder, b_enc=torch.full((24,), float("nan"))), "b_enc is not finite"),
        (lambda folder: replace_weights(folder, W_enc=torch.full((24, 6), float("inf"))), "W_enc is not finite"),
        (lambda folder: replace_weights(folder, b_dec=torch.zeros(6, dtype=torch.float64)), "float32"),
        (lambda folder: replace_weights(folder, W_dec=torch.ones(24, 6)), "unit norm"),
    ],
)
def test_damaged_folder_is_refused(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_sae(folder)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no intact sparse autoencoder"):
        weights_digest(tmp_path / "nowhere")
