"""The inline transport, driven by the real client against a server that misbehaves as told."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.llm import failures
from recsae_lib.platform.llm.budget import Spending
from recsae_lib.platform.llm.ledger import Ledger
from recsae_lib.platform.llm.request_files import estimate_prompt_tokens, write_requests
from recsae_lib.platform.llm.transports import submit


class Exchange:
    """The requests file and the ledger of one run."""

    def __init__(self, folder: Path, requests: int) -> None:
        self.requests_path, self.ledger_path = folder / "requests.jsonl", folder / "ledger.sqlite"
        self.ids = [f"latent-{latent}-{latent:032x}" for latent in range(requests)]
        self.progress: list[tuple[int, int]] = []
        write_requests(self.requests_path, ({"custom_id": name, "body": body(name)} for name in self.ids))

    def open(self, settings: LlmSettings) -> AbstractContextManager[Ledger]:
        return Ledger.open(self.ledger_path, "2026-11-20 tests", self.requests_path, settings)

    def run(self, url: str | None, **changes: Any) -> dict[str, dict[str, Any]]:
        settings = LlmSettings(
            **{"base_url": url, "model": "small", "concurrency": 1, "retries": 0, "timeout_seconds": 20.0} | changes
        )
        with self.open(settings) as ledger:
            ledger.intend("inline")
            submit(ledger, settings, lambda done, total: self.progress.append((done, total)))
        return self.answers()

    def answers(self) -> dict[str, dict[str, Any]]:
        with self.open(LlmSettings()) as ledger:
            return {request["custom_id"]: line for request, line in ledger.read_answers() if line is not None}

    def failures(self) -> dict[str, str]:
        return {name: line["error"]["code"] for name, line in self.answers().items() if line["error"]}


def body(name: str) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": name}], "temperature": 0.6, "max_tokens": 5}


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path, requests=4)


def test_every_request_is_asked_once_and_its_answer_lands(server: Any, exchange: Exchange) -> None:
    server.reply = lambda request: server.says("answer to " + request.body["messages"][0]["content"])
    answers = exchange.run(server.url, concurrency=2)
    assert server.asked == dict.fromkeys(exchange.ids, 1)
    for request in server.received:
        assert request.path == "/v1/chat/completions"
        assert request.body == body(request.custom_id)
        assert request.headers["authorization"] == "Bearer none"
    for name in exchange.ids:
        assert answers[name]["error"] is None
        assert answers[name]["response"]["status_code"] == 200
        assert answers[name]["response"]["body"]["choices"][0]["message"]["content"] == f"answer to {name}"
    assert exchange.progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_the_pause_that_retry_after_names_is_kept(server: Any, tmp_path: Path) -> None:
    arrivals: list[float] = []

    def limit_once(request: Any) -> Any:
        arrivals.append(time.monotonic())
        return server.fails(429, **{"Retry-After": "1"}) if request.attempt == 1 else server.says("fine")

    server.reply = limit_once
    Exchange(tmp_path, requests=1).run(server.url, retries=1)
    assert len(arrivals) == 2
    assert arrivals[1] - arrivals[0] >= 1.0  # the client's own first pause is at most half a second


@pytest.mark.parametrize("broken", [500, 503, "drop", "cut"])
def test_a_passing_failure_is_tried_again(server: Any, tmp_path: Path, broken: int | str) -> None:
    def fail_once(request: Any) -> Any:
        if request.attempt > 1:
            return server.says("fine")
        return server.fails(broken) if isinstance(broken, int) else server.breaks(broken)

    server.reply = fail_once
    exchange = Exchange(tmp_path, requests=1)
    exchange.run(server.url, retries=1)
    assert server.asked == {exchange.ids[0]: 2}
    assert exchange.failures() == {}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ("hang", "timeout"),
        ("drop", "connection"),
        ("cut", "connection"),
        (b'{"choices": [', "no_json"),
        (b"[" * 100_000, "no_json"),
        (500, "http_500"),
        (400, "http_400"),
    ],
)
def test_one_request_fails_for_good_and_the_others_are_answered(
    server: Any, exchange: Exchange, broken: int | str | bytes, code: str
) -> None:
    def break_one(request: Any) -> Any:
        if request.custom_id != exchange.ids[1]:
            return server.says("fine")
        if isinstance(broken, bytes):
            return server.sends(broken)
        return server.fails(broken) if isinstance(broken, int) else server.breaks(broken)

    server.reply = break_one
    exchange.run(server.url, timeout_seconds=0.5)
    assert exchange.failures() == {exchange.ids[1]: code}
    assert sorted(exchange.answers()) == exchange.ids
    assert exchange.progress[-1] == (4, 4)


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (401, "invalid_api_key", "OPENAI_API_KEY"),
        (403, "forbidden", "OPENAI_API_KEY"),
        (404, "model_not_found", "llm.model"),
        (429, "insufficient_quota", "credit"),
    ],
)
def test_a_server_that_refuses_is_asked_no_further(
    server: Any, tmp_path: Path, status: int, code: str, remedy: str
) -> None:
    server.reply = lambda _: server.fails(status, code)
    exchange = Exchange(tmp_path, requests=30)
    with pytest.raises(InputError, match=f"HTTP {status}.*scripted {status}") as refused:
        exchange.run(server.url, concurrency=2)
    assert remedy in refused.value.remedy
    assert len(server.received) <= 2
    assert exchange.answers() == {}


@pytest.mark.parametrize("status", [402, 405, 415])
def test_what_every_request_would_meet_ends_the_job_at_once(server: Any, tmp_path: Path, status: int) -> None:
    server.reply = lambda _: server.fails(status)
    with pytest.raises(InputError, match=f"HTTP {status}: scripted {status}"):
        Exchange(tmp_path, requests=30).run(server.url, concurrency=2)
    assert len(server.received) <= 2


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("requests", [2, 40])
def test_requests_that_are_refused_one_and_all_are_bad_input(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, requests: int
) -> None:
    monkeypatch.setattr(failures, "LONGEST_PAUSE_SECONDS", 0.02)
    server.reply = lambda _: server.fails(status)
    with pytest.raises(InputError, match=f"{status}: scripted {status}") as refused:
        Exchange(tmp_path, requests).run(server.url, concurrency=2, retries=2)
    assert "llm.tokens_field" in refused.value.remedy
    assert len(server.received) <= (2 if requests == 2 else 5 + 2 + 1)  # one more is under way when the breaker opens


@pytest.mark.parametrize("body", [b'{"error": {"message": "lost"}}', b'{"choices": []}', b"null"])
def test_a_response_without_completion_is_asked_again(server: Any, tmp_path: Path, body: bytes) -> None:
    exchange = Exchange(tmp_path, requests=3)
    broken = exchange.ids[1]
    server.reply = lambda request: server.sends(body) if request.custom_id == broken else server.says("fine")
    exchange.run(server.url, retries=1)
    assert exchange.failures() == {broken: "no_completion"}
    server.reply = lambda request: server.says("fine")
    exchange.run(server.url)
    assert exchange.failures() == {}
    assert server.asked == {name: 3 if name == broken else 1 for name in exchange.ids}


def test_what_was_refused_is_asked_again_where_that_is_wanted(server: Any, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, requests=4)
    settings = LlmSettings(base_url=server.url, model="small", concurrency=1, retries=0)
    usage = {"prompt_tokens": 7, "completion_tokens": 2}

    def says(content: str) -> Any:
        completion = {**json.loads(server.says(content).body), "usage": usage}
        return server.sends(json.dumps(completion).encode())

    def is_refused(_: Any, line: Any) -> bool:
        return line is None or "bad" in json.dumps(line)

    server.reply = lambda request: says("bad" if request.custom_id in exchange.ids[:2] else "fine")
    exchange.run(server.url)
    exchange.run(server.url)
    assert server.asked == dict.fromkeys(exchange.ids, 1)
    server.received.clear()
    server.reply = lambda request: says("fine")
    with exchange.open(settings) as ledger:
        assert ledger.ask_again(is_refused) == 2
        ledger.intend("inline")
        submit(ledger, settings, lambda done, total: None)
        assert ledger.spending() == Spending(6, 6 * 9, 0.0)  # what was replaced is paid for all the same
        assert ledger.ask_again(is_refused) == 0
    assert server.asked == dict.fromkeys(exchange.ids[:2], 1)
    # A server that charges once for a key would send the same answer again.
    assert [request.headers["idempotency-key"] for request in server.received] == [f"{x}-1" for x in exchange.ids[:2]]
    assert not any("bad" in json.dumps(line) for line in exchange.answers().values())


def test_a_server_that_is_not_there_is_named(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        with pytest.raises(PassingError, match=f"{url}.*connection") as refused:
            exchange.run(url)
    assert "base_url" in refused.value.remedy


def test_a_server_that_dies_is_given_up_and_the_rest_asked_later(server: Any, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, requests=40)
    served = exchange.ids[:3]
    server.reply = lambda request: server.says("fine") if request.custom_id in served else server.fails(500)
    with pytest.raises(PassingError, match="http_500"):
        exchange.run(server.url)
    assert len(server.received) == 3 + 5

    server.received.clear()
    server.reply = lambda _: server.says("fine")
    exchange.run(server.url)
    assert server.asked == dict.fromkeys(exchange.ids[3:], 1)
    assert exchange.failures() == {}

    server.received.clear()
    exchange.run(server.url)
    assert server.received == []


def test_requests_that_fail_again_do_not_give_the_server_up(server: Any, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, requests=12)
    healthy = exchange.ids[::2]
    server.reply = lambda request: server.says("fine") if request.custom_id in healthy else server.fails(400)
    exchange.run(server.url)
    exchange.run(server.url)
    assert server.asked == {name: 1 if name in healthy else 2 for name in exchange.ids}
    assert set(exchange.failures()) == set(exchange.ids[1::2])


def test_a_killed_run_leaves_what_was_paid_for(server: Any, exchange: Exchange) -> None:
    third_arrived = threading.Event()

    def serve_two(request: Any) -> Any:
        if request.custom_id in exchange.ids[:2]:
            return server.says("fine")
        third_arrived.set()
        return server.breaks("hang")

    server.reply = serve_two
    code = (
        "import sys; from pathlib import Path; from recsae_lib.config import LlmSettings;"
        "from recsae_lib.platform.llm.inline_transport import ask_pending;"
        "from recsae_lib.platform.llm.ledger import Ledger;"
        "settings = LlmSettings(base_url=sys.argv[3], model='small', concurrency=1)\n"
        "with Ledger.open(Path(sys.argv[1]), 'run', Path(sys.argv[2]), settings) as ledger:\n"
        "    ledger.intend('inline'); ask_pending(ledger, settings, print)"
    )
    arguments = [str(exchange.ledger_path), str(exchange.requests_path), server.url]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL, env={**os.environ, "NO_PROXY": "127.0.0.1"}
    )
    try:
        assert third_arrived.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert sorted(exchange.answers()) == exchange.ids[:2]

    server.received.clear()
    server.reply = lambda _: server.says("fine")
    exchange.run(server.url)
    assert server.asked == dict.fromkeys(exchange.ids[2:], 1)


def test_as_many_requests_are_under_way_as_the_settings_say(server: Any, tmp_path: Path) -> None:
    together, lock, under_way, most = threading.Barrier(3), threading.Lock(), 0, 0

    def count(_: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(20)  # three have to be here at once, or the barrier breaks
        with lock:
            under_way -= 1
        return server.says("fine")

    server.reply = count
    exchange = Exchange(tmp_path, requests=9)
    exchange.run(server.url, concurrency=3)
    assert most == 3
    assert exchange.failures() == {}


def test_the_key_of_the_environment_is_sent(server: Any, exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret\n")
    exchange.run(server.url, api_key_variable="MY_KEY")
    assert {request.headers["authorization"] for request in server.received} == {"Bearer secret"}


def test_openai_itself_needs_a_key(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        exchange.run(None)


@pytest.mark.parametrize(
    "address", ["localhost:8000/v1", "ftp://host/v1", "http:///v1", "http://[/v1", "http://host:port/v1"]
)
def test_an_address_that_is_none_is_refused(exchange: Exchange, address: str) -> None:
    with pytest.raises(InputError, match="no address of a server"):
        exchange.run(address)


class HeldLedger:
    """Lets no commit of answers begin until `released`; keeps how many answers each commit has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released, self.groups = threading.Event(), list[int]()
        land = Ledger.land

        def land_when_released(ledger: Ledger, answers: Any, shard: str | None = None) -> None:
            assert self.released.wait(20)
            self.groups.append(len(answers))
            land(ledger, answers, shard)

        monkeypatch.setattr(Ledger, "land", land_when_released)

    @staticmethod
    def asked(server: Any, at_least: int) -> int:
        """How many requests arrive, when none does any more."""
        deadline = time.monotonic() + 20
        while len(server.received) < at_least and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # for any beyond those
        return len(server.received)


