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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHAT_FAULTS = ("429", "429 soon", "500", "timeout", "drop", "drop after", "cut", "no json")
ENDS = ("completed", "completed", "half failed", "expired", "cancelled", "queue full")
CONTENTS = ("concept", "concept", "concept", "refusal", "empty", "broken", "incomplete")


class OpenaiServer:
    """Everything it decides follows from `seed`; `faults` is the share of calls that go wrong.

    Parameters
    ----------
    on_call : called with (number of the call, "before" or "after" it is handled); a test kills its client there.
    """

    def __init__(self, seed: int, faults: float) -> None:
        self.random, self.faults = random.Random(seed), faults
        self.on_call: Callable[[int, str], None] = lambda number, when: None
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
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._closed.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def work_off(self) -> None:
        """Do what is still waiting, asked after or not: a batch that nobody remembers is charged for all the same."""
        with self._lock:
            for batch in self.batches.values():
                if batch["status"] in ("validating", "in_progress"):
                    self._end(batch, "completed")

    def completion(self, custom_id: str) -> dict[str, Any]:
        """Do the paid work of one request."""
        kind = self.random.choice(CONTENTS)
        concept = {"label": f"Concept {custom_id[-6:]}", "description": "Users who like it.", "features": []}
        content = {
            "concept": json.dumps(concept),
            "refusal": None,
            "empty": "",
            "broken": json.dumps(concept)[:-9],
            "incomplete": json.dumps({"label": "x"}),
        }[kind]
        usage = {"prompt_tokens": self.random.randint(5, 50), "completion_tokens": self.random.randint(1, 5)}
        self.charged[custom_id] += 1
        self.kinds[custom_id] = kind
        self.prompt_tokens += usage["prompt_tokens"]
        self.completion_tokens += usage["completion_tokens"]
        message = {"role": "assistant", "content": content, "refusal": "No." if kind == "refusal" else None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}

    def call(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        with self._lock:
            self.calls += 1
            number = self.calls
            fault = self.random.choice(CHAT_FAULTS) if self.random.random() < self.faults else None
        self.on_call(number, "before")
        if fault in ("429", "429 soon"):
            headers = {"Retry-After": "0.01"} if fault == "429 soon" else {}
            return self._reply(handler, 429, {"error": {"message": "slow down", "code": "rate_limit"}}, headers)
        if fault == "500":
            return self._reply(handler, 500, {"error": {"message": "broken", "code": None}}, {})
        if fault == "timeout":
            self._closed.wait(0.6)
        if fault in ("timeout", "drop"):
            handler.close_connection = True
            return None
        with self._lock:
            status, reply = self._route(handler, body, fault)
        self.on_call(number, "after")
        if fault == "drop after":
            handler.close_connection = True
        elif fault == "cut":
            handler.send_response(status)
            handler.send_header("Content-Length", str(2 * len(reply)))
            handler.end_headers()
            handler.wfile.write(reply[: len(reply) // 2])
            handler.close_connection = True
        else:
            self._reply(handler, status, reply, {})
        return None

    def _reply(self, handler: BaseHTTPRequestHandler, status: int, body: Any, headers: dict[str, str]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    def _route(self, handler: BaseHTTPRequestHandler, body: bytes, fault: str | None) -> tuple[int, bytes]:
        path = handler.path.partition("?")[0]
        if handler.command == "POST" and path == "/v1/chat/completions":
            key = handler.headers["Idempotency-Key"]
            self.sent[key] += 1
            if fault == "no json":
                return 200, b'{"choices": ['
            if key not in self._replies:
                self._replies[key] = json.dumps(self.completion(key)).encode()
            return 200, self._replies[key]
        if handler.command == "POST" and path == "/v1/files":
            parts = body.split(b"--" + handler.headers["Content-Type"].partition("boundary=")[2].encode())
            content = next(part for part in parts if b'filename="' in part).partition(b"\r\n\r\n")[2][:-2]
            file_id = self._add_file(content)
            return 200, json.dumps(_file(file_id, len(content))).encode()
        if path == "/v1/batches":
            if handler.command == "POST":
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
            content = self.files.get(match.group(1))
            return (404, b'{"error": {"message": "no such file"}}') if content is None else (200, content)
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
            custom_id = json.loads(line)["custom_id"]
            self.sent[custom_id] += 1
            luck = self.random.random()
            if end == "completed" and self.faults and luck < 0.1:
                continue  # the line is missing, and nobody is charged
            if end == "completed" or luck < 0.5:
                body = self.completion(custom_id)
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
        batch["output_file_id"] = self._add_file(b"\n".join(answers) + b"\n") if answers else None
        batch["error_file_id"] = self._add_file(b"\n".join(errors) + b"\n") if errors else None


def _line(custom_id: str, response: Any, error: Any) -> bytes:
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": error}).encode()


def _file(file_id: str, size: int) -> dict[str, Any]:
    return {
        **{"id": file_id, "object": "file", "bytes": size, "created_at": 1, "filename": "requests.jsonl"},
        **{"purpose": "batch", "status": "processed"},
    }


def _handler(server: OpenaiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            server.call(self, self._body())

        def do_GET(self) -> None:
            server.call(self, b"")

        def _body(self) -> bytes:
            if "Content-Length" in self.headers:
                return self.rfile.read(int(self.headers["Content-Length"]))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError):  # the client was killed while it was sending or receiving
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    return Handler
