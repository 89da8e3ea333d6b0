"""What Spark's event log of an application says of its tasks: shuffled, spilled, and how they share the work."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LONG_SECONDS = 5.0  # a stage whose tasks take less together says nothing about how work is spread


@dataclass(frozen=True)
class LongestTask:
    """The longest task of an application.

    Parameters
    ----------
    seconds : of the task.
    share : of the seconds of its stage, all tasks together.
    tasks : of its stage.
    stage : number and call site of it.
    """

    seconds: float = 0.0
    share: float = 0.0
    tasks: int = 0
    stage: str = ""

    @classmethod
    def of(cls, seconds: Sequence[float], stage: str) -> LongestTask:
        """The longest of the tasks of one stage."""
        together = sum(seconds)
        return cls(max(seconds), max(seconds) / together if together else 0.0, len(seconds), stage)

    def line(self) -> str:
        """It as people read it; nothing of no task."""
        return f"{self.seconds:.1f} s, {self.share:.0%} of {self.tasks} (stage {self.stage})" if self.tasks else "none"


@dataclass(frozen=True)
class Work:
    """What the tasks of an application came to.

    Parameters
    ----------
    shuffled : bytes of shuffles written.
    spilled : bytes that sorts and aggregates wrote to disk for want of memory.
    longest : task.
    unevenest : the longest task of the stage, among those of several tasks and `LONG_SECONDS`, in which it has most.
    """

    shuffled: int
    spilled: int
    longest: LongestTask
    unevenest: LongestTask

    @classmethod
    def of(cls, lines: Iterable[str]) -> Work:
        """Sum over the tasks of an event log, JSON lines as Spark writes them."""
        shuffled = spilled = 0
        seconds: dict[int, list[float]] = defaultdict(list)
        names: dict[int, str] = {}
        for line in lines:
            if '"SparkListenerTaskEnd"' in line[:60]:
                event: dict[str, Any] = json.loads(line)
                info, metrics = event["Task Info"], event.get("Task Metrics") or {}
                seconds[event["Stage ID"]].append((info["Finish Time"] - info["Launch Time"]) / 1000)
                shuffled += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
                spilled += metrics.get("Disk Bytes Spilled", 0)
            elif '"SparkListenerStageCompleted"' in line[:60]:
                stage = json.loads(line)["Stage Info"]
                names[stage["Stage ID"]] = stage["Stage Name"]
        longest = [LongestTask.of(taken, f"{stage}: {names.get(stage, '')}") for stage, taken in seconds.items()]
        uneven = [one for one in longest if one.tasks > 1 and one.seconds >= one.share * LONG_SECONDS]
        return cls(
            shuffled,
            spilled,
            max(longest, key=lambda one: one.seconds, default=LongestTask()),
            max(uneven, key=lambda one: one.share, default=LongestTask()),
        )
