"""One workspace shared by the tests of this folder: a night through Airflow, then an audit as a person would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.loopback import Call, Loopback
from tests.workspace import DT, REPOSITORY, Workspace, open_workspace

AIRFLOW = REPOSITORY / ".venv-airflow" / "bin" / "python"


@dataclass(frozen=True)
class Night:
    """A workspace after a night through a real Airflow and its scheduler, by spark-submit.

    Parameters
    ----------
    command : what `make nightly` printed; None where Airflow is not installed, and there was no night.
    published : rows that it left on main.
    """

    workspace: Workspace
    command: subprocess.CompletedProcess[str] | None
    published: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="session")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A workspace after its first night."""
    workspace = open_workspace(spark, tmp_path_factory.mktemp("audited"), "audited")
    if not AIRFLOW.exists():
        return Night(workspace, None, {})
    (workspace.folder / "jobs").symlink_to(REPOSITORY / "jobs")
    wiring = str(REPOSITORY / "airflow_dags" / "local_airflow.py")
    settings = ["--conf", "conf/planted.yaml", "--dt", DT.isoformat(), "--python", sys.executable]
    command = subprocess.run(
        [str(AIRFLOW), wiring, "night", *settings], cwd=workspace.folder, capture_output=True, text=True, check=False
    )
    return Night(workspace, command, workspace.published() if command.returncode == 0 else {})


@pytest.fixture(scope="session")
def audited(night: Night) -> tuple[Workspace, subprocess.CompletedProcess[str]]:
    """The workspace after a whole audit of the same date, which runs every job again, and what the command printed."""
    return night.workspace, night.workspace.audit()


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
