from __future__ import annotations

import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from recsae_lib.config import ModuleSettings, SasrecSettings, TimirecSettings
from recsae_lib.errors import InputError
from recsae_lib.recommenders.families.bpr_mf import BprMf
from recsae_lib.recommenders.families.sasrec import Sasrec
from recsae_lib.recommenders.families.timirec import Timirec
from recsae_lib.recommenders.foreign.module import ModuleRecommender
from recsae_lib.recommenders.probing import Site, find_sites, inspect_sites, probe
from recsae_lib.recommenders.protocol import Histories
from tests.foreign_ranker import build_ranker

HISTORIES = Histories(np.array([1, 0, 2]), np.array([0, 2, 9, 10]), np.array([3, 1, 0, 1, 2, 3, 0, 1, 2, 3]))


def sasrec(history_length: int = 6) -> Sasrec:
    torch.manual_seed(0)
    return Sasrec(4, 8, SasrecSettings(layers=2, history_length=history_length, inner_dimension=12)).eval()


def foreign(padding: str = "right") -> ModuleRecommender:
    settings = ModuleSettings.model_validate(
        {
            "factory": "tests.foreign_ranker:build_ranker",
            "arguments": {"rows": 5},
            "history_length": 6,
            "padding": padding,
            "item_embeddings": "items.weight",
        }
    )
    return ModuleRecommender.of(settings, torch.tensor([4, 2, 3, 1]), None)


@pytest.mark.parametrize("history_length", [1, 3, 4, 5, 6])
def test_sasrec_sites_are_its_submodules_with_their_widths(history_length: int) -> None:
    sites = inspect_sites(sasrec(history_length))
    assert sites["last"] == Site("last", "user", 8)
    assert sites["blocks.0"] == Site("blocks.0", "sequence", 8)
    assert sites["blocks.1.inner"] == Site("blocks.1.inner", "sequence", 12)
    assert sites["blocks.0.attention_in"] == Site("blocks.0.attention_in", "sequence", 24)
    assert "positions" not in sites, "it is not called"
    assert "blocks" not in sites, "a list of blocks gives nothing"


def test_a_model_of_user_vectors_has_its_table_as_a_site() -> None:
    model = BprMf(3, 4, 8)
    assert inspect_sites(model) == {"last": Site("last", "user", 8), "users": Site("users", "user", 8)}
    x = probe(model, model.build_inputs(HISTORIES), find_sites(model, ["users", "last"]))
    assert list(x) == ["users", "last"]
    assert torch.equal(x["users"], x["last"])


def test_the_first_entry_of_a_tuple_from_a_submodule_counts() -> None:
    model = Timirec(4, 8, TimirecSettings(history_length=6)).eval()
    site = inspect_sites(model)["predictor"]
    assert (site.layout, site.dimension) == ("sequence", 8)


class Fickle(torch.nn.Module):
    """Gives what it is given, or nothing."""

    def forward(self, h: torch.Tensor, willing: bool) -> torch.Tensor | None:
        return h if willing else None


@pytest.mark.parametrize("last_call", [True, False])
def test_the_last_call_of_a_submodule_called_twice_counts(last_call: bool) -> None:
    class Twice(Sasrec):
        def forward(self, items: torch.Tensor) -> torch.Tensor:
            h = super().forward(items)
            self.fickle(2 * h, not last_call)
            self.fickle(h, last_call)
            return h

    torch.manual_seed(0)
    model = Twice(4, 8, SasrecSettings(history_length=6)).eval()
    model.fickle = Fickle()
    assert ("fickle" in inspect_sites(model)) == last_call


def test_one_pass_reads_all_sites_at_the_latest_interaction(monkeypatch: pytest.MonkeyPatch) -> None:
    model = sasrec()
    inputs = model.build_inputs(HISTORIES)
    h = model.norm(model.items(inputs["items"]) + model.positions.weight[: inputs["items"].shape[1]])
    first = model.blocks[0](h)
    rows = torch.arange(3), inputs["last"]
    expected = {"blocks.0": first[rows], "last": model.blocks[1](first)[rows], "norm": h[rows]}
    sites = find_sites(model, list(expected))
    passes = []
    forward = Sasrec.forward
    monkeypatch.setattr(Sasrec, "forward", lambda self, items: passes.append(1) or forward(self, items))
    found = probe(model, inputs, sites)
    assert list(found) == list(expected)
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x.detach())
    assert len(passes) == 1
    assert not any(module._forward_hooks for module in model.modules()), "no hook stays"


@pytest.fixture
def fused_layers() -> Iterator[None]:
    """What a test says of torch's fused encoder layers ends with it."""
    before = torch.backends.mha.get_fastpath_enabled()
    yield
    torch.backends.mha.set_fastpath_enabled(before)


