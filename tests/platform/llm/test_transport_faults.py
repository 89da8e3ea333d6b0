"""Both transports, through the real client, against a server that fails in every way, with kills at every step."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from recsae_lib.config import LlmSettings
from recsae_lib.platform.llm.answers import AnswerSchema, ReadJson, read_json
from recsae_lib.platform.llm.ledger import Ledger, RequestRecord
from recsae_lib.platform.llm.request_files import write_requests
from tests.openai_server import OpenaiServer
from tests.platform.llm.transport_client import CANARY, GIVEN_UP, KILLED, OUTPUT, run_step

WANTED = AnswerSchema("concept", {"required": ["label", "description"]})
SEEDS = 320
MOST_STARTS = 60
PROCESSES = get_context("forkserver")
ONE_AT_A_TIME = threading.Lock()  # starting a process looks at how the others ended, which only one thread may
PROCESSES.set_forkserver_preload(["tests.platform.llm.transport_client"])


class Job:
    """One job on one folder, run as processes until it is done."""

    def __init__(self, folder: Path, seed: int, transport: str) -> None:
        self.folder, self.random, self.transport = folder, random.Random(seed), transport
        self.server = OpenaiServer(seed, faults=0.25)
        self.ids = [f"latent-{latent}-{latent + 1:032x}" for latent in range(self.random.randint(4, 9))]
        folder.mkdir()
        body = {"messages": [{"role": "user", "content": "x" * 60}], "max_tokens": 5}
        write_requests(folder / "requests.jsonl", ({"custom_id": name, "body": body} for name in self.ids))
        self.exits: Counter[int] = Counter()

    def run(self, kills: bool) -> None:
        """Submit and collect, each again until it ends well; in the end the server keeps from failing."""
        step = "submit"
        for start in range(MOST_STARTS):
            if start == MOST_STARTS // 2:
                self.server.faults = 0.0
            code = self.start(step, kills and start < MOST_STARTS // 2)
            self.exits[code] += 1
            if code == 0 and step == "collect":
                return
            if code == 0:
                step = "collect"
            elif code == 2:  # all have failed, and go again when they are submitted again
                step = "submit"
        raise AssertionError(f"{step} does not end: {self.exits}")

    def start(self, step: str, kill: bool) -> int:
        """Run one process; `kill` ends most of them at a commit, or before or after the server handles a call."""
        how = self.random.choice(("commit", "call", "none")) if kill else "none"
        moment, before = self.random.randint(1, 8), self.random.random() < 0.5
        settings = {
            "transport": self.transport,
            **{"base_url": self.server.url, "concurrency": 3, "retries": 3, "timeout_seconds": 0.5},
            **{"price_per_million_prompt_tokens": 1.0, "price_per_million_completion_tokens": 2.0},
            "batch_enqueued_tokens": 60,  # three requests
            "batch_poll_seconds": 0.01,
        }
        until_done = self.random.random() < 0.7
        arguments = (
            step,
            until_done,
            self.folder,
            "2026-11-20 job",
            settings,
            moment if how == "commit" else None,
            before,
        )
        process = PROCESSES.Process(target=run_step, args=arguments)
        started, first = threading.Event(), self.server.calls

        def kill_at(number: int, when: str) -> None:
            if number - first == moment and when == ("before" if before else "after"):
                started.wait(10)
                os.kill(process.pid or 0, signal.SIGKILL)

        self.server.on_call = kill_at if how == "call" else lambda number, when: None
        with ONE_AT_A_TIME:
            process.start()
        started.set()
        wait([process.sentinel])
        with ONE_AT_A_TIME:
            process.join()
            code = process.exitcode
            process.close()
        return KILLED if code == -signal.SIGKILL else int(code or 0)

    def check(self) -> set[str]:
        """Every request has one answer or failure, none was paid for twice; returns the answered ones."""
        server = self.server
        server.work_off()
        assert set(server.charged) <= set(self.ids)
        assert not [name for name, times in server.charged.items() if times > 1], server.charged
        self.look_for_the_key()
        outcomes: dict[str, str] = {}
        with Ledger.open(
            self.folder / "ledger.sqlite", "2026-11-21 job", self.folder / "requests.jsonl", LlmSettings()
        ) as ledger:
            for request, line in ledger.read_answers():
                custom_id = request["custom_id"]
                assert custom_id not in outcomes
                answer = read_json(line, WANTED)
                if isinstance(answer, ReadJson):
                    assert answer.value["label"] == f"Concept {custom_id[-6:]}"
                outcomes[custom_id] = "concept" if isinstance(answer, ReadJson) else answer.reason
            records = {request["custom_id"]: record for request, record in ledger.records()}
        assert sorted(outcomes) == sorted(self.ids)
        reasons = {
            "concept": "concept",
            "refusal": "the model refused",
            "empty": "empty answer",
            "broken": "the answer is no JSON",
            "incomplete": "the answer breaks the schema: required at $",
            "other form": "the server's line has another form than an answer",
        }
        for name in self.ids:
            if records[name].state == "answered":
                assert outcomes[name] == reasons[server.kinds[name]]
        assert all(record.reused for record in records.values())
        answered = {name for name, record in records.items() if record.state == "answered"}
        # A server may have done work whose result never came through, and which failed before it was asked again.
        assert answered <= set(server.charged)
        if answered == set(server.charged) and "other form" not in server.kinds.values():
            self._compare_totals(list(records.values()))
        return answered

    def look_for_the_key(self) -> None:
        """It is in no file: not in the ledger, what is kept of batches, nor in what the processes said."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert self.folder / OUTPUT in files
        assert [path for path in files if CANARY.encode() in path.read_bytes()] == []

    def _compare_totals(self, records: list[RequestRecord]) -> None:
        server = self.server
        assert sum(record.prompt_tokens or 0 for record in records) == server.prompt_tokens
        assert sum(record.completion_tokens or 0 for record in records) == server.completion_tokens
        cost = (server.prompt_tokens + 2 * server.completion_tokens) / 1e6
        assert sum(record.cost or 0.0 for record in records) == pytest.approx(cost)


def run_seed(folder: Path, seed: int) -> Counter[int]:
    job = Job(folder / str(seed), seed, "inline" if seed % 2 else "batch")
    try:
        job.run(kills=True)
        answered = job.check()
        sent, job.server.faults = job.server.sent.copy(), 0.0
        job.run(kills=False)  # what failed goes again, and nothing else
        assert job.check() == set(job.server.charged) == set(job.ids)
        assert job.server.sent - sent == Counter(set(job.ids) - answered)
    except BaseException as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    finally:
        job.server.close()
    return job.exits


@pytest.mark.integration
def test_whatever_fails_nothing_is_lost_and_nothing_paid_twice(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        exits = sum(pool.map(lambda seed: run_seed(tmp_path, seed), range(SEEDS)), Counter[int]())
    assert set(exits) <= {0, 2, 5, GIVEN_UP, KILLED}
    assert exits[KILLED] > SEEDS / 2  # the kills did happen
