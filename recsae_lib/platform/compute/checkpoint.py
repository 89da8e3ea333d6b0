"""The state of an unfinished training, so that a killed one goes on from its last checkpoint. Nothing is unpickled."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from recsae_lib.platform.storage.files import replacing

STATE = "state"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that moves while a model is trained.

    Parameters
    ----------
    progress : plain values: where the training stands, reports.
    tensors : weights and state of the optimiser, under names with a prefix (``network.…``, ``optimiser.…``).
    """

    progress: dict[str, Any]
    tensors: dict[str, torch.Tensor]

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """Tensors under a prefix, by the rest of their names."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(f"{prefix}.")}


class CheckpointFile:
    """The file of one training; written now and then, and replaced as a whole.

    Parameters
    ----------
    path : the file; its folder exists.
    identity : digest of data, settings, seed and code that the state belongs to.
    seconds : time between two writings that are not asked for.
    """

    def __init__(self, path: Path, identity: str, seconds: float) -> None:
        self.path, self.identity, self.seconds = path, identity, seconds
        self._last = time.monotonic()

    def load(self) -> Checkpoint | None:
        """Read the state; None where there is none of this identity, or the file is damaged."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                state = json.loads(file.metadata()[STATE])
                if state["identity"] != self.identity:
                    return None
                return Checkpoint(state["progress"], {name: file.get_tensor(name) for name in list(file.keys())})
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            return None

    def is_due(self) -> bool:
        """Whether the last writing is long enough ago."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the state."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        state = {STATE: json.dumps({"identity": self.identity, "progress": checkpoint.progress})}
        with replacing(self.path) as unfinished:
            save_file(tensors, unfinished, state)
        self._last = time.monotonic()

    def discard(self) -> None:
        """Remove the file: the training has ended."""
        self.path.unlink(missing_ok=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """State of an optimiser by ``<parameter>.<name>``."""
    return {
        f"{parameter}.{name}": torch.as_tensor(value)
        for parameter, values in optimiser.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimiser_tensors` gave."""
    described = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor | int]] = {}
    for key, tensor in tensors.items():
        parameter, name = key.split(".", 1)
        # Sparse Adam counts its steps in a Python integer.
        counted = tensor.dim() == 0 and tensor.dtype == torch.int64
        state.setdefault(int(parameter), {})[name] = int(tensor) if counted else tensor
    optimiser.load_state_dict({**described, "state": state})
