"""Sharding, landing and budgets of the batch transport, against a server that does as it is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, UnfinishedError
from recsae_lib.platform.llm import batch_transport
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import write_requests
from recsae_lib.platform.llm.transports import collect, submit
from tests.openai_server import OpenaiServer

TOKENS = 20  # of each prompt, as estimated: 60 bytes by 3


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenaiServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    yield server
    server.close()


class Night:
    """One night's requests against one ledger."""

    def __init__(self, folder: Path, server: OpenaiServer, latents: range, dt: str = "2026-11-20") -> None:
        self.folder, self.server, self.run = folder, server, f"{dt} tests"
        self.ids = [f"latent-{latent}-{latent + 1:032x}" for latent in latents]
        body = {"messages": [{"role": "user", "content": "x" * 3 * TOKENS}], "max_tokens": 5}
        write_requests(folder / "requests.jsonl", ({"custom_id": name, "body": body} for name in self.ids))

    @contextmanager
    def ledger(self, **changes: Any) -> Iterator[tuple[Ledger, LlmSettings]]:
        given = {"base_url": self.server.url, "batch_poll_seconds": 0.01, "retries": 1, **changes}
        settings = LlmSettings.model_validate({"transport": "batch", **given})
        with Ledger.open(self.folder / "ledger.sqlite", self.run, self.folder / "requests.jsonl", settings) as ledger:
            yield ledger, settings

    def submit(self, **changes: Any) -> None:
        with self.ledger(**changes) as (ledger, settings):
            ledger.intend("batch")
            submit(ledger, settings, ignore)

    def collect(self, wait: bool = True, **changes: Any) -> None:
        with self.ledger(**changes) as (ledger, settings):
            collect(ledger, settings, ignore, wait)

    def states(self) -> dict[str, str]:
        with self.ledger() as (ledger, _):
            return {request["custom_id"]: record.state for request, record in ledger.records()}

    def sizes(self) -> list[int]:
        """Requests in each batch that the server was given."""
        return [len(self.server.files[b["input_file_id"]].splitlines()) for b in self.server.batches.values()]


def ignore(done: int, total: int) -> None:
    pass


def test_shards_hold_what_one_file_may_hold(
    batches: OpenaiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_transport, "MOST_REQUESTS", 4)
    night = Night(tmp_path, batches, range(10))
    night.submit()
    assert night.sizes() == [4, 4, 2]
    night.collect()
    assert set(night.states().values()) == {"answered"}

    monkeypatch.setattr(
        batch_transport, "MOST_BYTES", 3 * len(batches.files["file0"].splitlines()[0]) + 9
    )  # a digit more
    Night(tmp_path, batches, range(10, 17)).submit()
    assert night.sizes()[3:] == [3, 3, 1]
    sent = [json.loads(line)["custom_id"] for file in list(batches.files.values())[:3] for line in file.splitlines()]
    assert sent == night.ids


def test_no_more_tokens_wait_than_the_account_may_have(batches: OpenaiServer, tmp_path: Path) -> None:
    night = Night(tmp_path, batches, range(8))
    night.submit(batch_enqueued_tokens=3 * TOKENS)
    assert night.sizes() == [3]
    with pytest.raises(UnfinishedError, match="8 of 8"):
        night.collect(wait=False, batch_enqueued_tokens=3 * TOKENS)
    assert night.sizes() == [3]
    night.collect(batch_enqueued_tokens=3 * TOKENS)
    assert night.sizes() == [3, 3, 2]
    assert set(batches.charged.values()) == {1}
    assert list((tmp_path / "ledger").iterdir()) == []


def test_another_night_waits_for_what_the_first_one_submitted(batches: OpenaiServer, tmp_path: Path) -> None:
    Night(tmp_path, batches, range(5)).submit()
    second = Night(tmp_path, batches, range(3, 7), dt="2026-11-21")
    second.submit()
    assert second.sizes() == [5, 2]
    second.collect()
    with second.ledger() as (ledger, _):
        assert [record.reused for _, record in ledger.records()] == [True, True, False, False]
    assert set(batches.charged.values()) == {1}


