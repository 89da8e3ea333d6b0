"""A loopback server that speaks the chat-completions protocol and answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest


@dataclass
class Received:
    """One request as it arrived; `attempt` counts those with the same custom id, from 1."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    custom_id: str
    attempt: int


@dataclass
class Reply:
    """What to send back: the whole `body`, or (cut) half of it, or (drop) nothing, or (hang) nothing for ever."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    how: Literal["whole", "cut", "drop", "hang"] = "whole"


class LoopbackServer:
    """Scripted through `reply`, which is called once a request, in a thread of its own."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reply: Callable[[Received], Reply] = lambda _: self.says(self.concept())
        self.released = threading.Event()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def asked(self) -> Counter[str]:
        """How often each custom id was asked."""
        return Counter(request.custom_id for request in self.received)

    @staticmethod
    def says(content: str | None, finish: str = "stop", refusal: str | None = None) -> Reply:
        """A chat completion."""
        message = {"role": "assistant", "content": content, "refusal": refusal}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "small",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }
        return Reply(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})

    @staticmethod
    def concept(label: str = "Space films", description: str = "Users who like space.", features: Any = ()) -> str:
        """The content of an answer that fits the schema."""
        return json.dumps({"label": label, "description": description, "features": list(features)})

    @staticmethod
    def fails(status: int, code: str = "bad", **headers: str) -> Reply:
        """An error of the server."""
        body = json.dumps({"error": {"message": f"scripted {status}", "type": "error", "code": code}}).encode()
        return Reply(status, body, {"Content-Type": "application/json", **headers})

    @staticmethod
    def breaks(how: Literal["cut", "drop", "hang"]) -> Reply:
        """A connection that ends, or goes silent, before the answer is whole."""
        return Reply(body=b'{"choices": [{"index": 0, "message"', headers={}, how=how)

    @staticmethod
    def sends(body: bytes) -> Reply:
        """Any bytes as JSON."""
        return Reply(body=body, headers={"Content-Type": "application/json"})

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                custom_id = self.headers.get("X-Client-Request-Id", "")
                with server._lock:
                    attempt = server.asked[custom_id] + 1
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    received = Received(self.path, headers, body, custom_id, attempt)
                    server.received.append(received)
                self._send(server.reply(received))

            def _send(self, reply: Reply) -> None:
                if reply.how in ("hang", "drop"):
                    if reply.how == "hang":
                        server.released.wait(30)
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) * (2 if reply.how == "cut" else 1)))
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = self.close_connection or reply.how == "cut"

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    loopback = LoopbackServer()
    yield loopback
    loopback.close()
