from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyspark.sql import functions as F

from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.job.failures import guarded
from recsae_lib.platform.job.jobs import job_named
from recsae_lib.platform.job.run import execute
from recsae_lib.platform.warehouse import tables
from tests.object_storage import object_storage
from tests.publishing import last_attempt
from tests.workspace import DT, REPOSITORY, Workspace, alike

pytestmark = pytest.mark.integration

NEXT_DAY = date(2026, 11, 21)


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Callable[[JobContext], str]:
    """Run a job as the command does and return the one line in which it is refused."""

    def run(context: JobContext) -> str:
        capsys.readouterr()
        code = guarded(lambda: execute(context, job_named(context.job).load().run))
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("recsae: ")]
        assert code == 2, lines
        assert len(lines) == 1
        return lines[0]

    return run


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage("reports-of-audits") as address:
        yield address


def state(workspace: Workspace) -> dict[str, Any]:
    """Snapshots of every table: what a refused job must not have moved."""
    return {name: workspace.warehouse().references(table) for name, table in tables.TABLES.items()}


def test_of_bad_data_nothing_but_rejects_is_written(
    audited: Workspace, refusal: Callable[[JobContext], str], tmp_path: Path
) -> None:
    before = state(audited)
    corrupt = tmp_path / "corrupt.parquet"
    corrupt.write_bytes(b"PAR1 this is no Parquet file PAR1")
    items = tmp_path / "items.csv"
    items.write_text("item_id,title,features\ni0,,\ni1,,\n", encoding="utf-8")
    for overrides, part in (
        ([f"dataset.interactions={tmp_path}/nowhere.csv"], "nowhere.csv"),
        (["dataset.format=parquet", f"dataset.interactions={corrupt}"], "corrupt.parquet"),
        ([f"dataset.items={items}"], "text"),
        (["dataset.columns.item_id=item"], "item_id"),
    ):
        line = refusal(audited.context("ingest_dataset", *overrides, dt=NEXT_DAY))
        assert part in line, line
    assert {**state(audited), "rejects": None} == {**before, "rejects": None}


def test_users_with_one_interaction_cannot_train_a_recommender(
    audited: Workspace, refusal: Callable[[JobContext], str], tmp_path: Path
) -> None:
    interactions = tmp_path / "interactions.csv"
    rows = "".join(f"u{user},i{user % 240},{1_700_000_000 + user}\n" for user in range(50))
    interactions.write_text("user_id,item_id,ts\n" + rows, encoding="utf-8")
    overrides = ("namespace=lonely", f"dataset.interactions={interactions}")
    ingest = audited.context("ingest_dataset", *overrides)
    execute(ingest, job_named("ingest_dataset").load().run)
    assert "interactions" in refusal(audited.context("train_recommender", *overrides))


def test_a_date_without_data_is_refused(audited: Workspace, refusal: Callable[[JobContext], str]) -> None:
    before = state(audited)
    assert "extract_representations" in refusal(audited.context("train_sae", dt=NEXT_DAY))
    assert "extract_representations" in refusal(audited.context("encode_latents", dt=NEXT_DAY))
    jobs = (
        *("compute_concept_terms", "compute_latent_effects", "interpret_concepts", "verify_concepts"),
        *("compare_versions", "publish_audit"),
    )
    for job in jobs:
        line = refusal(audited.context(job, dt=NEXT_DAY))
        assert f"no rows for dt={NEXT_DAY}" in line, job
    assert state(audited) == before


def test_an_sae_of_another_dimension_is_refused(audited: Workspace, refusal: Callable[[JobContext], str]) -> None:
    smaller = ("recommender.dimension=8", "recommender.sasrec.epochs=2")
    registry = audited.context("any").registry
    try:
        for job in ("train_recommender", "extract_representations"):
            execute(audited.context(job, *smaller, dt=NEXT_DAY), job_named(job).load().run)
        assert registry.resolve("recommender-planted", "candidate") == 2
        before = state(audited)
        line = refusal(audited.context("encode_latents", dt=NEXT_DAY))
        assert "8" in line
        assert "16" in line
        assert state(audited)["latent_activations"].get("main") == before["latent_activations"].get("main")
        assert audited.warehouse(NEXT_DAY).read(tables.LATENT_ACTIVATIONS).count() == 0
    finally:
        registry.set_alias("recommender-planted", "candidate", 1)


