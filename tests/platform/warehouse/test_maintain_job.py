"""The job `maintain_tables`: marker first, all tables of a date at once, nothing of a night under way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_jobs import maintain_tables
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse.commits import change
from recsae_lib.platform.warehouse.publications import publications
from recsae_lib.platform.warehouse.queries import run_query
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.platform.warehouse.tables import AUDIT_METRICS, COMPARISONS, REJECTS, TABLES
from tests.publishing import publish
from tests.workspace import Workspace, open_workspace

FIRST = date(2026, 11, 1)
READ = ("audit_metrics", "rejects")
HOLDER = """
import sys
from datetime import date
from recsae_lib.platform.storage.locks import Fence, hold_night
with hold_night(sys.argv[1], {sys.argv[2]: "write"}, date.fromisoformat(sys.argv[3]), "another run", Fence()):
    print("held", flush=True)
    sys.stdin.read()
"""


class KilledError(Exception):
    """In place of a kill."""


def write_night(warehouse: Warehouse, value: int) -> None:
    spark = warehouse.spark
    metrics = spark.createDataFrame([(1, "sae", "fvu", float(value))], AUDIT_METRICS.versioned_row_schema)
    warehouse.replace(AUDIT_METRICS, metrics)
    warehouse.replace(REJECTS, spark.createDataFrame([("items", "f", value, "no id", "{}")], REJECTS.row_schema))


def audited(spark: SparkSession, folder: Path, catalog: str, nights: int = 3) -> tuple[Workspace, Warehouse]:
    workspace = open_workspace(spark, folder, catalog)
    for number in range(nights):
        warehouse = workspace.warehouse(FIRST + timedelta(days=number))
        write_night(warehouse, number)
        publish(warehouse)
    return workspace, warehouse


def dates_seen(warehouse: Warehouse, as_of: date | None = None) -> list[list[int]]:
    """Days of each table that readers see."""
    query = " UNION ALL ".join(f"SELECT DISTINCT '{name}' AS name, day(dt) AS day FROM {name}" for name in READ)
    rows = run_query(warehouse, query, as_of=as_of).collect()
    return [sorted(row["day"] for row in rows if row["name"] == name) for name in READ]


def set_of(context: JobContext, dt: date) -> Path:
    folder = Path(context.settings.paths.bulk) / f"representations/model={context.recommender_name}/version=1/dt={dt}"
    folder.mkdir(parents=True)
    return folder


def hold_elsewhere(context: JobContext, dt: date) -> subprocess.Popen[str]:
    """Another run that holds a night until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, context.settings.paths.locks_folder, context.namespaces["model"], str(dt)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a job that is killed before its commit of a number; says how many commits it made."""

    def run(context: JobContext, commits: int, between: Callable[[int], None]) -> int:
        done, one_at_a_time = 0, Lock()

        def counted(*arguments: Any) -> Any:
            nonlocal done
            with one_at_a_time:
                between(done)
                if done == commits:
                    raise KilledError
                done += 1
            return change(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr("recsae_lib.platform.warehouse.store.change", counted)
            with suppress(KilledError):
                maintain_tables.run(context)
        between(done)
        return done

    return run


def test_readers_see_whole_nights_between_all_commits(
    spark: SparkSession, tmp_path: Path, killer: Callable[..., int]
) -> None:
    dates = (FIRST + timedelta(days=1), FIRST + timedelta(days=2))

    workspace, warehouse = audited(spark, tmp_path / "kept_whole", "kept_whole")
    context = workspace.context("maintain_tables", "maintenance.keep_nights=1", dt=dates[1])
    tables, as_audited = workspace.folder / "var" / "warehouse", tmp_path / "as_audited"
    shutil.copytree(tables, as_audited)

    def maintained(commits: int, every_look: bool) -> tuple[int, int, Any]:
        shutil.rmtree(tables)
        shutil.copytree(as_audited, tables)
        found: list[list[list[int]]] = []
        marked: list[int] = []

        def look(done: int) -> None:
            if done < commits and not every_look:  # what is seen there is known
                return
            found.append(dates_seen(warehouse))
            marked.extend([done] if found[-1] == [[3]] * 2 else [])
            assert found[-1] in ([[1, 2, 3]] * 2, [[3]] * 2), commits
            if found[-1][0] == [1, 2, 3]:  # as of a date that leaves: whole, or not there
                assert dates_seen(warehouse, as_of=dates[0]) == [[1, 2]] * 2

        done = killer(context, commits, look)
        assert found == sorted(found, key=lambda days: len(days[0]), reverse=True)
        maintain_tables.run(context)
        names = {name: sorted(warehouse.references(table)) for name, table in TABLES.items()}
        on_main = [sorted(map(str, spark.table(warehouse.full_name(TABLES[name])).collect())) for name in READ]
        kept = [publication.kept for publication in publications(warehouse)]
        return done, min(marked, default=commits), (names, on_main, kept, dates_seen(warehouse))

    total, marker, expected = maintained(10_000, every_look=True)
    assert expected[2:] == ([False, False, True], [[3], [3]])
    assert total - marker > 8
    for commits in (marker - 1, marker, marker + 2, marker + 4, total - 1):
        done, _, ended = maintained(commits, every_look=False)
        assert (done, ended) == (commits, expected), commits


def test_a_date_in_the_future_and_a_pause_remove_nothing(spark: SparkSession, tmp_path: Path) -> None:
    workspace, warehouse = audited(spark, tmp_path / "future", "future")
    context = workspace.context("maintain_tables", "maintenance.keep_nights=2", dt=date(2062, 1, 1))
    folder = set_of(context, FIRST)
    maintain_tables.run(context)
    assert dates_seen(warehouse) == [[2, 3], [2, 3]]
    assert folder.exists()  # of the newest fourteen nights
    maintain_tables.run(workspace.context("maintain_tables", dt=FIRST + timedelta(days=1000)))
    assert dates_seen(warehouse) == [[2, 3], [2, 3]]


def test_a_backfill_under_way_keeps_what_it_has(spark: SparkSession, tmp_path: Path) -> None:
    workspace, warehouse = audited(spark, tmp_path / "backfill", "backfill")
    old = ["maintenance.keep_nights=1", "maintenance.keep_bulk_nights=1"]
    context = workspace.context("maintain_tables", *old, dt=FIRST + timedelta(days=2))
    held, between_jobs, over = (FIRST - timedelta(days=days) for days in (10, 20, 30))
    folders = {dt: set_of(context, dt) for dt in (held, between_jobs, over)}
    write_night(workspace.warehouse(between_jobs), 7)
    holder = hold_elsewhere(context, held)
    maintain_tables.run(context)
    assert {dt for dt, folder in folders.items() if folder.exists()} == {held, between_jobs}
    assert workspace.warehouse(between_jobs).branch in warehouse.references(AUDIT_METRICS)
    holder.communicate()
    maintain_tables.run(context)
    assert {dt for dt, folder in folders.items() if folder.exists()} == {between_jobs}
    publish(workspace.warehouse(between_jobs))  # goes on to its end
    assert between_jobs in [publication.dt for publication in publications(warehouse)]


def test_the_job_maintains_what_is_there(spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    workspace = open_workspace(spark, tmp_path / "maintained", "maintained")
    maintain_tables.run(workspace.context("maintain_tables"))
    assert "0 publications of planted leave" in caplog.text  # and no table
    workspace, warehouse = audited(spark, tmp_path / "two", "two_nights", nights=2)
    maintain_tables.run(workspace.context("maintain_tables", "maintenance.keep_nights=1", dt=warehouse.dt))
    assert dates_seen(warehouse) == [[2], [2]]
    assert "two_nights.planted.audit_metrics: files 2 to 1" in caplog.text
    assert "0 folders of representations" in caplog.text


def test_the_job_maintains_the_comparisons_of_a_study(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    workspace = open_workspace(spark, tmp_path / "compared", "compared")
    study = Warehouse(spark, "compared", {"data": "paper"}, FIRST)
    row = ("films", "sasrec", "last", "sae", "fvu", 0.5)
    study.merge(COMPARISONS, spark.createDataFrame([row], COMPARISONS.row_schema))
    maintain_tables.run(workspace.context("maintain_tables", "namespace=paper"))
    assert "compared.paper.comparisons: files 1 to 1" in caplog.text
