"""Calls of the inline transport in processes of their own, against a server that answers as told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.errors import InputError, PassingError
from recsae_lib.platform.llm import callers
from recsae_lib.platform.llm.chat_client import ChatClient
from tests.platform.llm.test_inline_transport import Exchange, body

REQUESTS, CONCURRENCY = 60, 6


class Processes:
    """The processes that a run starts, one however few its requests and processors are; and who made which call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started: list[Any] = []
        self.called_here: list[str] = []
        monkeypatch.setattr(callers, "REQUESTS_A_PROCESS", 1)
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        start, ask = callers._Process.start, ChatClient.ask

        async def noted_start(settings: LlmSettings) -> Any:
            self.started.append(await start(settings))
            return self.started[-1]

        async def noted_ask(client: ChatClient, custom_id: str, content: bytes) -> Any:
            self.called_here.append(custom_id)
            return await ask(client, custom_id, content)

        monkeypatch.setattr(callers._Process, "start", noted_start)
        monkeypatch.setattr(ChatClient, "ask", noted_ask)

    def wait_until_ready(self) -> None:
        """Return when they take calls. (The answers of the first calls wait for it.)"""
        ends = time.monotonic() + 120
        while not (self.started and all(process.is_ready for process in self.started)):
            assert time.monotonic() < ends
            time.sleep(0.01)

    def pids(self) -> list[int]:
        return [process._process.pid for process in self.started]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    processes = Processes(monkeypatch)
    yield processes
    assert processes.started
    assert not [pid for pid in processes.pids() if psutil.pid_exists(pid)]


def test_every_request_is_asked_once_by_whichever_process(server: Any, tmp_path: Path, processes: Processes) -> None:
    def answer(request: Any) -> Any:
        processes.wait_until_ready()
        return server.says("answer to " + request.body["messages"][0]["content"])

    server.reply = answer
    exchange = Exchange(tmp_path, REQUESTS)
    answers = exchange.run(server.url, concurrency=CONCURRENCY)
    assert server.asked == dict.fromkeys(exchange.ids, 1)
    here = set(processes.called_here)
    assert CONCURRENCY <= len(here) < REQUESTS
    for request in server.received:
        name = request.custom_id
        assert request.body == body(name)
        assert request.headers["idempotency-key"] == name
        assert answers[name]["response"]["body"]["choices"][0]["message"]["content"] == f"answer to {name}"
    there = next(request for request in server.received if request.custom_id not in here)
    assert {**there.headers, **dict.fromkeys(("idempotency-key", "x-client-request-id", "content-length"))} == {
        **server.received[0].headers,
        **dict.fromkeys(("idempotency-key", "x-client-request-id", "content-length")),
    }


def test_failures_there_are_what_they_are_here(server: Any, tmp_path: Path, processes: Processes) -> None:
    failing = {10: 500, 20: 400, 30: "drop", 40: "cut", 50: "no json"}
    codes = {10: "http_500", 20: "http_400", 30: "connection", 40: "connection", 50: "no_json"}

    def answer(request: Any) -> Any:
        processes.wait_until_ready()
        how = failing.get(exchange.ids.index(request.custom_id))
        if how is None:
            return server.says("fine")
        if how == "no json":
            return server.sends(b"{")
        return server.fails(how) if isinstance(how, int) else server.breaks(how)

    server.reply = answer
    exchange = Exchange(tmp_path, REQUESTS)
    exchange.run(server.url, concurrency=CONCURRENCY)
    assert exchange.failures() == {exchange.ids[number]: code for number, code in codes.items()}
    assert len(exchange.answers()) == REQUESTS


def test_limits_that_a_server_names_there_hold_all(server: Any, tmp_path: Path, processes: Processes) -> None:
    arrivals: list[float] = []

    def answer(request: Any) -> Any:
        processes.wait_until_ready()
        arrivals.append(time.monotonic())
        reply = server.says("fine")
        if len(arrivals) == 2:
            reply.headers.update({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s"})
        return reply

    server.reply = answer
    Exchange(tmp_path, 4).run(server.url, concurrency=1)
    assert len(processes.called_here) < 4
    assert arrivals[2] - arrivals[1] >= 1.0


def test_a_refusal_there_ends_the_job_and_keeps_the_answers(server: Any, tmp_path: Path, processes: Processes) -> None:
    answered: list[str] = []

    def answer(request: Any) -> Any:
        processes.wait_until_ready()
        if request.custom_id not in processes.called_here:
            return server.fails(401, "invalid_api_key")
        answered.append(request.custom_id)
        return server.says("fine")

    server.reply = answer
    exchange = Exchange(tmp_path, REQUESTS)
    with pytest.raises(InputError, match="HTTP 401"):
        exchange.run(server.url, concurrency=CONCURRENCY)
    assert sorted(exchange.answers()) == sorted(answered)


def test_a_killed_process_ends_the_job_and_the_next_goes_on(server: Any, tmp_path: Path, processes: Processes) -> None:
    answered: list[str] = []

    def answer(request: Any) -> Any:
        processes.wait_until_ready()
        if request.custom_id not in processes.called_here:
            for pid in processes.pids():
                psutil.Process(pid).kill()
            return server.breaks("drop")
        answered.append(request.custom_id)
        return server.says("fine")

    server.reply = answer
    exchange = Exchange(tmp_path, REQUESTS)
    with pytest.raises(PassingError, match="has ended in the middle of its calls"):
        exchange.run(server.url, concurrency=CONCURRENCY)
    landed = exchange.answers()
    assert sorted(landed) == sorted(answered)

    server.received.clear()
    server.reply = lambda _: server.says("fine")
    exchange.run(server.url, concurrency=CONCURRENCY)
    assert server.asked == dict.fromkeys(set(exchange.ids) - set(landed), 1)
    assert exchange.failures() == {}


def test_they_end_when_the_process_that_started_them_is_killed(server: Any, tmp_path: Path) -> None:
    settings = LlmSettings(base_url=server.url, model="small").model_dump_json()
    parent = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', '{callers.__name__}'], stdin=subprocess.PIPE)\n"
        "child.stdin.write(sys.argv[1].encode() + b'\\n'); child.stdin.flush()\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent, settings], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.stdout.readline()  # "ready", of the child
        process.kill()
    psutil.wait_procs([child], timeout=60)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
