"""The dictionaries beside a stored SAE: found by their names on disk, also where an earlier release wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.sae.baselines import compared_with
from recsae_lib.sae.dictionaries import dictionaries_of, dictionary_folder, figures_of, write_dictionaries
from recsae_lib.sae.evaluation import fvu_of_rows
from recsae_lib.sae.model import SparseAutoencoder
from recsae_lib.sae.store import load_sae, save_sae

NAMES = [
    "sae-1",
    *(f"{kind}-{number}" for kind in ("untrained", "untrained_fitted") for number in (1, 2, 3)),
    *(f"{kind}-{number}" for kind in ("cluster", "random_user") for number in (1, 2, 3)),
    "dimension-1",
]
ROWS = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))


def sae(seed: int) -> SparseAutoencoder:
    return SparseAutoencoder.initialise(ROWS, 8, 2, seed)


def fvu(of: SparseAutoencoder) -> dict[str, float]:
    return {"fvu": fvu_of_rows(of, ROWS)}


def write(folder: Path) -> None:
    save_sae(sae(seed=5), folder, {})
    write_dictionaries(folder, sae(seed=5), compared_with([sae(seed=9)], sae(seed=1), ROWS, seed=1), {}, fvu)


def test_what_was_written_is_listed_and_can_be_loaded(tmp_path: Path) -> None:
    write(tmp_path)
    found = dictionaries_of(tmp_path)
    assert [f"{one.kind}-{one.number}" for one in found] == NAMES
    assert [one.folder for one in found] == [tmp_path / "dictionaries" / name for name in NAMES]
    figures = figures_of(tmp_path)
    assert list(figures) == [(UnitKind.SAE, 0), *((one.kind, one.number) for one in found)]
    for one in found:
        assert fvu(load_sae(one.folder)) == figures[one.kind, one.number]
    assert figures[UnitKind.SAE, 0] == fvu(sae(seed=5))
    assert torch.equal(load_sae(dictionary_folder(tmp_path, UnitKind.SAE, 1)).W_dec, sae(seed=9).W_dec)


def test_written_again_the_bytes_are_the_same(tmp_path: Path) -> None:
    for name in ("first", "again"):
        write(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(files) == 2 * 15 + 1
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_an_earlier_version_has_its_first_untrained_one(tmp_path: Path) -> None:
    save_sae(sae(seed=5), tmp_path, {})
    assert dictionaries_of(tmp_path) == []
    save_sae(sae(seed=1), tmp_path / "initial", {"initial": True})
    (only,) = dictionaries_of(tmp_path)
    assert (only.kind, only.number) == (UnitKind.UNTRAINED, 1)
    assert torch.equal(load_sae(only.folder).W_dec, sae(seed=1).W_dec)
    assert figures_of(tmp_path) == {}
    with pytest.raises(InputError, match="has no dictionary untrained-2"):
        dictionary_folder(tmp_path, UnitKind.UNTRAINED, 2)


def test_names_that_nobody_knows_are_left_alone(tmp_path: Path) -> None:
    unknown = ("probe-1", "sae-0", "sae-01", "sae-x", "sae", "shuffled-1", "sae-1.unfinished", "recommender-1")
    for name in (*unknown, "cluster-10", "cluster-2"):
        (tmp_path / "dictionaries" / name).mkdir(parents=True)
    (tmp_path / "dictionaries" / "figures.json").write_text('{"probe-1": {"fvu": 1.0}, "cluster-2": {"fvu": 0.5}}')
    assert [(one.kind, one.number) for one in dictionaries_of(tmp_path)] == [("cluster", 2), ("cluster", 10)]
    assert figures_of(tmp_path) == {(UnitKind.CLUSTER, 2): {"fvu": 0.5}}


@pytest.mark.parametrize("content", ["{", "[]", '{"sae-0": 1}', '{"sae-0": {"fvu": "low"}}', '{"sae-0": {"fvu": {}}}'])
def test_damaged_figures_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "dictionaries").mkdir()
    (tmp_path / "dictionaries" / "figures.json").write_text(content)
    with pytest.raises(InputError, match="is no table of figures"):
        figures_of(tmp_path)
