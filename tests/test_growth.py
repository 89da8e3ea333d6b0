"""What the growth benchmark reads of event logs and makes of it; the rest of it is run by `make bench ONLY=growth`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.growing.event_log import LargestTask, Work
from tests.benchmarks.growing.figures import Measured, exponent, exponents_of, read_measured, write_measured
from tests.benchmarks.growing.processes import part_of
from tests.benchmarks.growing.world import Size, count_name, count_of


def task(stage: int, seconds: float, shuffled: int = 0, spilled: int = 0, read: int = 0) -> str:
    metrics = {
        "Disk Bytes Spilled": spilled,
        "Shuffle Read Metrics": {"Local Bytes Read": read, "Remote Bytes Read": 2 * read},
        "Shuffle Write Metrics": {"Shuffle Bytes Written": shuffled},
    }
    times = {"Launch Time": 1_000, "Finish Time": 1_000 + int(1000 * seconds)}
    event = {"Event": "SparkListenerTaskEnd", "Stage ID": stage, "Task Info": times, "Task Metrics": metrics}
    return json.dumps(event)


def stage(number: int, name: str) -> str:
    return json.dumps({"Event": "SparkListenerStageCompleted", "Stage Info": {"Stage ID": number, "Stage Name": name}})


def test_an_event_log_comes_to_sums_and_largest_tasks() -> None:
    log = [task(0, 12.0, shuffled=5), task(0, 4.0, 7), task(1, 9.0, spilled=100, read=30), task(1, 1.0, 0, 20, 10)]
    work = Work.of([*log, task(2, 0.5, read=20), stage(0, "count"), stage(1, "overwrite"), stage(2, "count")])
    assert (work.shuffled, work.spilled) == (12, 120)
    assert work.longest == LargestTask(12.0, 0.75, 2, "0: count")
    assert work.heaviest == LargestTask(90, 0.75, 2, "1: overwrite")


def test_a_job_without_tasks_has_no_largest_one() -> None:
    assert Work.of([stage(0, "count")]) == Work(0, 0, LargestTask(), LargestTask())
    assert Work.of([task(0, 1.0)]).heaviest == LargestTask()


def test_the_exponent_of_what_grows_as_users_is_one() -> None:
    assert exponent(3.0, 30.0, 100, 1000) == pytest.approx(1.0)
    assert exponent(3.0, 12.0, 100, 200) == pytest.approx(2.0)
    sizes = {Size(users, 10): {"job": measured(seconds)} for users, seconds in ((10, 1.0), (100, 1.0), (1000, 10.0))}
    wall = [figure.value for figure in exponents_of(sizes) if figure.name.endswith("of time")]
    assert wall == pytest.approx([0.0, 1.0])


def test_what_was_measured_is_read_back(tmp_path: Path) -> None:
    found = {"job": measured(2.5)}
    write_measured(tmp_path / "measured.json", found)
    assert read_measured(tmp_path / "measured.json") == found
    assert read_measured(tmp_path / "nothing.json") == {}


def test_sizes_are_read_as_they_are_named() -> None:
    assert [count_of(name) for name in ("20k", "1m", "10M", "500")] == [20_000, 1_000_000, 10_000_000, 500]
    assert [count_name(count) for count in (20_000, 1_000_000, 1_500_000, 500)] == ["20k", "1m", "1500k", "500"]


def test_processes_are_told_apart() -> None:
    assert [part_of("python", True), part_of("java", False), part_of("python", False)] == ["driver", "jvm", "workers"]


def measured(seconds: float) -> Measured:
    one = LargestTask(1.0, 0.5, 2, "0: count")
    return Measured(seconds, seconds, {"driver": 1.0, "jvm": 2.0, "workers": 3.0}, 7, Work(1, 2, one, LargestTask()))
