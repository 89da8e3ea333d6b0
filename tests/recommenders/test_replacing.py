from __future__ import annotations

import sys
import types
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from recsae_lib.config import ModuleSettings, SasrecSettings, TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.lightgcn import LightGcn
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.families.timirec import Timirec
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.probing import find_sites, inspect_sites, probe
from recsae_lib.recommenders.protocol import Histories, Recommender
from recsae_lib.recommenders.replacing import represent_from, require_way_on

HISTORIES = Histories(np.array([1, 0, 2]), np.array([0, 2, 9, 10]), np.array([3, 1, 0, 1, 2, 3, 0, 1, 2, 3]))


def module_of(network: type, monkeypatch: pytest.MonkeyPatch) -> ModuleRecommender:
    def build() -> torch.nn.Module:
        torch.manual_seed(1)
        return network()

    module = types.ModuleType("network_of_a_test")
    module.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "network_of_a_test", module)
    return of_factory("network_of_a_test:build", {})


def of_factory(factory: str, arguments: dict[str, Any], padding: str = "right") -> ModuleRecommender:
    stated = {"factory": factory, "arguments": arguments, "padding": padding}
    settings = ModuleSettings.model_validate({**stated, "history_length": 6, "item_embeddings": "items.weight"})
    return ModuleRecommender.of(settings, torch.tensor([4, 2, 3, 1]), None)


def models() -> dict[str, Recommender]:
    torch.manual_seed(0)
    foreign = "tests.foreign_ranker:build_ranker"
    return {
        "bpr_mf": BprMf(3, 4, 8).eval(),
        "lightgcn": LightGcn(3, 4, 8).eval(),
        "sasrec": Sasrec(4, 8, SasrecSettings(layers=2, history_length=6, inner_dimension=12)).eval(),
        "timirec": Timirec(4, 8, TimirecSettings(history_length=6)).eval(),
        "foreign": of_factory(foreign, {"rows": 5}),
        "foreign, left": of_factory(foreign, {"rows": 5}, "left"),
    }


@pytest.mark.parametrize("name", list(models()))
def test_what_was_read_put_back_changes_no_bit(name: str) -> None:
    model = models()[name]
    inputs = model.build_inputs(HISTORIES)
    sites = inspect_sites(model)
    read = probe(model, inputs, list(sites.values()))
    for site in sites.values():
        assert torch.equal(represent_from(model, inputs, site, read[site.name]), read["last"]), site.name
    assert len(sites) > 1
    assert not any(module._forward_hooks for module in model.modules()), "no hook stays"


def test_the_model_goes_on_from_the_latest_position_alone() -> None:
    model = models()["sasrec"]
    inputs = model.build_inputs(HISTORIES)
    (site,) = find_sites(model, ["blocks.0"])
    h = model.blocks[0](model.norm(model.items(inputs["items"]) + model.positions.weight[: inputs["items"].shape[1]]))
    vectors = torch.randn(3, 8, generator=torch.Generator().manual_seed(4))
    rows = torch.arange(3), inputs["last"]
    with torch.no_grad():
        h[rows] = vectors
        expected = model.blocks[1](h)[rows]
    assert torch.equal(represent_from(model, inputs, site, vectors), expected)


def test_at_the_last_site_the_vectors_are_the_representation() -> None:
    model = models()["bpr_mf"]
    last, users = find_sites(model, ["last", "users"])
    vectors = torch.arange(24.0).reshape(3, 8)
    for site in (last, users):
        assert torch.equal(represent_from(model, model.build_inputs(HISTORIES), site, vectors), vectors)


class Twice(torch.nn.Module):
    """Calls one layer twice, of which the first call gives nothing; and gives time first."""

    def __init__(self) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(5, 4)
        self.layer, self.swapped = Willing(), torch.nn.Identity()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        h = self.items(items)
        self.layer(h, False)
        swapped: torch.Tensor = self.swapped(self.layer(h, True).transpose(0, 1))
        return 2 * swapped.transpose(0, 1)


class Willing(torch.nn.Module):
    def forward(self, h: torch.Tensor, willing: bool) -> torch.Tensor | None:
        return h + 1 if willing else None


@pytest.mark.parametrize("name", ["layer", "swapped"])
def test_the_last_of_several_calls_is_replaced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = module_of(Twice, monkeypatch)
    (site,) = find_sites(model, [name])
    vectors = torch.arange(12.0).reshape(3, 4)
    assert torch.equal(represent_from(model, model.build_inputs(HISTORIES), site, vectors), 2 * vectors)


Both = namedtuple("Both", ["vectors", "rest"])


class Doubles(torch.nn.Module):
    """Gives doubles in a named tuple, and goes on only if it stays one."""

    def __init__(self) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(5, 4, dtype=torch.float64)
        self.first, self.listed = Named(), Listed()

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        named = self.first(self.items(items))
        vectors, two = self.listed(named.vectors)
        assert vectors.dtype == torch.float64
        fine = vectors.mul(1e9).round().remainder(1000)  # digits that float32 has not
        answer: torch.Tensor = (vectors + fine) * named.rest * two
        return answer


class Named(torch.nn.Module):
    def forward(self, h: torch.Tensor) -> Both:
        return Both(h, 3)


class Listed(torch.nn.Module):
    def forward(self, h: torch.Tensor) -> list[Any]:
        return [h, 2]


@pytest.mark.parametrize("name", ["first", "listed"])
def test_tuples_and_doubles_stay_what_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = module_of(Doubles, monkeypatch)
    inputs = model.build_inputs(HISTORIES)
    (site,) = find_sites(model, [name])
    read = probe(model, inputs, [site, *find_sites(model, ["last"])])
    assert torch.equal(represent_from(model, inputs, site, read[name]), read["last"])
    assert torch.equal(represent_from(model, inputs, site, torch.ones(3, 4)), torch.full((3, 4), 6.0))


class Beside(torch.nn.Module):
    """Has a layer whose output nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.items, self.beside, self.on_the_way = torch.nn.Embedding(5, 4), torch.nn.Identity(), torch.nn.LayerNorm(4)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        h = self.items(items)
        self.beside(h)
        answer: torch.Tensor = self.on_the_way(h)
        return answer


def test_a_site_beside_the_way_to_the_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = module_of(Beside, monkeypatch)
    for name in ("items", "on_the_way", "last"):
        require_way_on(model, *find_sites(model, [name]))
    with pytest.raises(InputError, match=r"'beside' gives does not come through.*representations\.sites"):
        require_way_on(model, *find_sites(model, ["beside"]))


def test_a_site_that_gives_another_shape_is_refused() -> None:
    model = models()["sasrec"]
    (site,) = find_sites(model, ["blocks.0"])
    other = {
        name: tensor[:, :5] if name == "items" else tensor for name, tensor in model.build_inputs(HISTORIES).items()
    }
    wrong = type(site)(site.name, "sequence_first", site.dimension)
    with pytest.raises(InputError, match=r"'blocks\.0' gives the shape .*, expected \(T, batch, d\)"):
        represent_from(model, {**other, "last": torch.zeros(3, dtype=torch.int64)}, wrong, torch.zeros(3, 8))
