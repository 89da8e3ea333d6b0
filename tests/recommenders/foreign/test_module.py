from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from recsae_lib.config import ModuleSettings, load_settings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.module import (
    ModuleRecommender,
    forward_arguments,
    unregistered_module,
)
from recsae_lib.recommenders.probing import inspect_sites
from recsae_lib.recommenders.protocol import Histories
from recsae_lib.recommenders.split import Split
from recsae_lib.recommenders.store import load_recommender, read_description, save_recommender, weights_digest
from recsae_lib.recommenders.vocabulary import write_vocabulary
from tests.foreign_ranker import build_factors, build_ranker

RANKER, FACTORS = "tests.foreign_ranker:build_ranker", "tests.foreign_ranker:build_factors"
HISTORIES = Histories(np.array([1, 0]), np.array([0, 2, 9]), np.array([2, 1, 0, 1, 2, 0, 0, 1, 2]))


def settings_of(**changes: object) -> ModuleSettings:
    base = {"factory": RANKER, "arguments": {"rows": 5}, "history_length": 6, "item_embeddings": "items.weight"}
    return ModuleSettings.model_validate({**base, **changes})


def factors_settings(**changes: object) -> ModuleSettings:
    return settings_of(
        factory=FACTORS, arguments={"users": 4, "rows": 5}, scorer="module", item_embeddings=None, **changes
    )


def ranker(rows: tuple[int, ...] = (3, 1, 4)) -> ModuleRecommender:
    return ModuleRecommender.of(settings_of(), torch.tensor(rows), None)


def factors() -> ModuleRecommender:
    return ModuleRecommender.of(factors_settings(), torch.tensor([3, 1, 4]), torch.tensor([2, 0]))


def saved(folder: Path, model: ModuleRecommender) -> Path:
    folder.mkdir()
    write_vocabulary(folder, "item", [pa.array(["a", "b", "c"])])
    if model.reads_user_index:
        write_vocabulary(folder, "user", [pa.array(["u0", "u1"])])
    save_recommender(model, Split(), folder)
    return folder


@pytest.mark.parametrize("rows", [(3, 1, 4), (1, 2, 3)], ids=["scattered rows", "consecutive rows"])
def test_items_are_scored_by_their_own_rows(rows: tuple[int, ...]) -> None:
    model = ranker(rows)
    assert (model.dimension, model.item_count, model.reads_user_index, model.history_length) == (8, 3, False, 6)
    x = model.represent(model.build_inputs(HISTORIES))
    vectors = build_ranker(5).items.weight[list(rows)].detach()
    torch.testing.assert_close(model.score(x), x @ vectors.T)
    assert torch.equal(model.item_embeddings(), vectors)


def test_a_module_may_look_users_up_and_score_itself() -> None:
    model = factors()
    assert (model.reads_user_index, model.history_length) == (True, None)
    x = model.represent(model.build_inputs(HISTORIES))
    network = build_factors(4, 5)
    assert torch.equal(x, network.users.weight[[0, 2]])
    torch.testing.assert_close(model.score(x), network.output(x)[:, [3, 1, 4]])
    assert model.item_embeddings().shape == (0, 8)
    with pytest.raises(InputError, match="user is not known"):
        model.build_inputs(Histories(np.array([2]), np.array([0, 1]), np.array([0])))