def test_a_folder_that_cannot_be_written_is_refused(audited: Workspace, refusal: Callable[[JobContext], str]) -> None:
    file = audited.folder / "data" / "items.csv"
    line = refusal(audited.context("train_recommender", f"paths.var={file}/var"))
    assert "items.csv" in line


def test_a_server_that_refuses_the_call_leaves_labels_unchanged(
    audited: Workspace, refusal: Callable[[JobContext], str], refusing_server: str
) -> None:
    before = state(audited)
    line = refusal(
        audited.context(
            "interpret_concepts",
            "interpretation.interpreter=llm",
            f"interpretation.prompt={REPOSITORY}/conf/prompts/interpret.md",
            f"llm.base_url={refusing_server}",
        )
    )
    assert "HTTP 401" in line
    assert "OPENAI_API_KEY" in line
    after = state(audited)
    intended = audited.warehouse().read(tables.INTERPRETATION_REQUESTS)
    assert {row["state"] for row in intended.collect()} == {"intended"}
    audited.warehouse().drop_branch(tables.INTERPRETATION_REQUESTS)
    assert {**after, tables.INTERPRETATION_REQUESTS.name: None} == {**before, tables.INTERPRETATION_REQUESTS.name: None}


def test_main_shows_only_audits_whose_checks_passed(audited: Workspace, bucket: str) -> None:
    before, publications = audited.published(), audited.rows(tables.AUDITS)
    failing = audited.context("publish_audit", "checks.maximum_fvu=0.0001", f"paths.reports={bucket}/nights")
    labels = failing.warehouse.read(tables.CONCEPT_LABELS).drop("dt")
    failing.warehouse.replace(tables.CONCEPT_LABELS, labels.withColumn("label", F.lit("never to be seen")))
    assert guarded(lambda: execute(failing, job_named("publish_audit").load().run)) == 3
    assert audited.published() == before
    assert last_attempt(audited.warehouse()) == ("failed", None)
    assert audited.rows(tables.AUDITS) == publications
    report = failing.reports_folder() / "checks.json"
    assert [check["name"] for check in json.loads(report.read_text()) if not check["passed"]] != []
    assert fsspec.filesystem("s3").cat_file(f"{bucket}/nights/planted/{DT}/checks.json") == report.read_bytes()
    on_branch = audited.warehouse().read(tables.CONCEPTS).select("label").distinct().collect()
    assert [row["label"] for row in on_branch] == ["never to be seen"]

    mended = audited.context("interpret_concepts")
    for job in ("interpret_concepts", "publish_audit"):
        execute(mended.for_job(job), job_named(job).load().run)
    after = audited.published()
    assert alike([after[name] for name in sorted(after)], [before[name] for name in sorted(before)])
    number = len(publications) + 1
    assert last_attempt(audited.warehouse()) == ("published", number)
    assert [row[1] for row in audited.rows(tables.AUDITS)] == list(range(1, number + 1))


def test_a_job_file_writes_the_same_rows_under_spark_submit(audited: Workspace) -> None:
    table = tables.LATENT_ACTIVATIONS
    before = audited.rows(table)
    jars = audited.recsae("jars").stdout.strip()
    submit = subprocess.run(
        [
            str(Path(sys.executable).with_name("spark-submit")),
            *("--properties-file", "conf/tiny.conf", "--jars", jars),
            *("--conf", f"spark.sql.catalog.recsae.warehouse={audited.folder}/var/warehouse"),
            str(REPOSITORY / "jobs" / "encode_latents.py"),
            *("--conf", "conf/planted.yaml", "--dt", DT.isoformat()),
        ],
        cwd=audited.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert submit.returncode == 0, submit.stderr
    on_branch = audited.warehouse().read(table)
    assert alike(sorted((tuple(row) for row in on_branch.collect()), key=repr), before)
    audited.warehouse().drop_branch(table)
