"""A night of the planted data set, and servers that speak the chat-completions protocol: shared by these tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.loopback import Call, Loopback
from tests.workspace import Workspace, open_workspace


@pytest.fixture(scope="session")
def audited(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after its first night."""
    workspace = open_workspace(spark, tmp_path_factory.mktemp("audited"), "audited")
    done = workspace.audit()
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace


@pytest.fixture
def refusing_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that speaks the chat-completions protocol and accepts no key."""

    def refuse(call: Call) -> None:
        call.body()
        error = {"message": "no such key", "type": "invalid_request_error", "code": "invalid_api_key"}
        call.reply_json(401, json.dumps({"error": error}).encode())

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Loopback(refuse) as server:
        yield f"{server.address}/v1"


@pytest.fixture
def judging_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that says "fires" where most items carry a feature of the label, and what it was asked.

    One request in eight gets an answer that leaves a case out.
    """
    asked: list[dict[str, Any]] = []

    def judge(call: Call) -> None:
        shown = json.loads(json.loads(call.body())["messages"][1]["content"])
        asked.append(shown)
        named = set(shown["concept"]["label"].split(", "))
        verdicts = [
            {
                "case": case["case"],
                "fires": 2 * sum(bool(named & set(item["features"])) for item in case["items"]) > len(case["items"]),
            }
            for case in shown["cases"]
        ]
        content = json.dumps({"verdicts": verdicts[1:] if len(asked) % 8 == 0 else verdicts})
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
        call.reply_json(200, json.dumps({"choices": [choice]}).encode())

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Loopback(judge) as server:
        yield f"{server.address}/v1", asked
