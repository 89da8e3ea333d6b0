"""Requests are submitted by one process and collected by another, as a scheduler does it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from recsae_lib.job import JobContext, Step, execute, guarded
from recsae_lib.warehouse import tables
from tests.interpretation.openai_server import OpenaiServer
from tests.workspace import REPOSITORY, Workspace

pytestmark = pytest.mark.integration


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenaiServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    yield server
    server.close()


def run(context: JobContext, step: Step | None) -> int:
    context.step = step
    return guarded(lambda: execute(context, import_module(f"jobs.{context.job}").run))


def test_collecting_ends_with_5_until_the_batch_has_ended_and_then_writes_labels(
    audited: tuple[Workspace, CompletedProcess[str]],
    batches: OpenaiServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    workspace, _ = audited
    context = workspace.context(
        "interpret_concepts",
        f"paths.var={tmp_path}",  # requests and ledger of its own: other tests of this workspace leave theirs
        "interpretation.interpreter=openai",
        "interpretation.transport=batch",
        f"interpretation.prompt={REPOSITORY}/conf/prompts/interpret.md",
        f"interpretation.openai.base_url={batches.url}",
    )
    warehouse = context.warehouse

    def states() -> dict[str, int]:
        rows = warehouse.read(tables.INTERPRETATION_REQUESTS).groupBy("state").count().collect()
        return {row["state"]: row["count"] for row in rows}

    try:
        assert run(context, "collect") == 2  # nothing was submitted
        assert "step submit" in capsys.readouterr().err
        assert run(context, "submit") == 0
        requests = sum(states().values())
        assert requests > 0
        assert states() == {"submitted": requests}
        assert len(batches.batches) == 1

        assert run(context, "submit") == 0  # again changes nothing
        assert run(context, "collect") == 5
        assert "not finished yet" in capsys.readouterr().err
        assert states() == {"submitted": requests}
        assert run(context, "collect") == 0
        assert states() == {"answered": requests}
        assert len(batches.batches) == 1
        labels, rejects = warehouse.read(tables.CONCEPT_LABELS), warehouse.read(tables.CONCEPT_REJECTS)
        kinds = list(batches.kinds.values())
        assert labels.where("interpreter = 'openai'").count() == kinds.count("concept")
        assert rejects.count() == requests - kinds.count("concept")
        totals: Any = warehouse.read(tables.INTERPRETATION_REQUESTS).groupBy().sum().first()
        assert totals["sum(prompt_tokens)"] == batches.prompt_tokens
        assert totals["sum(completion_tokens)"] == batches.completion_tokens
    finally:
        for table in (tables.CONCEPT_LABELS, tables.CONCEPT_REJECTS, tables.INTERPRETATION_REQUESTS):
            warehouse.drop_branch(table)


def test_a_job_without_steps_refuses_the_argument(audited: tuple[Workspace, CompletedProcess[str]]) -> None:
    workspace, _ = audited
    done = workspace.recsae("run", "encode_latents", "--dt", "2026-11-20", "--step", "submit")
    assert done.returncode == 2
    assert "encode_latents has no steps" in done.stderr
