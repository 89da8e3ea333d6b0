from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsae_lib.config import SasrecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import load_recommender, read_description, save_recommender, weights_digest
from recsae_lib.recommenders.vocabulary import write_vocabulary

SETTINGS = SasrecSettings(layers=2, heads=2, history_length=5, inner_dimension=3)
HISTORIES = Histories(np.array([1, 0]), np.array([0, 2, 9]), np.array([3, 1, 0, 1, 2, 3, 0, 1, 2]))
SPLIT = Split(1_000, 2_000)
ITEMS = ["i0", "i1", "i2", "i3"]


def sasrec() -> Sasrec:
    torch.manual_seed(0)
    return Sasrec(4, 6, SETTINGS)


def saved(folder: Path, model: Sasrec | BprMf, items: list[str] = ITEMS, users: tuple[str, ...] = ()) -> Path:
    folder.mkdir()
    write_vocabulary(folder, "item", [pa.array(items)])
    if users:
        write_vocabulary(folder, "user", [pa.array(users)])
    save_recommender(model, SPLIT, folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(tmp_path / "model", sasrec())


def describe(folder: Path, **changes: object) -> None:
    description = json.loads((folder / "recommender.json").read_text())
    (folder / "recommender.json").write_text(json.dumps({**description, **changes}))


def change(folder: Path, section: str, **changes: object) -> None:
    values = {**json.loads((folder / "recommender.json").read_text())[section], **changes}
    describe(folder, **{section: {name: value for name, value in values.items() if value is not None}})


def state_digest(folder: Path, file: str) -> None:
    """A digest that fits the file: only the checks of the contents stand in the way."""
    change(folder, "sha256", **{file: hashlib.sha256((folder / file).read_bytes()).hexdigest()})


def replace_weights(folder: Path, **changes: torch.Tensor) -> None:
    weights = {**load_file(folder / "weights.safetensors"), **changes}
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / "weights.safetensors")
    state_digest(folder, "weights.safetensors")


def replace(folder: Path, file: str, content: bytes) -> None:
    (folder / file).write_bytes(content)
    state_digest(folder, file)


def other_vocabulary(folder: Path, ids: list[str]) -> None:
    write_vocabulary(folder, "item", [pa.array(ids)])
    state_digest(folder, "items.parquet")


def test_a_loaded_sasrec_is_the_saved_one_to_the_last_bit(folder: Path) -> None:
    model, loaded = sasrec(), load_recommender(folder)
    assert isinstance(loaded, Sasrec)
    assert (loaded.kind, loaded.item_count, loaded.dimension, loaded.history_length) == ("sasrec", 4, 6, 5)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    x, expected = (m.represent(m.build_inputs(HISTORIES)) for m in (loaded, model))
    assert torch.equal(x, expected)
    assert torch.equal(loaded.score(x), model.score(x))
    assert sorted(path.name for path in folder.iterdir()) == [
        "items.parquet",
        "recommender.json",
        "weights.safetensors",
    ]
    assert not read_description(folder).reads_user_index
    assert read_description(folder).split == SPLIT


def test_a_loaded_bpr_mf_is_the_saved_one_to_the_last_bit(tmp_path: Path) -> None:
    model = BprMf(2, 4, 6)
    folder = saved(tmp_path / "bpr", model, users=("a", "b"))
    loaded = load_recommender(folder)
    assert isinstance(loaded, BprMf)
    assert torch.equal(loaded.represent(loaded.build_inputs(HISTORIES)), model.users.weight[[1, 0]])
    assert torch.equal(loaded.item_embeddings(), model.item_embeddings())
    assert read_description(folder).reads_user_index
    (folder / "users.parquet").unlink()
    with pytest.raises(InputError, match=r"users\.parquet cannot be read"):
        load_recommender(folder)


def test_the_digest_is_of_weights_architecture_and_vocabulary(folder: Path, tmp_path: Path) -> None:
    assert weights_digest(saved(tmp_path / "again", sasrec())) == weights_digest(folder)
    moved = sasrec()
    with torch.no_grad():
        moved.norm.bias[0] += 1e-6
    other_heads = Sasrec(4, 6, SETTINGS.model_copy(update={"heads": 3}))
    other_heads.load_state_dict(sasrec().state_dict())
    digests = {
        weights_digest(folder),
        weights_digest(saved(tmp_path / "moved", moved)),
        weights_digest(saved(tmp_path / "heads", other_heads)),
        weights_digest(saved(tmp_path / "items", sasrec(), ["i0", "i1", "i2", "i4"])),
    }
    assert len(digests) == 4
    only_trained_otherwise = Sasrec(4, 6, SETTINGS.model_copy(update={"dropout": 0.1, "epochs": 3}))
    only_trained_otherwise.load_state_dict(sasrec().state_dict())
    assert weights_digest(saved(tmp_path / "dropout", only_trained_otherwise)) in digests


