"""The processes of a data-parallel training, as torchrun starts them; a process that was started plainly is alone."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import distributed

from recsae_lib.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """This process among those that train the same SAEs on shards of the rows.

    Parameters
    ----------
    rank : of this process, from 0; rank 0 reports, evaluates and writes.
    world_size : number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @classmethod
    def join(cls, device: str) -> Ranks:
        """Meet the other processes: over gloo on a CPU, over NCCL on CUDA.

        Raises
        ------
        InputError : the others cannot be met.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not distributed.is_initialized():
            if device == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            try:
                distributed.init_process_group("nccl" if device == "cuda" else "gloo")
            except (RuntimeError, ValueError) as error:  # what torch raises for addresses and time limits
                raise InputError(
                    f"The training processes cannot meet: {error}", "Start them all with torchrun, at one rendezvous"
                ) from error
            atexit.register(distributed.destroy_process_group)  # its threads outlive the interpreter else, and abort
        return cls(distributed.get_rank(), distributed.get_world_size())

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over all processes, in place."""
        if self.world_size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def largest(self, numbers: Sequence[int], device: str) -> list[int]:
        """Return the largest of each number over all processes."""
        if self.world_size == 1:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.int64, device=device)
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
        return [int(number) for number in tensor.tolist()]

    def gather(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the (n, d) rows of all processes, in the order of their ranks; n may differ."""
        if self.world_size == 1:
            return rows
        (most,) = self.largest([len(rows)], str(rows.device))
        counts = self.sum(torch.eye(self.world_size, dtype=torch.int64, device=rows.device)[self.rank] * len(rows))
        padded = torch.cat([rows, rows.new_zeros(most - len(rows), rows.shape[1])])
        of_ranks = [torch.empty_like(padded) for _ in range(self.world_size)]
        distributed.all_gather(of_ranks, padded)
        return torch.cat([part[:count] for part, count in zip(of_ranks, counts.tolist(), strict=True)])


ALONE = Ranks()
