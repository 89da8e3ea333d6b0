"""One audit of the planted data set, run as a person would, shared by the tests of this folder."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
