from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from recsae_lib.config import load_settings
from recsae_lib.errors import PassingError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.storage.locks import OWN_RUN, RUN_VARIABLE, hold_job, hold_night, process_name, run_name

DT = date(2026, 11, 20)
HOLDER = """
import sys
from datetime import date
from recsae_lib.platform.storage.locks import hold_job, hold_night
night = sys.argv[1], "shop", date(2026, 11, 20)
with hold_night(*night), hold_job(*night, sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(var: Path, run: str | None = None, job: str = "train_sae") -> subprocess.Popen[str]:
    """Start a process that holds the night and a job until its standard input ends."""
    environment = {**os.environ, **({RUN_VARIABLE: run} if run else {})}
    command = [sys.executable, "-c", HOLDER, str(var), job]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_another_run_is_refused_until_the_first_is_over(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    with (
        pytest.raises(PassingError, match=r"shop of 2026-11-20 is under way: process \d+.* since 20.*Start again"),
        hold_night(str(tmp_path), "shop", DT),
    ):
        pass
    for namespace, dt in (("shop", date(2026, 11, 21)), ("other", DT)):
        with hold_night(str(tmp_path), namespace, dt):
            pass
    holder.communicate()
    with hold_night(str(tmp_path), "shop", DT), hold_night(str(tmp_path), "shop", DT):
        pass


def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with hold_night(str(tmp_path), "shop", DT):
        pass


def test_jobs_of_one_run_share_the_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = start_holder(tmp_path, "scheduled__2026-11-20")
    second = start_holder(tmp_path, "scheduled__2026-11-20", "encode_latents")
    first.communicate()  # the one that came first has ended; the night is still theirs
    with pytest.raises(PassingError, match="scheduled__2026-11-20"), hold_night(str(tmp_path), "shop", DT):
        pass
    monkeypatch.setenv(RUN_VARIABLE, "scheduled__2026-11-20")
    with hold_night(str(tmp_path), "shop", DT):
        second.communicate()
    monkeypatch.setenv(RUN_VARIABLE, "manual")
    with hold_night(str(tmp_path), "shop", DT):
        pass


def test_a_job_that_outlived_its_worker_is_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outliving = start_holder(tmp_path, "scheduled__2026-11-20")
    monkeypatch.setenv(RUN_VARIABLE, "scheduled__2026-11-20")
    with hold_night(str(tmp_path), "shop", DT), hold_job(str(tmp_path), "shop", DT, "encode_latents"):
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
    holder = start_holder(Path(settings.paths.locks_folder), "scheduled")
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