@pytest.mark.parametrize("make", [ranker, factors])
def test_a_loaded_module_is_the_saved_one(make: Callable[[], ModuleRecommender], tmp_path: Path) -> None:
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)  # other weights than the factory gives
    folder = saved(tmp_path / "model", model)
    loaded = load_recommender(folder, model.settings.call)
    assert isinstance(loaded, ModuleRecommender)
    assert (loaded.dimension, loaded.training) == (8, False)
    x, expected = (m.represent(m.build_inputs(HISTORIES)) for m in (loaded, model))
    # Not to the last bit: weights mapped from a file lie at other addresses, where vector instructions sum differently.
    torch.testing.assert_close(x, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(loaded.score(x), model.score(x), rtol=1e-6, atol=1e-6)
    assert read_description(folder).reads_user_index == model.reads_user_index
    assert weights_digest(folder) == weights_digest(saved(tmp_path / "again", model))


@pytest.mark.parametrize("named", [None, "tests.foreign_ranker:build_ranker(**{})", "evil_package:run"])
def test_code_that_only_the_registry_names_is_not_imported(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "model", ranker())
    description = json.loads((folder / "recommender.json").read_text())
    description["settings"]["factory"] = "evil_package:run"
    (tmp_path / "evil_package.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "recommender.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"names 'evil_package:run\(.*not imported"):
        load_recommender(folder, named)


def test_a_trusted_function_with_other_arguments_is_not_called(tmp_path: Path) -> None:
    model = ranker()
    folder = saved(tmp_path / "model", model)
    description = json.loads((folder / "recommender.json").read_text())
    description["settings"]["arguments"]["rows"] = 10**9
    (folder / "recommender.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"10{9}.*not imported"):
        load_recommender(folder, model.settings.call)


def test_the_settings_name_a_trusted_factory_only_for_a_module() -> None:
    module = {"kind": "module", "module": {"factory": RANKER, "item_embeddings": "items.weight"}}
    assert load_settings(None, {"recommender": module}).recommender.factory == f"{RANKER}(**{{}})"
    assert load_settings(None, {"recommender": {**module, "kind": "sasrec"}}).recommender.factory is None


@pytest.mark.parametrize(
    ("recommender", "message"),
    [
        ({"kind": "module"}, "needs module.factory"),
        ({"kind": "module", "module": {"factory": RANKER}}, "needs module.item_embeddings"),
        ({"kind": "module", "module": {"factory": "os.system('x')"}}, r"e\.g\. shop\.gru:build"),
        ({"kind": "module", "module": {"factory": "os"}}, r"e\.g\. shop\.gru:build"),
        (
            {"kind": "module", "module": {"factory": "toy.gru.make"}},
            r"a colon before the function, e\.g\. toy\.gru:make",
        ),
        ({"kind": "external"}, "needs external.representations"),
        ({"kind": "external", "external": {"representations": "x"}}, "item_embeddings or external.recommendations"),
    ],
)
def test_incomplete_settings_of_an_own_model_are_refused(recommender: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_settings(None, {"recommender": recommender})


def test_weights_come_from_a_safetensors_file(tmp_path: Path) -> None:
    network = build_ranker(5)
    with torch.no_grad():
        network.positions.mul_(3.0)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = ModuleRecommender.of(settings_of(weights=str(tmp_path / "weights.safetensors")), torch.tensor([1, 2]), None)
    assert torch.equal(model.network.positions, network.positions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "no_such_package:build"}, r"cannot be imported .*PYTHONPATH, or spark-submit --py-files"),
        ({"factory": "tests.foreign_ranker:absent"}, "cannot be imported"),
        ({"factory": "tests.foreign_ranker:build_nothing", "arguments": {}}, "returns a str"),
        ({"factory": "tests.foreign_ranker:build_failing", "arguments": {}}, r"ValueError: no such table"),
        ({"arguments": {"row": 5}}, "unexpected keyword argument"),
        ({"item_embeddings": "item.weight"}, r"no parameter or buffer 'item\.weight'.*items\.weight"),
        ({"scorer": "module"}, "no method score"),
        ({"arguments": {"rows": 3}}, r"Items have the rows 3 to 4, items\.weight has 3 rows"),
        ({"item_embeddings": "encoder.layers.0.linear1.weight", "arguments": {"rows": 5, "dimension": 4}}, None),
        ({"item_embeddings": "encoder.layers.0.linear2.weight"}, r"Representations have 8 dimensions.*has 16"),
    ],
)
def test_a_module_that_breaks_the_contract_is_refused(changes: dict[str, Any], message: str | None) -> None:
    if message is None:
        ModuleRecommender.of(settings_of(**changes), torch.tensor([3, 4]), None)
        return
    with pytest.raises(InputError, match=message):
        ModuleRecommender.of(settings_of(**changes), torch.tensor([3, 4]), None)


class Surplus(torch.nn.Module):
    def forward(self, items: torch.Tensor, ages: torch.Tensor) -> torch.Tensor:
        return items + ages


class Keywords(torch.nn.Module):
    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return inputs["items"]


