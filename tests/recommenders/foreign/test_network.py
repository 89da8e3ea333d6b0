from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from recsae_lib.errors import InputError
from recsae_lib.recommenders.foreign.network import load_weights
from tests.foreign_ranker import build_ranker


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items = torch.nn.Embedding(5, 4)
        self.output = torch.nn.Linear(4, 5, bias=False)
        self.output.weight = self.items.weight


def test_one_name_of_tied_weights_suffices(tmp_path: Path) -> None:
    save_file({"output.weight": torch.ones(5, 4)}, tmp_path / "weights.safetensors")
    network = Tied()
    load_weights(network, str(tmp_path / "weights.safetensors"))
    assert torch.equal(network.items.weight, torch.ones(5, 4))


def pickled(path: Path) -> None:
    torch.save(build_ranker(5).state_dict(), path)


def truncated(path: Path) -> None:
    save_file(build_ranker(5).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-9])


def other_names(path: Path) -> None:
    weights = {f"model.{name}": tensor for name, tensor in build_ranker(5).state_dict().items() if "norm" not in name}
    save_file(weights, path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (pickled, r"no intact safetensors file .*safetensors\.torch\.save_file"),
        (truncated, "no intact safetensors file"),
        (other_names, r"missing positions, missing causal, .* and \d+ more"),
        (lambda path: save_file(build_ranker(6).state_dict(), path), r"items\.weight of the shape \(6, 8\)"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_other_weights_are_refused(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    write(tmp_path / "model.pt")
    with pytest.raises(InputError, match=message):
        load_weights(build_ranker(5), str(tmp_path / "model.pt"))
