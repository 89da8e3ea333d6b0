"""A language model that is a process: prints its port, and writes a line for each request that it answers.

    python -m tests.faults.scripted_model PORT FILE

It names a concept by its first significant feature, and says that the concept fires where most items have that.
"""

from __future__ import annotations

import json
import signal
import sys
from threading import Lock
from typing import Any, TextIO

from tests.loopback import Call, answering


def answer_of(shown: dict[str, Any]) -> dict[str, Any]:
    """What the model writes about the JSON object of a prompt."""
    if "cases" in shown:
        label = shown["concept"]["label"]
        has = [[label in item["features"] for item in case["items"]] for case in shown["cases"]]
        return {
            "verdicts": [
                {"case": case["case"], "fires": 2 * sum(found) > len(found)}
                for case, found in zip(shown["cases"], has, strict=True)
            ]
        }
    features = [term["term"] for term in shown["terms"] if term["kind"] == "feature"] or ["mixed"]
    return {"label": features[0], "description": f"Users who like {features[0]}.", "features": features[:1]}


def serve(port: int, answered: TextIO) -> None:
    lock = Lock()

    def answer(call: Call) -> None:
        shown = json.loads(json.loads(call.body())["messages"][1]["content"])
        message = {"role": "assistant", "content": json.dumps(answer_of(shown))}
        with lock:
            answered.write(f"{call.headers['X-Client-Request-Id']}\n")
            answered.flush()
        completion = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        call.reply_json(200, json.dumps(completion).encode())

    server = answering(answer, port)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with open(sys.argv[2], "a", encoding="utf-8") as answered:
        serve(int(sys.argv[1]), answered)
