"""Locks in S3, against a server of its protocol: shared within a run, taken from the killed, lost by the stalled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest

from recsae_lib.config import Settings
from recsae_lib.errors import PassingError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.storage import leases
from recsae_lib.platform.storage.leases import TakenError, hold_lease
from recsae_lib.platform.storage.locks import RUN_VARIABLE, hold_night
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject
from tests.object_storage import object_storage

DT = date(2026, 11, 20)
HOLDER = """
import sys
from recsae_lib.platform.storage import leases
leases.SECONDS_TO_LIVE = float(sys.argv[3])
with leases.hold_lease(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("locks") as address:
        yield address


@pytest.fixture
def address(bucket: str, request: pytest.FixtureRequest) -> str:
    return f"{bucket}/{request.node.name}/night.lock"


def start_holder(address: str, run: str, seconds: float = 60.0) -> subprocess.Popen[str]:
    """Start a process that holds a lease until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, address, run, str(seconds)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def wait_to_take(address: str, run: str) -> ExitStack:
    """Take a lease as soon as it is free."""
    ends = time.monotonic() + 60
    while True:
        with ExitStack() as held:
            try:
                held.enter_context(hold_lease(address, run))
            except TakenError:
                assert time.monotonic() < ends
                continue
            return held.pop_all()


def test_a_run_shares_its_lease_until_all_its_holders_are_done(address: str) -> None:
    with ExitStack() as outer:
        outer.enter_context(hold_lease(address, "first"))
        with hold_lease(address, "first"), pytest.raises(TakenError) as taken, hold_lease(address, "second"):
            pass
        assert taken.value.lease.run == "first"
        assert len(taken.value.lease.holders) == 2
        with pytest.raises(TakenError), hold_lease(address, "second"):
            pass
    with hold_lease(address, "second"), pytest.raises(TakenError), hold_lease(address, "first"):
        pass


def test_a_living_holder_keeps_it_and_a_killed_one_loses_it(address: str) -> None:
    holder = start_holder(address, "killed", seconds=4.0)
    (lease, _), lives_until = leases._Lock(address).read(), time.monotonic() + 6
    assert lease is not None
    while time.monotonic() < lives_until:  # longer than it was given at first
        with pytest.raises(TakenError), hold_lease(address, "other"):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with pytest.raises(TakenError), hold_lease(address, "other"):
        pass
    with wait_to_take(address, "other"):
        after, _ = leases._Lock(address).read()
        assert after is not None
        assert (after.run, len(after.holders)) == ("other", 1)
        assert after.since > lease.since


def test_a_holder_that_stalled_and_lost_it_stops(address: str) -> None:
    holder = start_holder(address, "stalled", seconds=2.0)
    holder.send_signal(signal.SIGSTOP)
    with wait_to_take(address, "other"):
        holder.send_signal(signal.SIGCONT)
        _, err = holder.communicate(timeout=60) if holder.wait(60) else ("", "")
        assert holder.returncode == -signal.SIGTERM, err


def test_of_two_that_find_it_free_at_once_one_takes_it(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second takes it between the first one's look and its write."""
    read, quick = ObjectStore.read, ExitStack()

    def read_and_be_late(store: ObjectStore, name: str) -> StoredObject:
        found = read(store, name)
        monkeypatch.setattr(ObjectStore, "read", read)
        quick.enter_context(hold_lease(address, "quick"))
        return found

    for _ in range(2):  # there is no object, and there is one that nobody holds
        monkeypatch.setattr(ObjectStore, "read", read_and_be_late)
        with pytest.raises(TakenError, match="quick"), hold_lease(address, "late"):
            pass
        quick.close()


def test_many_of_one_run_come_and_go_at_once(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SECONDS_BETWEEN", 0.01)
    monkeypatch.setattr(leases, "TRIES", 500)

    def come_and_go(_: int) -> None:
        with hold_lease(address, "night"):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(12)))


def test_a_job_of_another_run_is_refused_with_the_holder(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"var": str(tmp_path), "locks": f"{bucket}/nights/"}
    context = JobContext("ingest_dataset", Settings.model_validate({"namespace": "shop", "paths": paths}), DT)
    monkeypatch.setenv(RUN_VARIABLE, "scheduled")
    with hold_night(f"{bucket}/nights", "shop", DT):
        execute(context, lambda _: None)
        monkeypatch.setenv(RUN_VARIABLE, "manual")
        with pytest.raises(PassingError, match=r"shop of 2026-11-20 is under way: scheduled on .* since 20"):
            execute(context, lambda _: None)
    execute(context, lambda _: None)
    assert not (tmp_path / "locks").exists()


def test_storage_that_refuses_or_does_not_answer_is_named(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PassingError, match="NoSuchBucket") as refused, hold_lease("s3://absent/night.lock", "night"):
        pass
    assert "paths.locks" in refused.value.remedy
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PassingError, match="cannot be read"), hold_lease(f"{bucket}/night.lock", "night"):
        pass
