"""The ledger on machines that share no disk (folders of their own), with a server of S3's protocol between them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError, UnfinishedError
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import write_requests
from recsae_lib.platform.llm.shared_ledger import ledger_from
from recsae_lib.platform.llm.transports import collect, submit
from tests.object_storage import object_storage
from tests.openai_server import OpenaiServer

IDS = [f"latent-{latent}-{latent:032x}" for latent in range(5)]
HOLDER = """
import sys
from pathlib import Path
from recsae_lib.platform.llm.shared_ledger import ledger_from
var = Path(sys.argv[2])
with ledger_from(sys.argv[1], var, var / "llm/shop.sqlite", var / "work/requests.jsonl", False):
    (var / "llm/shop.sqlite").write_text("what only this machine knows")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("ledgers") as address:
        yield address


@pytest.fixture
def address(bucket: str, request: pytest.FixtureRequest) -> str:
    return f"{bucket}/{request.node.name}"


@dataclass(frozen=True)
class Machine:
    var: Path
    address: str

    @property
    def ledger(self) -> Path:
        return self.var / "llm" / "shop.sqlite"

    @property
    def requests(self) -> Path:
        return self.var / "work" / "requests.jsonl"

    @contextmanager
    def lent(self, fetches_requests: bool = False) -> Iterator[None]:
        with ledger_from(self.address, self.var, self.ledger, self.requests, fetches_requests):
            yield

    @contextmanager
    def opened(self, settings: LlmSettings, run: str, fetches_requests: bool = False) -> Iterator[Ledger]:
        with self.lent(fetches_requests), Ledger.open(self.ledger, run, self.requests, settings) as ledger:
            yield ledger

    def submit(self, settings: LlmSettings, run: str) -> None:
        body = {"messages": [{"role": "user", "content": "x" * 60}], "max_tokens": 5}
        self.requests.parent.mkdir(parents=True, exist_ok=True)
        write_requests(self.requests, ({"custom_id": name, "body": body} for name in IDS))
        with self.opened(settings, run) as ledger:
            ledger.intend(settings.transport)
            submit(ledger, settings, lambda done, total: None)

    def start_holder(self) -> subprocess.Popen[str]:
        """Start a process that has the ledger until its standard input ends."""
        command = [sys.executable, "-c", HOLDER, self.address, str(self.var)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder


@pytest.fixture
def machines(tmp_path: Path, address: str) -> list[Machine]:
    return [Machine(tmp_path / name, address) for name in "abc"]


def test_one_submits_another_collects_and_a_third_asks_nothing(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    # Two requests may wait at the server: what is left is sent by who collects.
    settings = LlmSettings(transport="batch", base_url=server.url, batch_enqueued_tokens=40, batch_poll_seconds=0.01)
    first, second, third = machines
    first.submit(settings, "2026-11-20 job")
    assert len(server.batches) == 1
    with (
        pytest.raises(UnfinishedError),
        second.opened(settings, "2026-11-20 job", fetches_requests=True) as ledger,
    ):
        collect(ledger, settings, lambda done, total: None, wait=False)
    with first.opened(settings, "2026-11-20 job", fetches_requests=True) as ledger:
        collect(ledger, settings, lambda done, total: None, wait=True)
        assert len(list(ledger.read_answers())) == len(IDS)
    assert server.charged == dict.fromkeys(IDS, 1)
    third.submit(settings, "2026-11-21 job")
    assert server.sent == dict.fromkeys(IDS, 1)
    server.close()


def test_the_ledger_of_a_killed_job_stays_until_a_job_there_ends(machines: list[Machine]) -> None:
    first, second, _ = machines
    with second.lent():
        second.ledger.write_text("older")
    holder = first.start_holder()
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with pytest.raises(InputError, match=r"shop\.sqlite is on .*, since 20") as refused, second.lent():
        pass
    assert "delete " in refused.value.remedy
    assert second.ledger.read_text() == "older"
    with first.lent():
        assert first.ledger.read_text() == "what only this machine knows"
    with second.lent():
        assert second.ledger.read_text() == "what only this machine knows"
        second.ledger.write_text("newer")
    with first.lent():
        assert first.ledger.read_text() == "newer"


def test_a_job_that_fails_brings_it_back_too(machines: list[Machine]) -> None:
    first, second, _ = machines

    def fail() -> None:
        with first.lent():
            first.ledger.write_text("as far as it came")
            raise ValueError("the job's own")

    with pytest.raises(ValueError, match="the job's own"):
        fail()
    with second.lent():
        assert second.ledger.read_text() == "as far as it came"


def test_two_processes_of_one_machine_do_not_share_it(machines: list[Machine]) -> None:
    first, second, _ = machines
    holder = first.start_holder()
    with pytest.raises(InputError, match="in use by another process"), first.lent():
        pass
    with pytest.raises(InputError, match="is on "), second.lent():
        pass
    holder.communicate()
    with second.lent():
        assert second.ledger.read_text() == "what only this machine knows"


def test_files_of_batches_come_and_go_and_large_ones_go_in_parts(machines: list[Machine]) -> None:
    first, second, _ = machines
    large = bytes(range(256)) * 2**16  # 16 MiB
    with first.lent():
        folder = first.ledger.with_suffix("")
        folder.mkdir()
        (folder / "one.jsonl").write_bytes(large)
        (folder / "two.jsonl").write_text("2")
        first.ledger.write_text("")
    bucket, _, prefix = first.address.removeprefix("s3://").partition("/")
    assert "-" in boto3.client("s3").head_object(Bucket=bucket, Key=f"{prefix}/llm/shop/one.jsonl")["ETag"]
    with second.lent():
        folder = second.ledger.with_suffix("")
        assert (folder / "one.jsonl").read_bytes() == large
        (folder / "one.jsonl").unlink()
    with first.lent():
        assert [path.name for path in first.ledger.with_suffix("").iterdir()] == ["two.jsonl"]


def test_storage_that_fails_at_the_end_leaves_the_ledger_here(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)  # of the same buckets, and can stop
    storage.start()
    _, port = storage.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    first, second, _ = machines

    def lose_storage() -> None:
        with first.lent():
            first.ledger.write_text("landed")
            storage.stop()

    with pytest.raises(PassingError, match="cannot be fetched or brought back") as failed:
        lose_storage()
    assert "start the job again on this machine" in failed.value.remedy
    monkeypatch.undo()
    with pytest.raises(InputError, match="is on "), second.lent():
        pass
    with first.lent():
        assert first.ledger.read_text() == "landed"
    with second.lent():
        assert second.ledger.read_text() == "landed"


@pytest.mark.parametrize("key", ["../../../.bashrc", "..", "a/b", "a\\b"])
def test_a_key_in_s3_is_no_way_out_of_the_folder(address: str, tmp_path: Path, key: str) -> None:
    bucket, _, folder = address.removeprefix("s3://").partition("/")
    machine = Machine(tmp_path / "one" / "var", address)
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{folder}/llm/shop.sqlite", Body=b"")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{folder}/llm/shop/{key}", Body=b"alias ls=")
    with pytest.raises(InputError, match="A key in S3 is "), machine.lent():
        pass
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"alias ls="]
