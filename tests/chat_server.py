"""A loopback server that speaks the chat-completions protocol and answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.loopback import Call, Loopback


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
        self._http = Loopback(self._answer)
        self.url = f"{self._http.address}/v1"

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
        self._http.close()

    def _answer(self, call: Call) -> None:
        body = json.loads(call.body())
        custom_id = call.headers.get("X-Client-Request-Id", "")
        with self._lock:
            attempt = self.asked[custom_id] + 1
            headers = {name.lower(): value for name, value in call.headers.items()}
            received = Received(call.path, headers, body, custom_id, attempt)
            self.received.append(received)
        reply = self.reply(received)
        if reply.how in ("hang", "drop"):
            if reply.how == "hang":
                self.released.wait(30)
            call.close_connection = True
            return
        call.reply(reply.status, reply.body, reply.headers, len(reply.body) * (2 if reply.how == "cut" else 1))
        call.close_connection = call.close_connection or reply.how == "cut"
