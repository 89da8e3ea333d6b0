from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from recsae_lib.config import load_settings
from recsae_lib.errors import PassingError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.storage.holding import Mode
from recsae_lib.platform.storage.locks import (
    OWN_RUN,
    RUN_VARIABLE,
    Fence,
    hold_job,
    hold_night,
    process_name,
    run_name,
)

DT = date(2026, 11, 20)
HOLDER = """
import sys
from datetime import date
from recsae_lib.platform.storage.locks import Fence, hold_job, hold_night, run_name
locks, dt, run = sys.argv[1], date(2026, 11, 20), run_name()
with hold_night(locks, {"shop": sys.argv[3]}, dt, run, Fence()), hold_job(locks, "shop", dt, sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(
    locks: Path, run: str | None = None, job: str = "train_sae", mode: str = "write"
) -> subprocess.Popen[str]:
    """Start a process that holds the night and a job until its standard input ends."""
    environment = {**os.environ, **({RUN_VARIABLE: run} if run else {})}
    command = [sys.executable, "-c", HOLDER, str(locks), job, mode]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@contextmanager
def hold(
    locks: Path, namespace: str = "shop", dt: date = DT, mode: Mode = "write", fence: Fence | None = None
) -> Iterator[Fence]:
    fence = fence or Fence()
    with hold_night(str(locks), {namespace: mode}, dt, run_name(), fence):
        yield fence


def test_another_run_of_a_night_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    with (
        pytest.raises(PassingError, match=r"shop of 2026-11-20 is under way: process \d+.* since 20.*Start again"),
        hold(tmp_path),
    ):
        pass
    for namespace, dt in (("shop", date(2026, 11, 21)), ("other", DT)):
        with hold(tmp_path, namespace, dt):
            pass
    holder.communicate()
    with hold(tmp_path), hold(tmp_path):
        pass


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with hold(tmp_path):
        pass


def test_jobs_of_one_run_share_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_holder(tmp_path, "scheduled__2026-11-20")
    second = start_holder(tmp_path, "scheduled__2026-11-20", "encode_latents")
    first.communicate()  # the one that came first has ended; the night is still theirs
    with pytest.raises(PassingError, match="scheduled__2026-11-20"), hold(tmp_path):
        pass
    monkeypatch.setenv(RUN_VARIABLE, "scheduled__2026-11-20")
    with hold(tmp_path):
        second.communicate()
    monkeypatch.setenv(RUN_VARIABLE, "manual")
    with hold(tmp_path):
        pass


def test_a_job_that_outlives_its_worker_is_not_run_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outliving = start_holder(tmp_path, "scheduled__2026-11-20")
    monkeypatch.setenv(RUN_VARIABLE, "scheduled__2026-11-20")
    with hold(tmp_path), hold_job(str(tmp_path), "shop", DT, "encode_latents"):
        with (
            pytest.raises(PassingError, match=r"job train_sae of the audit shop .* under way: process \d+"),
            hold_job(str(tmp_path), "shop", DT, "train_sae"),
        ):
            pass
        outliving.send_signal(signal.SIGKILL)
        outliving.communicate()
        with hold_job(str(tmp_path), "shop", DT, "train_sae"):
            pass


@pytest.mark.parametrize(("run", "what"), [("scheduled", "The job train_sae"), ("manual", "The audit")])
def test_a_job_that_is_kept_out_does_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, what: str
) -> None:
    settings = load_settings(None, None, ["namespace=shop", f"paths.var={tmp_path}"])
    holder = start_holder(Path(settings.paths.locks_folder), "scheduled for shop")
    monkeypatch.setenv(RUN_VARIABLE, run)
    begun: list[JobContext] = []
    with pytest.raises(PassingError, match=what):
        execute(JobContext("train_sae", settings, DT), begun.append)
    assert begun == []
    holder.communicate()


def test_processes_of_one_torchrun_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_VARIABLE, raising=False)
    assert run_name() == OWN_RUN
    for name, value in (("TORCHELASTIC_RUN_ID", "none"), ("MASTER_ADDR", "node7"), ("MASTER_PORT", "29500")):
        monkeypatch.setenv(name, value)
    assert run_name() == "torchrun none at node7:29500"
    monkeypatch.setenv(RUN_VARIABLE, "nightly_audit scheduled")
    assert run_name() == "nightly_audit scheduled"
    assert process_name() == "torchrun none at node7:29500"


def test_several_runs_read_while_none_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readers = [start_holder(tmp_path, f"reader {number}", f"job {number}", "read") for number in range(2)]
    with hold(tmp_path, mode="read"):
        pass
    readers[0].communicate()
    with pytest.raises(PassingError, match="under way: reader 1"), hold(tmp_path):
        pass
    monkeypatch.setenv(RUN_VARIABLE, "reader 1")  # the only one that is left may write, too
    with hold(tmp_path):
        monkeypatch.setenv(RUN_VARIABLE, "reader 2")
        with pytest.raises(PassingError, match="under way: reader 1"), hold(tmp_path, mode="read"):
            pass
    readers[1].communicate()
    with hold(tmp_path):
        pass


def test_of_several_nights_all_are_held_or_none(tmp_path: Path) -> None:
    holder, fence = start_holder(tmp_path), Fence()
    with (
        pytest.raises(PassingError, match="audit shop of"),
        hold_night(str(tmp_path), {"shop": "read", "bakery": "write"}, DT, "second", fence),
    ):
        pass
    assert fence.nights == []
    with hold_night(str(tmp_path), {"bakery": "write"}, DT, "third", fence):
        assert [(night.namespace, night.hold.run) for night in fence.nights] == [("bakery", "third")]
    holder.communicate()


def test_each_time_a_lock_is_taken_its_token_grows(tmp_path: Path) -> None:
    tokens = []
    for _ in range(3):
        with hold(tmp_path) as outer, hold(tmp_path, fence=outer):
            tokens += [night.hold.token for night in outer.nights]
    assert tokens == sorted(set(tokens))
    shutil.rmtree(tmp_path / "shop")  # also after somebody has cleared the folder: the time is ahead of old tokens
    before = datetime.now(timezone.utc).timestamp()
    with hold(tmp_path) as fence:
        assert fence.nights[0].hold.token >= int(before)


def test_a_lock_whose_file_was_deleted_is_held_no_more(tmp_path: Path) -> None:
    with hold(tmp_path) as fence:
        fence.verify()
        (file,) = tmp_path.rglob("write-*.lock")
        file.unlink()
        with (
            hold_night(str(tmp_path), {"shop": "write"}, DT, "other", Fence()),
            pytest.raises(PassingError, match="was deleted while"),
        ):
            fence.verify()
    assert fence.nights == []
