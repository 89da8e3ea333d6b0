"""What Spark's event log of an application says of its tasks: shuffled, spilled, and how they share the work."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LargestTask:
    """The task that has most of something.

    Parameters
    ----------
    amount : that it has.
    share : of what all tasks of its stage have.
    tasks : of its stage.
    stage : number and call site of it.
    """

    amount: float = 0.0
    share: float = 0.0
    tasks: int = 0
    stage: str = ""

    @classmethod
    def of(cls, amounts: Mapping[int, Sequence[float]], names: Mapping[int, str]) -> LargestTask:
        """Find it among the tasks of each stage."""
        stage = max(amounts, key=lambda number: max(amounts[number]), default=None)
        if stage is None or not (together := sum(amounts[stage])):
            return cls()
        most = max(amounts[stage])
        return cls(most, most / together, len(amounts[stage]), f"{stage}: {names.get(stage, '')}")


@dataclass(frozen=True)
class Work:
    """What the tasks of an application came to.

    Parameters
    ----------
    shuffled : bytes of shuffles written.
    spilled : bytes that sorts and aggregates wrote to disk for want of memory.
    longest : task, in seconds of wall time.
    heaviest : task by the bytes of shuffles that it read: where all lands on one task, it is there.
    """

    shuffled: int
    spilled: int
    longest: LargestTask
    heaviest: LargestTask

    @classmethod
    def of(cls, lines: Iterable[str]) -> Work:
        """Sum over the tasks of an event log, JSON lines as Spark writes them."""
        shuffled = spilled = 0
        seconds: dict[int, list[float]] = defaultdict(list)
        read: dict[int, list[float]] = defaultdict(list)
        names: dict[int, str] = {}
        for line in lines:
            if '"SparkListenerTaskEnd"' in line[:60]:
                event: dict[str, Any] = json.loads(line)
                info, metrics, stage = event["Task Info"], event.get("Task Metrics") or {}, event["Stage ID"]
                seconds[stage].append((info["Finish Time"] - info["Launch Time"]) / 1000)
                of_reads = metrics.get("Shuffle Read Metrics", {})
                read[stage].append(of_reads.get("Local Bytes Read", 0) + of_reads.get("Remote Bytes Read", 0))
                shuffled += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
                spilled += metrics.get("Disk Bytes Spilled", 0)
            elif '"SparkListenerStageCompleted"' in line[:60]:
                completed = json.loads(line)["Stage Info"]
                names[completed["Stage ID"]] = completed["Stage Name"]
        return cls(shuffled, spilled, LargestTask.of(seconds, names), LargestTask.of(read, names))