def test_a_lost_file_is_written_again_and_a_lost_batch_fails(batches: OpenaiServer, tmp_path: Path) -> None:
    night = Night(tmp_path, batches, range(4))
    night.submit(batch_enqueued_tokens=2 * TOKENS)
    for path in (tmp_path / "ledger").iterdir():
        path.unlink()
    batches.batches.clear()
    night.collect(batch_enqueued_tokens=2 * TOKENS)
    assert list(night.states().values()) == ["failed", "failed", "answered", "answered"]
    with night.ledger() as (ledger, _):
        assert ledger.last_failure() == "batch_gone: the server has the batch or its answers no more"
    night.submit()
    night.collect()
    assert set(night.states().values()) == {"answered"}
    assert set(batches.charged.values()) == {1}


@pytest.mark.parametrize(
    ("budget", "affordable"),
    [
        ({"budget_requests": 3}, 3),
        ({"budget_tokens": 4 * (TOKENS + 5) + 24}, 4),
        (
            {
                **{"budget_cost": 5 * (TOKENS + 2 * 5) / 1e6 + 1e-9, "price_per_million_prompt_tokens": 1.0},
                "price_per_million_completion_tokens": 2.0,
            },
            5,
        ),
    ],
)
@pytest.mark.parametrize("transport", ["batch", "inline"])
def test_a_budget_ends_the_job_before_it_is_passed(
    batches: OpenaiServer, tmp_path: Path, transport: str, budget: dict[str, Any], affordable: int
) -> None:
    night = Night(tmp_path, batches, range(9))

    def run(**changes: Any) -> None:
        with night.ledger(concurrency=4, **changes) as (ledger, settings):
            settings = settings.model_copy(update={"transport": transport})
            ledger.intend(transport)
            submit(ledger, settings, ignore)
            collect(ledger, settings, ignore, wait=True)

    with pytest.raises(InputError, match=f"{next(iter(budget))} = .* is used up: . of 9"):
        run(**budget)
    sent = sum(night.sizes()) if transport == "batch" else len(batches.charged)
    if "budget_requests" in budget or transport == "batch":
        assert sent == affordable
    spent = batches.prompt_tokens + batches.completion_tokens
    assert transport == "batch" or spent <= budget.get("budget_tokens", spent)
    with pytest.raises(InputError, match="is used up"):  # a restart of the same night has the same budget
        run(**budget)
    assert len(batches.charged) <= 9
    run()
    assert set(night.states().values()) == {"answered"}
    assert set(batches.charged.values()) == {1}


def test_a_server_without_batches_is_named(batches: OpenaiServer, tmp_path: Path) -> None:
    night = Night(tmp_path, batches, range(2))
    with pytest.raises(InputError, match="HTTP 404") as refused:
        night.submit(base_url=f"{batches.url}/elsewhere")
    assert "transport=inline" in refused.value.remedy


def test_one_process_at_a_time_holds_the_ledger(batches: OpenaiServer, tmp_path: Path) -> None:
    night = Night(tmp_path, batches, range(2))
    night.submit()
    reading, writing = os.pipe()
    with night.ledger():
        if (child := os.fork()) == 0:
            try:
                night.collect()
            except InputError as error:
                os.write(writing, error.cause.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
    os.close(writing)
    assert b"in use by another process" in os.read(reading, 1000)


def test_a_ledger_that_is_none_is_refused(batches: OpenaiServer, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match="cannot be used"):
        Night(tmp_path, batches, range(2)).submit()


def test_collecting_what_was_never_submitted_is_refused(batches: OpenaiServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 requests were never submitted"):
        Night(tmp_path, batches, range(2)).collect()
