"""One audit of the planted data set, run as a person would, shared by the tests of this folder."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.workspace import Workspace, open_workspace


@pytest.fixture(scope="session")
def audited(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, subprocess.CompletedProcess[str]]:
    """A workspace after one whole audit, and what the command printed."""
    workspace = open_workspace(spark, tmp_path_factory.mktemp("audited"), "audited")
    return workspace, workspace.audit()


@pytest.fixture
def refusing_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server that speaks the chat-completions protocol and accepts no key."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = b'{"error": {"message": "no such key", "type": "invalid_request_error", "code": "invalid_api_key"}}'
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def judging_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a server that says "fires" where most items carry a feature of the label, and what it was asked.

    One request in eight gets an answer that leaves a case out.
    """
    asked: list[dict[str, Any]] = []

    class Judging(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            shown = json.loads(
                json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"][1]["content"]
            )
            asked.append(shown)
            named = set(shown["concept"]["label"].split(", "))
            verdicts = [
                {
                    "case": case["case"],
                    "fires": 2 * sum(bool(named & set(item["features"])) for item in case["items"])
                    > len(case["items"]),
                }
                for case in shown["cases"]
            ]
            content = json.dumps({"verdicts": verdicts[1:] if len(asked) % 8 == 0 else verdicts})
            message = {"role": "assistant", "content": content}
            body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judging)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", asked
    server.shutdown()
    thread.join()
    server.server_close()
