from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from recsae_dags.failures import failure_message, refused_by, report_failure, report_timeout
from recsae_dags.suite import llm_key
from tests.airflow.in_airflow.stand_in import StandIn

CHECKS = [
    {
        "table": "concepts",
        "name": "one row a latent",
        "severity": "fail",
        "violations": 0,
        "detail": "",
        "passed": True,
    },
    {"table": "sae", "name": "FVU", "severity": "fail", "violations": 1, "detail": "FVU 0.9 > 0.5", "passed": False},
    {"table": "sae", "name": "NDCG kept", "severity": "warn", "violations": 1, "detail": "83 %", "passed": False},
]


class Instance:
    dag_id, run_id, log_url = "nightly_audit", "night", "http://airflow/log"

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id

    def xcom_pull(self, task_ids: str) -> Any:
        return {"begin": {"dt": "2026-11-20"}, "plan": {"reports": ["var/reports/ml/2026-11-20"]}}[task_ids]


def context(task_id: str) -> Any:
    return {"ti": Instance(task_id), "exception": RuntimeError("publish_audit ended with exit code 3")}


@pytest.fixture
def report(stand_in: StandIn) -> Path:
    folder = stand_in.home / "var" / "reports" / "ml" / "2026-11-20"
    folder.mkdir(parents=True)
    (folder / "checks.json").write_text(json.dumps(CHECKS), encoding="utf-8")
    return folder


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What a chat's webhook was sent."""
    messages: list[Any] = []

    class Chat(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(404 if self.path.endswith("refused") else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/hook"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_ALERTS", json.dumps({"conn_type": "generic", "password": address}))
    yield messages
    server.shutdown()
    server.server_close()


def test_a_refused_audit_is_reported_with_its_failed_checks(report: Path) -> None:
    assert failure_message(context("publish_audit")).splitlines() == [
        "nightly_audit: publish_audit failed for dt=2026-11-20 (run night)",
        "publish_audit ended with exit code 3",
        "failed checks:",
        "- sae: FVU: 1 violations FVU 0.9 > 0.5",
        f"all checks: {report}/checks.json",
        "log: http://airflow/log",
    ]


def test_checks_are_reported_only_of_the_task_that_made_them(report: Path) -> None:
    assert "checks" not in failure_message(context("encode_latents"))
    (report / "checks.json").write_text(json.dumps(CHECKS[:1]), encoding="utf-8")
    assert refused_by(report) == []
    assert refused_by(report / "nowhere") == []


def test_a_run_that_took_too_long_is_reported(chat: list[Any]) -> None:
    run = {"dag": Instance("begin"), "run_id": "night"}
    report_timeout({**run, "reason": "task_failure"})
    assert chat == []
    report_timeout({**run, "reason": "timed_out"})
    assert [message["text"] for message in chat] == [
        "nightly_audit: run night was given up: it took longer than run_timeout_hours in the section [recsae] of "
        "Airflow's configuration. Clear it from its first task when the cause is gone"
    ]


def test_the_message_goes_to_the_chat_where_there_is_one(
    stand_in: StandIn, chat: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    report_failure(context("encode_latents"))
    assert [message["text"].splitlines()[0] for message in chat] == [
        "nightly_audit: encode_latents failed for dt=2026-11-20 (run night)"
    ]
    monkeypatch.delenv("AIRFLOW_CONN_RECSAE_ALERTS")
    report_failure(context("encode_latents"))
    assert len(chat) == 1


@pytest.mark.parametrize("port", [None, 9])  # of the chat, which refuses; of nobody
def test_an_address_of_a_webhook_is_not_told(
    stand_in: StandIn,
    chat: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    port: int | None,
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_RECSAE_ALERTS"])
    address = connection["password"] if port is None else f"http://127.0.0.1:{port}/hook"
    connection["password"] = f"{address}-canary-refused"
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_ALERTS", json.dumps(connection))
    report_failure(context("encode_latents"))
    assert "recsae_alerts" in caplog.text
    assert "canary" not in caplog.text


def test_a_key_that_airflow_knows_is_in_no_message(
    stand_in: StandIn, chat: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"conn_type": "generic", "password": "sk-canary-1234567"}
    monkeypatch.setenv("AIRFLOW_CONN_RECSAE_LLM", json.dumps(key))
    assert llm_key("OPENAI_API_KEY") == {"OPENAI_API_KEY": "sk-canary-1234567"}
    report_failure({**context("verify_concepts"), "exception": RuntimeError("it says sk-canary-1234567")})
    assert "it says ***" in chat[0]["text"]
    assert "canary" not in chat[0]["text"]
