"""A loopback server of the OpenAI protocols for files, batches and chat: it charges for its work, and fails at will.

It honours Idempotency-Key on chat completions, and on nothing else.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.loopback import Call, Loopback

CHAT_FAULTS = ("429", "429 soon", "500", "timeout", "drop", "drop after", "cut", "no json", "no completion")
ENDS = ("completed", "completed", "half failed", "expired", "cancelled", "queue full")
CONTENTS = ("concept", "concept", "concept", "refusal", "empty", "broken", "incomplete")


class OpenaiServer:
    """Everything it decides follows from `seed`; `faults` is the share of calls that go wrong.

    What goes wrong tells the key of the call, as careless gateways do.

    A test sets `on_call`, called with (number of the call, "before" or "after" it is handled), to kill its client, and
    `answer`, which makes the content of an answer of a request's body; without it, contents are of every kind.
    """

    def __init__(self, seed: int, faults: float) -> None:
        self.random, self.faults = random.Random(seed), faults
        self.on_call: Callable[[int, str], None] = lambda number, when: None
        self.answer: Callable[[dict[str, Any]], str] | None = None
        self.no_file: str | None = self.random.choice((None, ""))  # how a batch names a file that it has not
        self.calls = 0
        self.sent: Counter[str] = Counter()  # requests that arrived, in a chat call or in a batch, by custom id
        self.charged: Counter[str] = Counter()
        self.prompt_tokens = self.completion_tokens = 0
        self.kinds: dict[str, str] = {}  # of the content of each charged answer
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self._replies: dict[str, bytes] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._http = Loopback(self.call)
        self.url = f"{self._http.address}/v1"

    def close(self) -> None:
        self._closed.set()
        self._http.close()

    def work_off(self) -> None:
        """Do what is still waiting, asked after or not: a batch that nobody remembers is charged for all the same."""
        with self._lock:
            for batch in self.batches.values():
                if batch["status"] in ("validating", "in_progress"):
                    self._end(batch, "completed")

    def completion(self, custom_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Do the paid work of one request."""
        kind = "scripted" if self.answer else self.random.choice(CONTENTS)
        concept = {"label": f"Concept {custom_id[-6:]}", "description": "Users who like it.", "features": []}
        content = (
            self.answer(body)
            if self.answer
            else {
                "concept": json.dumps(concept),
                "refusal": None,
                "empty": "",
                "broken": json.dumps(concept)[:-9],
                "incomplete": json.dumps({"label": "x"}),
            }[kind]
        )
        usage = {"prompt_tokens": self.random.randint(5, 50), "completion_tokens": self.random.randint(1, 5)}
        self.charged[custom_id] += 1
        self.kinds[custom_id] = kind
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]
        message = {"role": "assistant", "content": content, "refusal": "No." if kind == "refusal" else None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    def call(self, call: Call) -> None:
        body = call.body() if call.command == "POST" else b""
        key = call.headers.get("Authorization", "")
        with self._lock:
            self.calls += 1
            number = self.calls
            fault = self.random.choice(CHAT_FAULTS) if self.random.random() < self.faults else None
        self.on_call(number, "before")
        if fault in ("429", "429 soon"):
            headers = {"Retry-After": "0.01"} if fault == "429 soon" else {}
            return self._reply(call, 429, {"error": {"message": f"slow down, {key}", "code": "rate_limit"}}, headers)
        if fault == "500":
            return self._reply(call, 500, {"error": {"message": f"broken for {key}", "code": None}}, {})
        if fault == "no completion":
            odd: Any = self.random.choice(
                [{"error": {"message": f"lost {key}"}}, {"choices": []}, {"choices": None}, None]
            )
            return self._reply(call, 200, odd, {})
        if fault == "timeout":
            self._closed.wait(0.6)
        if fault in ("timeout", "drop"):
            call.close_connection = True
            return None
        with self._lock:
            status, reply = self._route(call, body, fault)
        self.on_call(number, "after")
        if fault == "drop after":
            call.close_connection = True
        elif fault == "cut":
            call.reply(status, reply[: len(reply) // 2], length=2 * len(reply))
            call.close_connection = True
        else:
            self._reply(call, status, reply, {})
        return None

    @staticmethod
    def _reply(call: Call, status: int, body: Any, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        call.reply(status, content, {"Content-Type": "application/json", **headers})

    def _route(self, call: Call, body: bytes, fault: str | None) -> tuple[int, bytes]:
        path = call.path.partition("?")[0]
        if call.command == "POST" and path == "/v1/chat/completions":
            key = call.headers["Idempotency-Key"]
            self.sent[key] += 1
            if fault == "no json":
                return 200, b'{"choices": ['
            if key not in self._replies:
                self._replies[key] = json.dumps(self.completion(key, json.loads(body))).encode()
            return 200, self._replies[key]
        if call.command == "POST" and path == "/v1/files":
            parts = body.split(b"--" + call.headers["Content-Type"].partition("boundary=")[2].encode())
            content = next(part for part in parts if b'filename="' in part).partition(b"\r\n\r\n")[2][:-2]
            file_id = self._add_file(content)
            return 200, json.dumps(_file(file_id, len(content))).encode()
        if path == "/v1/batches":
            if call.command == "POST":
                return 200, json.dumps(self._create_batch(json.loads(body))).encode()
            page = {"object": "list", "data": [*self.batches.values()], "has_more": False}
            return 200, json.dumps(page, default=str).encode()
        if match := re.fullmatch(r"/v1/batches/(\w+)", path):
            batch = self.batches.get(match.group(1))
            if batch is None:
                return 404, b'{"error": {"message": "no such batch", "code": null}}'
            self._advance(batch)
            return 200, json.dumps(batch).encode()
        if match := re.fullmatch(r"/v1/files/(\w+)/content", path):
            kept = self.files.get(match.group(1))
            return (404, b'{"error": {"message": "no such file"}}') if kept is None else (200, kept)
        return 404, b'{"error": {"message": "no such path"}}'

    def _add_file(self, content: bytes) -> str:
        file_id = f"file{len(self.files)}"
        self.files[file_id] = content
        return file_id

    def _create_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        batch = {
            **{"id": f"batch{len(self.batches)}", "object": "batch", "created_at": int(time.time())},
            **{name: body[name] for name in ("endpoint", "completion_window", "input_file_id", "metadata")},
            "status": "validating",
        }
        self.batches[batch["id"]] = batch
        return batch

    def _advance(self, batch: dict[str, Any]) -> None:
        if batch["status"] == "validating":
            batch["status"] = "in_progress"
        elif batch["status"] == "in_progress":
            end = self.random.choice(ENDS) if self.faults else "completed"
            if end == "queue full":
                fault = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}
                batch |= {"status": "failed", "errors": {"object": "list", "data": [fault]}}
                return
            self._end(batch, end)

    def _end(self, batch: dict[str, Any], end: str) -> None:
        answers, errors = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            custom_id = request["custom_id"]
            self.sent[custom_id] += 1
            luck = self.random.random()
            if end == "completed" and self.faults and luck < 0.1:
                continue  # the line is missing, and nobody is charged
            if end == "completed" or luck < 0.5:
                body = self.completion(custom_id, request["body"])
                if self.faults and self.random.random() < 0.05:
                    self.kinds[custom_id] = "other form"
                    answers.append(json.dumps({"custom_id": custom_id, "result": body}).encode())
                    continue
                answers.append(_line(custom_id, {"status_code": 200, "request_id": "r", "body": body}, None))
            elif end == "half failed":
                status = 500 if luck < 0.75 else 400
                errors.append(_line(custom_id, {"status_code": status, "request_id": "r", "body": {"error": {}}}, None))
            elif end == "expired":
                errors.append(_line(custom_id, None, {"code": "batch_expired", "message": "not in time"}))
        if self.faults:
            answers += self.random.sample(answers, len(answers) // 3)  # some twice
            answers.append(_line("latent-999-" + "f" * 32, {"status_code": 200, "request_id": "r", "body": {}}, None))
            answers.append(self.random.choice([b"", b"nonsense", b'{"custom_id": 3}', b'{"custom_id": "\\ud800"}']))
            self.random.shuffle(answers)
        batch["status"] = "completed" if end == "half failed" else end
        for name, lines in (("output_file_id", answers), ("error_file_id", errors)):
            batch[name] = self._add_file(b"\n".join(lines) + b"\n") if lines else self.no_file


def _line(custom_id: str, response: Any, error: Any) -> bytes:
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": error}).encode()


def _file(file_id: str, size: int) -> dict[str, Any]:
    return {
        **{"id": file_id, "object": "file", "bytes": size, "created_at": 1, "filename": "requests.jsonl"},
        **{"purpose": "batch", "status": "processed"},
    }