def test_during_a_commit_half_as_many_more_are_sent(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, exchange = HeldLedger(monkeypatch), Exchange(tmp_path, requests=20)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(exchange.run, server.url, concurrency=4)
        asked = held.asked(server, 6)
        held.released.set()
        answers = run.result(20)
    assert asked == 4 + 2
    assert sum(held.groups[:2]) == 6
    assert len(answers) == sum(held.groups) == 20


def test_one_at_a_time_each_answer_is_on_disk_before_the_next(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, exchange = HeldLedger(monkeypatch), Exchange(tmp_path, requests=3)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(exchange.run, server.url, concurrency=1)
        asked = held.asked(server, 1)
        held.released.set()
        run.result(20)
    assert asked == 1
    assert held.groups == [1, 1, 1]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_ledger_that_cannot_be_written_ends_the_job(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, concurrency: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Ledger, "land", fail)
    with pytest.raises(OSError, match="No space left"):
        Exchange(tmp_path, requests=40).run(server.url, concurrency=concurrency)
    assert len(server.received) < 40


def test_a_compressed_answer_is_read(server: Any, tmp_path: Path) -> None:
    reply = server.says("fine")
    headers = {**reply.headers, "Content-Encoding": "gzip"}
    server.reply = lambda _: dataclasses.replace(reply, body=gzip.compress(reply.body), headers=headers)
    exchange = Exchange(tmp_path, requests=1)
    exchange.run(server.url)
    assert exchange.failures() == {}


def test_the_proxy_of_the_environment_is_asked_unless_excepted(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Exchange(tmp_path, requests=2).run(server.url)
    monkeypatch.delenv("NO_PROXY")
    Exchange(tmp_path, requests=3).run("http://llm.invalid:8000/v1")
    direct, through_proxy = "/v1/chat/completions", "http://llm.invalid:8000/v1/chat/completions"
    assert [request.path for request in server.received] == [direct, direct, through_proxy]


def test_a_redirect_is_followed(server: Any, tmp_path: Path) -> None:
    def move(request: Any) -> Any:
        moved = server.fails(307, **{"Location": f"{server.url}/moved"})
        return server.says("fine") if request.path == "/v1/moved" else moved

    server.reply = move
    exchange = Exchange(tmp_path, requests=1)
    exchange.run(server.url)
    assert exchange.failures() == {}
    assert [request.body for request in server.received] == [body(exchange.ids[0])] * 2


def test_after_many_failures_one_request_at_a_time_goes_out(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "LONGEST_PAUSE_SECONDS", 0.02)
    lock, under_way, most = threading.Lock(), set[int](), dict[int, int]()

    def reply(_: Any) -> Any:
        with lock:
            number = len(most) + 1
            under_way.add(number)
            most.update({other: max(most.get(other, 0), len(under_way)) for other in under_way})
        time.sleep(0.1)  # for any that do not wait for this one
        with lock:
            under_way.remove(number)
        return server.fails(500) if number <= 20 else server.says("fine")

    server.reply = reply
    exchange = Exchange(tmp_path, requests=30)
    exchange.run(server.url, concurrency=8, retries=20)
    # The eighth failure opens the breaker, and eight more may be under way by then.
    assert [most[number] for number in range(17, 22)] == [1] * 5
    assert max(most[number] for number in most if number > 21) > 1
    assert exchange.failures() == {}


def test_as_many_failed_probes_as_retries_give_the_server_up(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "LONGEST_PAUSE_SECONDS", 0.02)
    server.reply = lambda _: server.fails(500)
    with pytest.raises(PassingError, match="every one of the last requests"):
        Exchange(tmp_path, requests=40).run(server.url, concurrency=1, retries=2)
    assert len(server.received) == 5 + 2


def test_what_an_answer_leaves_of_the_budget_is_for_others(server: Any, tmp_path: Path) -> None:
    said = server.says("fine")
    completion = {**json.loads(said.body), "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    server.reply = lambda _: dataclasses.replace(said, body=json.dumps(completion).encode())
    exchange = Exchange(tmp_path, requests=6)
    share = estimate_prompt_tokens(body(exchange.ids[0])) + 5
    exchange.run(server.url, budget_tokens=5 * 2 + share)
    assert exchange.failures() == {}
    assert len(server.received) == 6


def test_the_job_ends_when_the_last_answer_is_on_disk(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, exchange = HeldLedger(monkeypatch), Exchange(tmp_path, requests=2)
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(exchange.run, server.url, concurrency=4)
        held.asked(server, 2)
        assert not run.done()
        held.released.set()
        assert len(run.result(20)) == 2
    assert exchange.progress[-1] == (2, 2)


def test_failures_between_answers_do_not_give_up_a_server(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "LONGEST_PAUSE_SECONDS", 0.02)
    server.reply = lambda request: server.fails(500) if request.attempt == 1 else server.says("fine")
    exchange = Exchange(tmp_path, requests=12)
    exchange.run(server.url, concurrency=1, retries=1)
    assert exchange.failures() == {}
