"""Memory of a job by what holds it (the driver's Python, the JVM, the Python workers), and its processor time."""

from __future__ import annotations

import subprocess
import threading
from contextlib import suppress
from typing import Literal

import psutil

Part = Literal["driver", "jvm", "workers"]
PARTS: tuple[Part, ...] = ("driver", "jvm", "workers")
SAMPLE_SECONDS = 0.5


class PartUsage:
    """Largest proportional set size of each part of a job's processes while the context is open, and processor time.

    Parameters
    ----------
    process : of the job, whose Python is the driver's; processes below it are the JVM where their program is java, else
        Python workers, whose sizes are summed.

    Attributes
    ----------
    gib : of each part, each at its own largest.
    cpu_seconds : of all of them, whatever else the machine did; what a process does after its last sample is missed.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.gib: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._seconds: dict[int, float] = {}
        self._root = psutil.Process(process.pid)
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PartUsage:
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._sampler.join()

    @property
    def cpu_seconds(self) -> float:
        return sum(self._seconds.values())

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            sizes: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
            with suppress(psutil.Error):  # the job has ended
                for process in [self._root, *self._root.children(recursive=True)]:
                    with suppress(psutil.Error):  # this process has
                        sizes[part_of(process.name(), process.pid == self._root.pid)] += process.memory_full_info().pss
                        self._seconds[process.pid] = sum(process.cpu_times()[:2])
            self.gib = {part: max(self.gib[part], sizes[part] / 2**30) for part in PARTS}


def part_of(program: str, is_root: bool) -> Part:
    """Which part of a job a process is."""
    if program == "java":
        return "jvm"
    return "driver" if is_root else "workers"
