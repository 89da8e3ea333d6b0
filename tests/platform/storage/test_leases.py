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
from recsae_lib.platform.storage import leases, object_store
from recsae_lib.platform.storage.holding import TakenError
from recsae_lib.platform.storage.leases import LostError, hold_lease
from recsae_lib.platform.storage.locks import RUN_VARIABLE, Fence, hold_night
from recsae_lib.platform.storage.object_store import ObjectStore, StoredObject
from tests.object_storage import object_storage

DT = date(2026, 11, 20)
HOLDER = """
import signal, sys, threading
from recsae_lib.errors import PassingError
from recsae_lib.platform.storage import leases
from recsae_lib.platform.storage.object_store import ObjectStore

def refuse(*_):
    raise PassingError("The storage refuses", "Wait")

_, address, run, seconds, *faults = sys.argv
leases.SECONDS_TO_LIVE = float(seconds)
if "ignore" in faults:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with leases.hold_lease(address, run):
    if "refuses" in faults:
        ObjectStore.write = refuse
    if "hangs" in faults:
        ObjectStore.read = lambda *_: threading.Event().wait()
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


def passes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the clock of the storage be ahead from now on."""
    time_of = object_store._time_of
    monkeypatch.setattr(object_store, "_time_of", lambda response: time_of(response) + seconds)


def start_holder(address: str, run: str, seconds: float = 60.0, *faults: str) -> subprocess.Popen[str]:
    """Start a process that holds a lease until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, address, run, str(seconds), *faults]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def holders(address: str) -> list[leases.LeaseHolder]:
    lease, _ = leases._Lock(address).read()
    return list(lease.holders.values())


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


def test_holders_of_one_run_share_a_lease_and_keep_others_out(address: str) -> None:
    with ExitStack() as outer:
        outer.enter_context(hold_lease(address, "first"))
        with hold_lease(address, "first"), pytest.raises(TakenError) as taken, hold_lease(address, "second"):
            pass
        assert (taken.value.holder.run, taken.value.holder.mode) == ("first", "write")
        with pytest.raises(TakenError), hold_lease(address, "second"):
            pass
    with hold_lease(address, "second"), pytest.raises(TakenError), hold_lease(address, "first"):
        pass


def test_a_living_holder_keeps_the_lease_a_killed_one_loses_it(address: str) -> None:
    holder = start_holder(address, "killed", seconds=4.0)
    ((before,), lives_until) = holders(address), time.monotonic() + 6
    while time.monotonic() < lives_until:  # longer than it was given at first
        with pytest.raises(TakenError), hold_lease(address, "other"):
            pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with pytest.raises(TakenError), hold_lease(address, "other"):
        pass
    with wait_to_take(address, "other"):
        (after,) = holders(address)
        assert (after.run, before.run) == ("other", "killed")
        assert after.since > before.since
        assert after.token > before.token


def test_a_paused_holder_stops_if_another_run_took_the_lease(address: str) -> None:
    holder = start_holder(address, "stalled", seconds=4.0)
    holder.send_signal(signal.SIGSTOP)
    with wait_to_take(address, "other"):
        holder.send_signal(signal.SIGCONT)
        _, err = holder.communicate(timeout=60) if holder.wait(60) else ("", "")
        assert holder.returncode == -signal.SIGTERM, err


def test_a_holder_that_cannot_renew_stops_before_its_end(address: str) -> None:
    """Before anybody else can take the lease; one that takes too long to save its state is killed."""
    ends = {"refuses": signal.SIGTERM, "hangs": signal.SIGTERM, "hangs ignore": signal.SIGKILL}
    started = {faults: start_holder(f"{address}-{faults}", faults, 8.0, *faults.split()) for faults in ends}
    for name, holder in started.items():
        assert holder.wait(60) == -ends[name]
        with pytest.raises(TakenError, match=name), hold_lease(f"{address}-{name}", "other"):
            pass
        assert "was not renewed in time: this run stops" in holder.communicate()[1]


def test_readers_share_a_lease_a_writer_has_it_alone(address: str) -> None:
    with hold_lease(address, "first", "read"), hold_lease(address, "second", "read") as second:
        with pytest.raises(TakenError, match="first"), hold_lease(address, "second"):
            pass
        assert [holder.mode for holder in holders(address)] == ["read", "read"]
        second.verify()
    with hold_lease(address, "second"), pytest.raises(TakenError), hold_lease(address, "first", "read"):
        pass


def test_whether_a_lease_is_held_still_says_the_storage(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The holder has slept and not noticed, so that its own clock says nothing."""
    with hold_lease(address, "asleep") as held:
        held.verify()
        passes(monkeypatch, leases.SECONDS_TO_LIVE + 1)
        with pytest.raises(LostError, match="asleep has lost the lock"):  # also where nobody has taken it yet
            held.verify()
        with hold_lease(address, "other") as other:
            assert other.token > held.token
            for ask in (held.verify, held.renew):
                with pytest.raises(LostError, match="asleep has lost the lock"):
                    ask()
            other.verify()
        with pytest.raises(LostError):
            held.renew()


def test_a_holder_past_its_own_end_asks_nobody(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lease(address, "late") as held:
        monkeypatch.setattr(leases, "clock", lambda: held.renewed + leases.SECONDS_TO_LIVE)
        monkeypatch.setattr(ObjectStore, "read", lambda *_: pytest.fail("asked"))
        with pytest.raises(LostError):
            held.verify()
        monkeypatch.undo()


def test_only_one_of_two_takes_a_lease_both_find_free(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_job_of_another_run_is_refused_and_told_who_holds_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"var": str(tmp_path), "locks": f"{bucket}/nights/"}
    context = JobContext("ingest_dataset", Settings.model_validate({"namespace": "shop", "paths": paths}), DT)
    monkeypatch.setenv(RUN_VARIABLE, "scheduled")
    with hold_night(f"{bucket}/nights", {"shop": "write"}, DT, "scheduled for shop", Fence()):
        execute(context, lambda _: None)
        monkeypatch.setenv(RUN_VARIABLE, "manual")
        with pytest.raises(PassingError, match=r"shop of 2026-11-20 is under way: scheduled for shop on .* since 20"):
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