@pytest.mark.usefixtures("fused_layers")
@pytest.mark.parametrize("padding", ["left", "right"])
def test_foreign_transformer_sites_equal_a_computation_by_hand(padding: str) -> None:
    torch.backends.mha.set_fastpath_enabled(False)  # they know no mask of floats
    model = foreign(padding)
    network = build_ranker(5).eval()
    rows = [[1, 2, 0, 0, 0, 0], [2, 3, 1, 4, 2, 3], [1, 0, 0, 0, 0, 0]]  # latest 6, item i in row (4, 2, 3, 1)[i]
    last = torch.tensor([1, 5, 0])
    if padding == "left":
        rows, last = [[0, 0, 0, 0, 1, 2], rows[1], [0, 0, 0, 0, 0, 1]], torch.tensor([5, 5, 5])
    items = torch.tensor(rows)
    inputs = model.build_inputs(HISTORIES)
    assert inputs["items"].tolist() == rows
    assert inputs["lengths"].tolist() == [2, 6, 1]
    assert torch.equal(inputs["padding_mask"], items == 0)
    with torch.no_grad():
        padded = torch.zeros(3, 6).masked_fill(items == 0, -1e9)
        h = network.items(items) + network.positions
        steps = {}
        for number, layer in enumerate(network.encoder.layers):
            h = layer(h, src_mask=network.causal, src_key_padding_mask=padded)
            steps[f"encoder.layers.{number}"] = h[torch.arange(3), last]
        steps["last"] = network.encoder.norm(h)[torch.arange(3), last]
    found = probe(model, inputs, find_sites(model, list(steps)))
    for name, x in steps.items():
        assert x.isfinite().all()
        torch.testing.assert_close(found[name], x, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("fused_layers")
@pytest.mark.parametrize("fused", [True, False])
def test_hooks_change_nothing_where_torch_would_fuse_layers(fused: bool) -> None:
    torch.backends.mha.set_fastpath_enabled(fused)
    model = foreign()
    inputs = model.build_inputs(HISTORIES)
    probed = probe(model, inputs, find_sites(model, ["last", "encoder.layers.0"]))["last"]
    assert torch.equal(probe(model, inputs, find_sites(model, ["last"]))["last"], probed)
    assert torch.backends.mha.get_fastpath_enabled() is fused


class Twice(torch.nn.Module):
    """Calls one layer twice, gives time first, and integers, and flattened rows."""

    def __init__(self) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(5, 4)
        self.layer = torch.nn.Linear(4, 4)
        self.swapped, self.flat, self.whole = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity()

    def forward(self, items: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = self.layer(self.items(items))
        self.flat(x.flatten(0, 1))
        self.whole(items)
        self.swapped(x.transpose(0, 1))
        output: torch.Tensor = self.layer(x)
        return output


def build_twice() -> Twice:
    torch.manual_seed(1)
    return Twice()


def twice(monkeypatch: pytest.MonkeyPatch) -> ModuleRecommender:
    module = types.ModuleType("twice_ranker")
    module.build = build_twice  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "twice_ranker", module)
    settings = ModuleSettings.model_validate(
        {"factory": "twice_ranker:build", "history_length": 3, "item_embeddings": "items.weight"}
    )
    return ModuleRecommender.of(settings, torch.tensor([1, 2, 3, 4]), None)


def test_the_last_call_counts_and_other_outputs_are_no_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    model = twice(monkeypatch)
    sites = inspect_sites(model)
    assert {name: site.layout for name, site in sites.items()} == {
        "last": "user",
        "items": "sequence",
        "layer": "sequence",
        "swapped": "sequence_first",
    }
    inputs = model.build_inputs(Histories(np.zeros(2), np.array([0, 1, 3]), np.array([0, 1, 2])))
    found = probe(model, inputs, [sites["layer"], sites["swapped"], sites["last"]])
    once = build_twice().layer(model.network.items(torch.tensor([1, 3])))
    assert torch.equal(found["layer"], found["last"])
    torch.testing.assert_close(found["swapped"], once.detach())


def test_a_site_that_changes_its_shape_is_refused() -> None:
    model = sasrec()
    with pytest.raises(InputError, match=r"'blocks\.0' gives the shape \(3, 6, 8\), expected \(T, batch, d\)"):
        probe(model, model.build_inputs(HISTORIES), [Site("blocks.0", "sequence_first", 8)])


def test_an_unknown_site_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"no probing site 'block\.1'.*e\.g\. blocks\.1"):
        find_sites(sasrec(), ["last", "block.1"])
