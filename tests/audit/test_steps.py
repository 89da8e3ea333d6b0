"""Requests are submitted by one process and collected by another, as a scheduler does it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame

from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext, Step
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.warehouse import tables
from recsae_lib.representations.layout import RepresentationSet
from recsae_lib.verification.verdicts import require_all_judges
from tests.object_storage import object_storage
from tests.openai_server import OpenaiServer
from tests.planted import FEATURES
from tests.workspace import REPOSITORY, Workspace

pytestmark = pytest.mark.integration


NEXT_DAY = date(2026, 11, 21)
READ_BY_JUDGES = (
    tables.LATENT_ACTIVATIONS,
    tables.RECOMMENDATIONS,
    tables.LATENT_ITEMS,
    tables.CONCEPT_TERMS,
    tables.CONCEPT_LABELS,
)
BY_TERMS = (tables.VERIFICATION_CASES, tables.CONCEPT_SCORES)
WRITTEN_BY_JUDGES = (
    *BY_TERMS,
    tables.SHUFFLED_SCORES,
    tables.VERIFICATION_REJECTS,
    tables.VERIFICATION_REQUESTS,
)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenaiServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = OpenaiServer(seed=1, faults=0.0)
    yield server
    server.close()


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("ledgers") as address:
        yield address


def run(context: JobContext, step: Step | None) -> int:
    context.step = step
    return guarded(lambda: execute(context, job_named(context.job).load().run))


def rows_of(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.drop("dt").collect()), key=repr)


def fires_for_all(body: dict[str, Any]) -> str:
    """A judge that says of every case with a planted item that the latent fires; of the known ones it is right."""
    shown = json.loads(body["messages"][1]["content"])
    planted = {case["case"]: any(name in json.dumps(case) for name in FEATURES) for case in shown["cases"]}
    return json.dumps({"verdicts": [{"case": case, "fires": fires} for case, fires in planted.items()]})


@pytest.mark.parametrize("shares_disk", [True, False])
def test_collecting_exits_with_5_until_labels_can_be_written(
    audited: Workspace,
    batches: OpenaiServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    bucket: str,
    shares_disk: bool,
) -> None:
    settings = [
        "interpretation.interpreter=llm",
        "llm.transport=batch",
        f"interpretation.prompt={REPOSITORY}/conf/prompts/interpret.md",
        f"llm.base_url={batches.url}",
        *([] if shares_disk else [f"paths.llm={bucket}/llm"]),
    ]
    # Requests and ledger of their own: other tests of this audited leave theirs.
    context, collector = (
        audited.context("interpret_concepts", f"paths.var={tmp_path}/{machine}", *settings)
        for machine in (("one", "one") if shares_disk else ("one", "other"))
    )
    warehouse = context.warehouse

    def states() -> dict[str, int]:
        rows = warehouse.read(tables.INTERPRETATION_REQUESTS).groupBy("state").count().collect()
        return {row["state"]: row["count"] for row in rows}

    try:
        assert run(collector, "collect") == 2  # nothing was submitted
        assert "step submit" in capsys.readouterr().err
        assert run(context, "submit") == 0
        requests = sum(states().values())
        assert requests > 0
        assert states() == {"submitted": requests}
        assert len(batches.batches) == 1

        assert run(context, "submit") == 0  # again changes nothing
        assert run(collector, "collect") == 5
        assert "not finished yet" in capsys.readouterr().err
        assert states() == {"submitted": requests}
        assert run(collector, "collect") == 0
        assert states() == {"answered": requests}
        assert len(batches.batches) == 1
        labels, rejects = warehouse.read(tables.CONCEPT_LABELS), warehouse.read(tables.CONCEPT_REJECTS)
        kinds = list(batches.kinds.values())
        assert labels.where("interpreter = 'llm'").count() == kinds.count("concept")
        assert rejects.count() == requests - kinds.count("concept")
        totals: Any = warehouse.read(tables.INTERPRETATION_REQUESTS).groupBy().sum().first()
        assert totals["sum(prompt_tokens)"] == batches.prompt_tokens
        assert totals["sum(completion_tokens)"] == batches.completion_tokens

        refused = requests - kinds.count("concept")
        assert refused > 0
        batches.answer = lambda _: json.dumps({"label": "Better", "description": "At last.", "features": []})
        context.ask_again = "refused"
        assert run(context, "submit") == 0
        assert states() == {"answered": requests - refused, "submitted": refused}
        assert run(collector, "collect") == 5
        assert run(collector, "collect") == 0
        assert warehouse.read(tables.CONCEPT_REJECTS).count() == 0
        assert warehouse.read(tables.CONCEPT_LABELS).where("label = 'Better'").count() == refused
        assert sorted(batches.charged.values()) == [1] * (requests - refused) + [2] * refused
    finally:
        for table in (tables.CONCEPT_LABELS, tables.CONCEPT_REJECTS, tables.INTERPRETATION_REQUESTS):
            warehouse.drop_branch(table)


def test_the_judge_runs_in_batch_and_the_next_night_asks_nothing(
    audited: Workspace,
    batches: OpenaiServer,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    batches.answer = fires_for_all
    context = audited.context(
        "verify_concepts",
        f"paths.var={tmp_path}",
        "verification.judges=[terms, llm]",
        "llm.transport=batch",
        f"verification.judge_prompt={REPOSITORY}/conf/prompts/judge.md",
        f"llm.base_url={batches.url}",
    )
    warehouse = context.warehouse
    published = {table.name: rows_of(warehouse.read_published(table)) for table in BY_TERMS}

    def requests() -> dict[tuple[str, bool], int]:
        rows = warehouse.read(tables.VERIFICATION_REQUESTS).groupBy("state", "reused").count().collect()
        return {(row["state"], row["reused"]): row["count"] for row in rows}

    copied: list[str] = []
    try:
        assert run(context, "collect") == 2  # nothing was submitted
        assert "step submit" in capsys.readouterr().err
        assert run(context, "submit") == 0
        asked = requests()["submitted", False]
        assert asked > 8
        assert run(context, "collect") == 5
        assert requests() == {("submitted", False): asked}
        assert {table.name: rows_of(warehouse.read(table)) for table in BY_TERMS} == published
        with pytest.raises(InputError, match="judge llm for 2026-11-20 were not collected"):
            require_all_judges(warehouse.read(tables.CONCEPT_SCORES), ("terms", "llm"), context.dt)
        assert run(context, "collect") == 0
        require_all_judges(warehouse.read(tables.CONCEPT_SCORES), ("terms", "llm"), context.dt)
        assert requests() == {("answered", False): asked}
        assert (len(batches.batches), sum(batches.charged.values())) == (1, asked)
        cases, scores = warehouse.read(tables.VERIFICATION_CASES), warehouse.read(tables.CONCEPT_SCORES)
        assert {table.name: rows_of(warehouse.read(table).where("judge = 'terms'")) for table in BY_TERMS} == published
        by_llm = cases.where("judge = 'llm'")
        assert by_llm.where("judged").count() == by_llm.count() > 0
        judged = {row["latent_id"] for row in by_llm.select("latent_id").distinct().collect()}
        assert len(judged) == asked  # a request holds all cases of its latent
        confidence = {row["latent_id"]: row["confidence"] for row in scores.where("judge = 'llm'").collect()}
        assert {latent for latent, value in confidence.items() if value is not None} == judged
        assert {confidence[latent] for latent in judged} == {0.5}  # half of the cases are positive
        assert warehouse.read(tables.VERIFICATION_REJECTS).count() == 0

        assert run(context, "collect") == 0  # again changes nothing
        assert warehouse.read(tables.VERIFICATION_CASES).count() == cases.count()

        night = JobContext("verify_concepts", context.settings, NEXT_DAY)
        for table in READ_BY_JUDGES:
            night.warehouse.replace(table, warehouse.read(table).drop("dt"))
        for rows in ("last", "test"):
            sets = [RepresentationSet.of_context(of_night, rows).path for of_night in (context, night)]
            shutil.copytree(*sets)
            copied.append(sets[1])
        calls = batches.calls
        assert run(night, None) == 0
        assert batches.calls == calls
        read = night.warehouse.read(tables.VERIFICATION_REQUESTS).groupBy("state", "reused").count().collect()
        assert [tuple(row) for row in read] == [("answered", True, asked)]
        assert rows_of(night.warehouse.read(tables.CONCEPT_SCORES)) == rows_of(scores)
    finally:
        for table in READ_BY_JUDGES + WRITTEN_BY_JUDGES:
            warehouse.drop_branch(table)
            audited.warehouse(NEXT_DAY).drop_branch(table)
        for folder in copied:
            shutil.rmtree(folder)


def test_a_job_without_steps_refuses_the_argument(audited: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert audited.recsae_here("run", "encode_latents", "--dt", "2026-11-20", "--step", "submit") == 2
    assert "encode_latents has no steps" in capsys.readouterr().err
