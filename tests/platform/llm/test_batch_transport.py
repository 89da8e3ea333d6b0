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
from recsae_lib.errors import InputError, PassingError, UnfinishedError
from recsae_lib.platform.llm import batch_transport, failures
from recsae_lib.platform.llm.answers import AnswerSchema, RefusedAnswer, read_json
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


@pytest.mark.parametrize("no_file", [None, ""])
def test_a_batch_without_errors_has_no_file_of_them(batches: OpenaiServer, tmp_path: Path, no_file: str | None) -> None:
    batches.no_file = no_file
    night = Night(tmp_path, batches, range(3))
    night.submit()
    night.collect()
    assert set(night.states().values()) == {"answered"}


class Rewritten(OpenaiServer):
    """Writes the lines of a batch's answers otherwise."""

    def __init__(self, rewrite: Any) -> None:
        super().__init__(seed=1, faults=0.0)
        self.rewrite = rewrite

    def _add_file(self, content: bytes) -> str:
        if b'"response"' in content:
            lines = [json.dumps(self.rewrite(json.loads(line))) for line in content.splitlines()]
            content = "\n".join(lines).encode()
        return super()._add_file(content)


@pytest.fixture
def rewritten(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers: list[Rewritten] = []

    def open_server(rewrite: Any) -> Rewritten:
        servers.append(Rewritten(rewrite))
        return servers[-1]

    yield open_server
    for server in servers:
        server.close()


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda line: {"custom_id": line["custom_id"], "result": line["response"]["body"]},
        lambda line: {**line, "response": line["response"]["body"]},
        lambda line: {**line, "response": json.dumps(line["response"])},
        lambda line: {**line, "response": {**line["response"], "status_code": "200"}},
    ],
)
def test_lines_of_another_form_are_kept_and_not_paid_again(
    rewritten: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, rewrite: Any
) -> None:
    server = rewritten(rewrite)
    night = Night(tmp_path, server, range(3))
    night.submit()
    night.collect()
    night.submit()
    night.collect()
    assert server.charged == dict.fromkeys(night.ids, 1)
    assert "lines have another form than answers, first that of latent-0-" in caplog.text
    with night.ledger() as (ledger, _):
        answers = [read_json(line, AnswerSchema("x", {})) for _, line in ledger.read_answers()]
    for answer in answers:
        assert isinstance(answer, RefusedAnswer)
        assert answer.reason == "the server's line has another form than an answer"
        assert "Concept" in (answer.answer or "") or "choices" in (answer.answer or "")


def test_lines_that_name_no_request_are_kept_in_a_file(
    rewritten: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {"id": "nobody", "value": 1}
    server = rewritten(lambda line: odd if line["custom_id"].startswith("latent-1-") else line)
    night = Night(tmp_path, server, range(3))
    night.submit()
    night.collect(retries=0)
    assert list(night.states().values()) == ["answered", "failed", "answered"]
    (kept,) = (tmp_path / "ledger").iterdir()
    assert [json.loads(line) for line in kept.read_text().splitlines()] == [odd]
    assert f"1 lines name no request, the first is {json.dumps(odd)}; they are kept in {kept}" in caplog.text


def test_a_file_that_names_no_request_at_all_costs_nothing_more(
    rewritten: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "FIRST_PAUSE_SECONDS", 0.01)
    server = rewritten(lambda line: {"error": {"message": "try later"}})
    night = Night(tmp_path, server, range(3))
    night.submit()
    with pytest.raises(PassingError, match=r"no line of the file names a request; .*try later"):
        night.collect()
    assert set(night.states().values()) == {"submitted"}
    assert server.charged == dict.fromkeys(night.ids, 1)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (
            {"response": {"status_code": 400, "body": {"error": {"message": "no max_tokens here"}}}, "error": None},
            "http_400: no max_tokens here",
        ),
        ({"response": None, "error": "no such model"}, "error: no such model"),
        ({"response": None, "error": {"code": "c", "message": "no such model"}}, "c: no such model"),
    ],
)
def test_the_servers_sentence_is_told_where_all_lines_fail(
    rewritten: Any, tmp_path: Path, failure: dict[str, Any], told: str
) -> None:
    server = rewritten(lambda line: {"custom_id": line["custom_id"], **failure})
    night = Night(tmp_path, server, range(3))
    night.submit()
    with pytest.raises(InputError, match=f"failed all 3 requests, the last with {told}"):
        night.collect(retries=0)


@pytest.mark.parametrize("odd", [b'{"error": {"message": "lost"}}', b"null", b"[]", b"{"])
def test_odd_responses_of_200_create_no_batch_twice(
    batches: OpenaiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: bytes
) -> None:
    monkeypatch.setattr(failures, "FIRST_PAUSE_SECONDS", 0.01)
    route, calls = batches._route, [0]

    def some_are_odd(call: Any, body: bytes, fault: str | None) -> tuple[int, bytes]:
        calls[0] += 1
        done = route(call, body, fault)  # the work is done, and what is said of it is odd
        return (200, odd) if calls[0] in (1, 4, 5, 7, 9, 11) else done

    monkeypatch.setattr(batches, "_route", some_are_odd)
    night = Night(tmp_path, batches, range(3))
    night.submit(retries=4)
    night.collect(retries=4)
    assert set(night.states().values()) == {"answered"}
    assert len(batches.batches) == 1
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
