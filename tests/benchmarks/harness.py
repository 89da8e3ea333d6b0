"""What the benchmarks share: figures, memory and processor time of the process tree, interleaved repetitions.

A benchmark is a module of this folder with two names::

    CONDITIONS: str                              one line: sizes, settings, what is and is not in the measured time
    def measure(work: Path) -> list[Figure]      runs it; `work` is a folder for its data, kept between runs
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Parameters
    ----------
    name, value, unit : what was measured.
    peer : what it is compared with, measured in the same run; empty where there is none.
    ratio : value over the peer's value.
    conditions : sizes and settings of this figure.
    """

    name: str
    value: float
    unit: str
    peer: str = ""
    ratio: float | None = None
    conditions: str = ""


class Usage:
    """Memory and processor time of this process and its descendants while the context is open.

    `gib` is the largest sum of proportional set sizes: pages that processes share are counted once. (The sum of
    resident sizes counts a whole JVM twice whenever Hadoop's local file system forks a shell from it.) `cpu_seconds`
    says what the work costs whatever else the machine does; a process that lives shorter than the sampling interval is
    missed.

    Parameters
    ----------
    every_seconds : between two samples, each of which takes this process some hundredths of a second.
    """

    def __init__(self, every_seconds: float = SAMPLE_SECONDS) -> None:
        self.gib = 0.0
        self._every_seconds = every_seconds
        self._started = self._processor_times()
        self._latest = dict(self._started)
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Usage:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds since the context was opened."""
        return sum(seconds - self._started.get(process, 0.0) for process, seconds in self._latest.items())

    def _sample(self) -> None:
        while not self._ended.wait(self._every_seconds):
            self.gib = max(self.gib, sum(_of_tree(_proportional_size).values()) / 2**30)
            self._latest.update(self._processor_times())

    @staticmethod
    def _processor_times() -> dict[int, float]:
        return _of_tree(lambda process: sum(process.cpu_times()[:2]))


def _proportional_size(process: psutil.Process) -> float:
    return float(process.memory_full_info().pss)


def _of_tree(read: Callable[[psutil.Process], float]) -> dict[int, float]:
    here = psutil.Process()
    values = {}
    for process in [here, *here.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):  # it ended since it was listed
            values[process.pid] = read(process)
    return values


def interleaved_seconds(actions: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Time the actions in turn, all `repetitions` times, so that a slow spell of the machine hits each alike."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(repetitions):
        for name, action in actions.items():
            started = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median of each action's times."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def write_figures(path: Path, figures: list[Figure]) -> None:
    """Write the figures as JSON, a list of objects with the fields of `Figure`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=2, ensure_ascii=False) + "\n")


def table(figures: list[Figure]) -> str:
    """Lay the figures out as a table for people."""
    rows = [("figure", "value", "unit", "ratio", "peer")] + [
        (f.name, f"{f.value:.4g}", f.unit, "" if f.ratio is None else f"{f.ratio:.3g}", f.peer) for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in (1, 3) else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