def test_saving_again_leaves_a_loaded_recommender_alone(folder: Path) -> None:
    loaded = load_recommender(folder)
    before = loaded.item_embeddings().clone()
    other = sasrec()
    with torch.no_grad():
        other.items.weight.mul_(2.0)
    save_recommender(other, SPLIT, folder)
    assert torch.equal(loaded.item_embeddings(), before)
    assert torch.equal(load_recommender(folder).item_embeddings(), 2.0 * before)


def test_weights_that_are_not_finite_are_not_saved(folder: Path) -> None:
    model = sasrec()
    with torch.no_grad():
        model.items.weight[2, 1] = torch.nan
    with pytest.raises(InputError, match=r"items\.weight is not finite"):
        save_recommender(model, SPLIT, folder)


def test_a_model_is_not_saved_beside_the_vocabulary_of_another(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 2 rows, the model knows 4 items"):
        saved(tmp_path / "few", sasrec(), ["a", "b"])
    with pytest.raises(InputError, match=r"users\.parquet"):
        saved(tmp_path / "no-users", BprMf(2, 4, 6))


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "weights.safetensors").write_bytes(content)


PICKLE = b"\x80\x04cos\nsystem\n."


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "weights.safetensors does not match the digest"),
        (lambda f: (f / "weights.safetensors").write_bytes(b""), "does not match the digest"),
        (lambda f: (f / "weights.safetensors").unlink(), "weights.safetensors cannot be read"),
        (lambda f: replace(f, "weights.safetensors", PICKLE), "weights.safetensors cannot be read"),
        (lambda f: (f / "items.parquet").unlink(), "items.parquet cannot be read"),
        (lambda f: write_vocabulary(f, "item", [pa.array(["a", "b", "c", "d"])]), "does not match the digest"),
        (lambda f: replace(f, "items.parquet", PICKLE), "no intact Parquet"),
        (lambda f: other_vocabulary(f, ["i0", "i1"]), "has 2 rows"),
        (lambda f: other_vocabulary(f, ["i3", "i2", "i1", "i0"]), "ids do not rise"),
        (lambda f: (f / "recommender.json").unlink(), "recommender.json cannot be read"),
        (lambda f: (f / "recommender.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "recommender.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "recommender.json").write_bytes(b"\xff\xfe\x00"), "not valid JSON"),
        (lambda f: (f / "recommender.json").write_text("[]"), "format version"),
        (lambda f: describe(f, format_version=1), "format version"),
        (lambda f: describe(f, kind="os.system"), "unknown kind"),
        (lambda f: describe(f, kind=["sasrec"]), "unknown kind"),
        (lambda f: describe(f, kind="bpr_mf"), "does not state the sizes"),
        (lambda f: describe(f, sizes=None), "does not state the sizes"),
        (lambda f: change(f, "sizes", item_count=0), "impossible sizes"),
        (lambda f: change(f, "sizes", item_count=2**31), "impossible sizes"),
        (lambda f: change(f, "sizes", dimension=True), "impossible sizes"),
        (lambda f: change(f, "sizes", dimension="6"), "impossible sizes"),
        (lambda f: change(f, "sizes", item_count=5), "the shapes"),
        (lambda f: change(f, "sizes", dimension=8), "the shapes"),
        (lambda f: describe(f, kind="module"), "does not state the settings factory"),
        (lambda f: describe(f, kind="external"), "does not state the settings representations"),
        (lambda f: describe(f, settings=None), "does not state the settings"),
        (lambda f: change(f, "settings", dropout=0.5), "does not state the settings"),
        (lambda f: change(f, "settings", layers=10**9), "impossible settings"),
        (lambda f: change(f, "settings", layers="2"), "impossible settings"),
        (lambda f: change(f, "settings", heads=5), "impossible settings"),
        (lambda f: change(f, "settings", layers=3), "the shapes"),
        (lambda f: change(f, "sha256", **{"../../etc/passwd": "0"}), "does not state the sha256"),
        (lambda f: change(f, "sha256", **{"items.parquet": None}), "does not state the sha256"),
        (lambda f: replace_weights(f, surplus=torch.zeros(2)), "the shapes"),
        (lambda f: replace_weights(f, **{"norm.bias": torch.full((6,), torch.nan)}), "norm.bias is not finite"),
        (lambda f: replace_weights(f, **{"norm.bias": torch.zeros(6, dtype=torch.float64)}), "float32"),
    ],
)
def test_a_damaged_folder_is_refused(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_recommender(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    for read in (weights_digest, read_description, load_recommender):
        with pytest.raises(InputError, match="holds no intact recommender"):
            read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"dev_from": 3, "until": 4}}, "impossible split"),
        ({"split": None}, "impossible split"),
        ({"settings": None}, "states no settings"),
    ],
)
def test_a_damaged_description_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    describe(folder, **changes)
    with pytest.raises(InputError, match=message):
        read_description(folder)