def test_forward_is_asked_what_it_takes() -> None:
    assert forward_arguments(build_ranker(5)) == ("items", "padding_mask")
    assert forward_arguments(Keywords()) == ("items", "lengths", "padding_mask")
    with pytest.raises(InputError, match="takes items, ages"):
        forward_arguments(Surplus())
    with pytest.raises(InputError, match="takes users"):
        ModuleRecommender.of(factors_settings(), torch.tensor([1]), None)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((3, 1, 3), r"3 items share 2 rows"),
        ((2, 2, 2), r"3 items share 1 rows"),
        ((1, 0, 2), r"An item has the row 0, which stands for padding.*off by one"),
    ],
)
def test_rows_that_stand_for_two_things_are_refused(rows: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ranker(rows)


def test_the_padding_row_is_free_for_a_module_without_items() -> None:
    model = ModuleRecommender.of(factors_settings(), torch.tensor([0, 1, 4]), torch.tensor([2, 0]))
    assert model.item_rows.tolist() == [0, 1, 4]


@pytest.mark.parametrize(("padding", "rows"), [(0, [1, 2, 3]), (2, [0, 1, 3]), (4, [0, 1, 2])])
def test_rows_that_nobody_gave_leave_the_padding_out(padding: int, rows: list[int]) -> None:
    assert ModuleRecommender.of(settings_of(padding_index=padding), 3, None).item_rows.tolist() == rows
    without_items = ModuleRecommender.of(factors_settings(padding_index=padding), 3, torch.tensor([2, 0]))
    assert without_items.item_rows.tolist() == [0, 1, 2]


class Failing(torch.nn.Module):
    def forward(self, items: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = torch.nn.functional.embedding(items, torch.zeros(2, 8))
        return x

    def score(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("two\nlines")


def test_a_fault_of_the_module_is_one_line_with_its_place() -> None:
    model = ModuleRecommender(Failing(), settings_of(scorer="module"), torch.tensor([1, 2, 3]), None, 8)
    with pytest.raises(InputError, match=r"forward fails \(IndexError: .*test_module\.py line \d+\).*items \(2, 6\)"):
        model.represent(model.build_inputs(HISTORIES))
    with pytest.raises(InputError, match=r"score fails \(ValueError: two lines, .*test_module\.py line \d+\)"):
        model.score(torch.zeros(2, 8))


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "1 / 0", "def build(:", "build = None"])
def test_a_fault_of_the_factory_is_bad_input(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"faulty_{abs(hash(fault))}"
    (tmp_path / f"{name}.py").write_text(f"{fault}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=rf"{name}:build (cannot be imported|fails) \(\w+: "):
        ModuleRecommender.of(settings_of(factory=f"{name}:build", arguments={}), 3, None)


class Misshapen(torch.nn.Module):
    def forward(self, lengths: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(lengths) + 1, 4)


def test_a_representation_of_another_shape_is_refused() -> None:
    model = ModuleRecommender(Misshapen(), settings_of(), torch.tensor([1, 2, 3]), None, 4)
    with pytest.raises(InputError, match=r"returns \(3, 4\) for 2 users"):
        model.represent(model.build_inputs(HISTORIES))


def test_the_sites_of_a_module_can_be_listed_before_registration() -> None:
    assert {"last", "encoder.layers.0", "encoder.layers.1"} <= set(inspect_sites(unregistered_module(settings_of())))
    assert set(inspect_sites(unregistered_module(factors_settings()))) == {"last", "users"}


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "weights.safetensors")
    change(weights)
    save_file(weights, folder / "weights.safetensors")
    description = json.loads((folder / "recommender.json").read_text())
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    description["sha256"]["weights.safetensors"] = digest
    (folder / "recommender.json").write_text(json.dumps(description))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "weights.safetensors").write_bytes(b"\x80\x04cos\nsystem\n."), "does not match the digest"),
        (lambda f: change_weights(f, lambda w: w.pop("network.positions")), r"positions None, expected \(6, 8\)"),
        (lambda f: change_weights(f, lambda w: w.update(item_rows=torch.tensor([1, 2, 5]))), "rows 1 to 5"),
        (lambda f: change_weights(f, lambda w: w.update(item_rows=torch.tensor([1, -2, 3]))), "rows -2 to 3"),
        (lambda f: change_weights(f, lambda w: w["network.positions"].fill_(torch.nan)), "positions holds NaN"),
    ],
)
def test_a_damaged_module_is_refused(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", ranker())
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_recommender(folder, ranker().settings.call)
