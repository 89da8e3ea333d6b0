"""People who import, report and compare at the same moment: nothing that one brought is lost by the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.config import load_settings
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import store, tables
from recsae_lib.platform.warehouse.tables import Table
from recsae_lib.ratings import exchange
from recsae_lib.ratings.exchange import import_ratings, report_ratings
from tests.catalogs import declare
from tests.ratings.test_exchange import write_file
from tests.rest_catalog import rest_catalog

pytestmark = pytest.mark.integration

DT = date(2026, 11, 20)
SAMPLE, CASES = "s1", ("c1", "c2", "c3")


@pytest.fixture(scope="module")
def catalog(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that does not make people wait for each other's commits, as a local folder does."""
    folder = str(tmp_path_factory.mktemp("at_once") / "warehouse")
    with rest_catalog(spark, Path(folder)) as uri:
        yield declare(spark, "at_once", type="rest", uri=uri, warehouse=folder, cache_enabled="false")


@pytest.fixture
def context(spark: SparkSession, catalog: str, tmp_path: Path, request: pytest.FixtureRequest) -> JobContext:
    """With a sample of three cases on which nobody has said anything."""
    namespace = request.node.name.removeprefix("test_")[:30]
    settings = load_settings(None, None, [f"catalog={catalog}", f"namespace={namespace}", f"paths.var={tmp_path}"])
    context = JobContext("ratings", settings, DT)
    context.shared.spark = spark
    rows = [
        (SAMPLE, 7, case, place, "concept", place, place, "", "", "", 3, 0.9, True) for place, case in enumerate(CASES)
    ]
    table = tables.RATING_SAMPLES
    context.warehouse.merge(table, spark.createDataFrame(rows, table.versioned_row_schema))
    return context


def before_the_commit(monkeypatch: pytest.MonkeyPatch, table: Table, action: Callable[[], object]) -> list[str]:
    """Do something once, after the next writer of a table has read it and before it writes; returns the writes."""
    overwrite, written = store.overwrite, list[str]()

    def overwrite_late(target: str, *arguments: Any) -> None:
        mine = target.endswith(f".{table.name}")
        if mine:
            written.append(target)
        if mine and len(written) == 1:
            action()
        overwrite(target, *arguments)

    monkeypatch.setattr(store, "overwrite", overwrite_late)
    return written


def says(folder: Path, rater: str, *ratings: int) -> list[Path]:
    rows = [(SAMPLE, case, rater, rating) for case, rating in zip(CASES, ratings, strict=False)]
    return [write_file(folder / f"{rater}-{'-'.join(map(str, ratings))}.csv", *rows)]


def stored(context: JobContext) -> dict[str, list[int]]:
    """What each rater says, in the order of the cases."""
    found: dict[str, list[int]] = {}
    rows = context.warehouse.read_published(tables.CONCEPT_RATINGS).collect()
    for row in sorted(rows, key=lambda row: row["case_id"]):
        found.setdefault(row["rater"], []).append(row["rating"])
    return found


def test_two_raters_at_once(context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At first into a table without rows, then in the place of what they said before."""
    for anna, bert in (((4, 3, 2), (1, 1)), ((1, 2, 3), (4,))):
        late = lambda bert=bert: import_ratings(context, says(tmp_path, "bert", *bert), None)  # noqa: E731
        before_the_commit(monkeypatch, tables.CONCEPT_RATINGS, late)
        import_ratings(context, says(tmp_path, "anna", *anna), None)
        monkeypatch.undo()
        assert stored(context) == {"anna": list(anna), "bert": list(bert)}


def test_one_rater_twice_at_once(context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the two sets is there, whole, and the other one is not."""
    other = says(tmp_path, "anna", 1, 1, 1)
    before_the_commit(monkeypatch, tables.CONCEPT_RATINGS, lambda: import_ratings(context, other, None))
    import_ratings(context, says(tmp_path, "anna", 4, 4), None)
    assert stored(context) == {"anna": [4, 4]}


def test_refused_rows_of_two_files_at_once(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = says(tmp_path, "anna", 9), says(tmp_path, "bert", 8)
    before_the_commit(monkeypatch, tables.RATING_REJECTS, lambda: import_ratings(context, second, None))
    import_ratings(context, first, None)
    rejects = context.warehouse.read_published(tables.RATING_REJECTS).collect()
    assert sorted(row["file"] for row in rejects) == ["anna-9.csv", "bert-8.csv"]


def test_a_report_is_of_what_was_imported_meanwhile(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_ratings(context, says(tmp_path, "anna", 4, 4, 4), None)

    def import_and_report() -> None:
        import_ratings(context, says(tmp_path, "bert", 1, 1, 1), None)
        report_ratings(context, DT)

    before_the_commit(monkeypatch, tables.RATING_METRICS, import_and_report)
    report_ratings(context, DT)
    figures = context.warehouse.read_published(tables.RATING_METRICS)
    (raters,) = figures.where("raters = 'all' AND subject = 'concepts' AND metric = 'raters'").collect()
    assert raters["value"] == 2


def test_samples_drawn_at_once_are_both_kept(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = context.warehouse

    def keep(sample: str, cases: int) -> None:
        rows = [(sample, 7, f"c{place}", place, "concept", 1, 1, "", "", "", 3, 0.9, True) for place in range(cases)]
        exchange._replace(warehouse, tables.RATING_SAMPLES, rows, ("sample",))

    def keep_others() -> None:
        keep("s3", 2)
        keep("s2", 2)

    before_the_commit(monkeypatch, tables.RATING_SAMPLES, keep_others)
    keep("s2", 2)  # the same one, too
    rows = warehouse.read_published(tables.RATING_SAMPLES).groupBy("sample").count().collect()
    assert {row["sample"]: row["count"] for row in rows} == {SAMPLE: 3, "s2": 2, "s3": 2}


def test_what_comes_for_another_date_is_no_conflict(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def row(model: str) -> tuple[object, ...]:
        return "shop", model, "last", "sae", "fvu", 0.5

    def merge(dt: date, *models: str) -> None:
        rows = context.spark.createDataFrame([row(model) for model in models], tables.COMPARISONS.row_schema)
        context.warehouse.at(dt).merge(tables.COMPARISONS, rows, rows.select("data_set", "model").distinct())

    merge(DT, "a")
    later = DT + timedelta(days=1)
    written = before_the_commit(monkeypatch, tables.COMPARISONS, lambda: merge(later, "a"))
    merge(DT, "b")
    assert len(written) == 2  # each once
    rows = context.warehouse.read_all(tables.COMPARISONS).collect()
    assert sorted((row["dt"], row["model"]) for row in rows) == [(DT, "a"), (DT, "b"), (later, "a")]
