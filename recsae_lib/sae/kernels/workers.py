"""Threads that share a range of rows or latents: compiled loops and torch products do not hold the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

# What a thread takes at a time. Of one size whatever the number of threads, so that this decides no bit.
ROW_BLOCK = 512
LATENT_BLOCK = 64

T = TypeVar("T")


class Workers:
    """A pool whose work is cut into blocks of a given size, so that the number of threads decides no bit.

    Parameters
    ----------
    threads : each runs torch on one core.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def share(self, work: Callable[[int, int, int], T], count: int, size: int) -> list[T]:
        """Return what ``work(thread number, begin, end)`` gave for each block of `count`, in their order."""
        blocks = [(begin, min(begin + size, count)) for begin in range(0, count, size)]

        def run(number: int) -> list[T]:
            return [work(number, begin, end) for begin, end in blocks[number :: self.threads]]

        given = list(self._pool.map(run, range(min(self.threads, len(blocks)))))
        return [given[place % self.threads][place // self.threads] for place in range(len(blocks))]
