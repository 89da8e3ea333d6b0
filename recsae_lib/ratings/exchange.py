"""`recsae ratings`: concepts out of the warehouse to people, and what they say back into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import Row
from pyspark.sql import types as T

from recsae_lib.concepts.publication import published_evidence
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.publications import newest_publication, publications
from recsae_lib.platform.warehouse.read_point import read_point_of
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.ratings.files import SortedRows, read_rows, sort_rows
from recsae_lib.ratings.page import render_page, render_sheet
from recsae_lib.ratings.sample import (
    Concept,
    Draw,
    Evidence,
    RatingCase,
    RatingSample,
    build_sample,
    draw_concepts,
)
from recsae_lib.ratings.scores import RatingMetric, rating_metrics

SHOWN = 10  # terms, and items, of a case
KEPT_OF_KEY = ("sample", "sae_version", "case_id", "kind", "latent_id")  # in the order of concept_ratings


@dataclass(frozen=True)
class Exported:
    """What `export_ratings` wrote.

    Parameters
    ----------
    sample, draw : the cases, and the concepts that were drawn for them.
    concepts, labelled : published concepts, and how many of them have a label.
    files : the page and the sheet.
    """

    sample: RatingSample
    draw: Draw
    concepts: int
    labelled: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Imported:
    """What `import_ratings` took from the files.

    Parameters
    ----------
    rows : accepted, refused and unrated ones.
    replaced : ratings that were there before, by sample and rater.
    """

    rows: SortedRows
    replaced: Counter[tuple[str, str]]


def export_ratings(context: JobContext, number: int, exact_dt: date | None) -> Exported:
    """Draw a sample of the published concepts that have a label; write page, sheet and key.

    The key goes to rating_samples, beside those of other samples of the date, before the page is written.

    Raises
    ------
    InputError : nothing is published for the date, or no concept has a label.
    """
    found = publications(context.warehouse)
    warehouse = context.warehouse.at(exact_dt or newest_publication(context.warehouse, found).dt)
    point = read_point_of(found, warehouse.dt)
    rows = point.read(warehouse, tables.CONCEPTS).collect()  # M rows
    labelled = [row for row in rows if row["status"] == "labelled"]
    if not labelled:
        raise InputError(
            f"Of {len(rows)} concepts published for dt={warehouse.dt} none has a label", "Give another --dt"
        )
    concepts = [
        Concept(row["latent_id"], row["label"], _own_words(row), row["confidence"], row["interpretable"])
        for row in labelled
    ]
    draw = draw_concepts(concepts, number, context.settings.seed)
    terms, items = published_evidence(warehouse, point, draw.latents, SHOWN)
    evidence = {
        latent: Evidence(
            tuple(row["term"] for row in terms.get(latent, [])),
            tuple((row["title"] or row["item_id"], tuple(row["features"] or ())) for row in items.get(latent, [])),
        )
        for latent in draw.latents
    }
    sae_version = labelled[0]["sae_version"]
    title = f"{context.namespaces['audit']}, audit of {warehouse.dt}, SAE version {sae_version}"
    sample = build_sample(title, draw, evidence, context.settings.seed)
    _keep_key(warehouse, sample, sae_version)
    contents = {
        "html": render_page(sample).encode(),
        "csv": render_sheet(sample).encode("utf-8-sig"),  # Excel takes a BOM for UTF-8
    }
    files = [
        write_report(
            context.settings.paths,
            context.namespaces["audit"],
            warehouse.dt,
            f"ratings-{sample.digest}.{ending}",
            content,
        )
        for ending, content in contents.items()
    ]
    return Exported(sample, draw, len(rows), len(labelled), tuple(files))


def _own_words(concept: Row) -> str:
    """Description of a concept; empty where it only lists terms, which the label and the list of terms do as well."""
    return "" if concept["interpreter"] == "terms" else str(concept["description"])


def import_ratings(context: JobContext, files: Sequence[Path], exact_dt: date | None) -> Imported:
    """Store the ratings of files, each under the date of its sample; refused rows go to rating_rejects.

    Nothing is written before all files were read. A rater's ratings of a sample are replaced as a whole by what these
    files hold of them.

    Raises
    ------
    InputError : a file is none of ratings, or no sample has been drawn.
    """
    contents = {content: path for path in reversed(files) for content in [path.read_bytes()]}  # copies once
    rows = [row for content, path in contents.items() for row in read_rows(path.name, content)]
    warehouse = context.warehouse
    key = {
        (row["sample"], row["case_id"]): row
        for row in warehouse.read_all(tables.RATING_SAMPLES).collect()  # people fill it: it is small
        if exact_dt in (None, row["dt"])
    }
    cases: dict[str, set[str]] = {}
    for sample, case_id in key:
        cases.setdefault(sample, set()).add(case_id)
    sorted_rows = sort_rows(rows, {sample: frozenset(ids) for sample, ids in cases.items()})
    before: Counter[tuple[str, str]] = Counter()
    for dt in sorted({key[row.sample, row.case_id]["dt"] for row in sorted_rows.accepted}):
        found = [
            (*(case[name] for name in KEPT_OF_KEY), row.rater, int(row.rating))
            for row in sorted_rows.accepted
            for case in [key[row.sample, row.case_id]]
            if case["dt"] == dt
        ]
        before += replace_ratings(warehouse.at(dt), found)
    _replace_rejects(warehouse, sorted_rows, {row.file_digest for row in rows})
    return Imported(sorted_rows, before)


def report_ratings(context: JobContext, exact_dt: date | None) -> dict[str, list[RatingMetric]]:
    """Compute what people say of each sample of one date, and replace its rows of rating_metrics.

    Returns
    -------
    The figures of each sample, by a title that names it.

    Raises
    ------
    InputError : there are no ratings.
    """
    while True:
        snapshot = context.warehouse.snapshot_id(tables.CONCEPT_RATINGS)
        reported = _report(context, exact_dt)
        if context.warehouse.snapshot_id(tables.CONCEPT_RATINGS) == snapshot:  # nobody has imported meanwhile
            return reported


def _report(context: JobContext, exact_dt: date | None) -> dict[str, list[RatingMetric]]:
    ratings = context.warehouse.read_all(tables.CONCEPT_RATINGS).collect()  # people fill it: it is small
    dt = exact_dt or max((row["dt"] for row in ratings), default=None)
    of_date = [row for row in ratings if row["dt"] == dt]
    if dt is None or not of_date:
        raise InputError(
            f"There are no ratings{f' for dt={dt}' if dt else ''}", "Run `recsae ratings export`, then import"
        )
    warehouse = context.warehouse.at(dt)
    keys: pd.DataFrame = warehouse.read_published(tables.RATING_SAMPLES).toPandas()
    frame = pd.DataFrame([(row["sample"], row["case_id"], row["rater"], row["rating"]) for row in of_date])
    frame.columns = pd.Index(["sample", "case_id", "rater", "rating"])
    metrics, reported = [], {}
    for sample, rows in frame.groupby("sample"):
        key = keys[keys["sample"] == sample]
        figures = rating_metrics(rows.drop(columns="sample"), key.drop(columns=["dt", "sample"]), context.settings.seed)
        sae_version = int(key["sae_version"].iloc[0])
        metrics += [
            (sample, sae_version, figure.raters, figure.subject, figure.metric, figure.value) for figure in figures
        ]
        reported[f"{context.namespaces['audit']}, dt={dt}, SAE version {sae_version}, sample {sample}"] = figures
    _replace(warehouse, tables.RATING_METRICS, metrics, ("sample",))
    return reported


def _replace(
    warehouse: Warehouse,
    table: tables.Table,
    rows: Iterable[tuple[Any, ...]],
    columns: tuple[str, ...],
    values: Iterable[tuple[Any, ...]] = (),
) -> None:
    """Put rows in the place of all those of the date that have the same values of some columns, or other ones that are
    given; in one commit, beside what others put there.
    """
    new, schema = list(rows), table.versioned_row_schema
    places = [schema.names.index(name) for name in columns]
    replaced = sorted({*values, *(tuple(row[place] for place in places) for row in new)})
    frame = warehouse.spark.createDataFrame
    of_columns = T.StructType([schema[name] for name in columns])
    warehouse.merge(table, frame(new, schema), frame(replaced, of_columns))


def _kept(warehouse: Warehouse, table: tables.Table) -> list[tuple[Any, ...]]:
    """Rows of the date (all rows without ``dt``) as `_replace` takes them."""
    if not warehouse.exists(table):
        return []
    return [tuple(row) for row in warehouse.read_published(table).drop("dt").collect()]


def _keep_key(warehouse: Warehouse, sample: RatingSample, sae_version: int) -> None:
    def row(place: int, case: RatingCase) -> tuple[Any, ...]:
        return (
            sample.digest,
            sae_version,
            case.case_id,
            place,
            case.kind,
            case.concept.latent_id,
            case.labelled_by.latent_id,
            case.labelled_by.label,
            case.labelled_by.description,
            case.concept.stratum,
            case.stratum_concepts,
            case.concept.confidence,
            case.concept.interpretable,
        )

    if not any(other[0] == sample.digest for other in _kept(warehouse, tables.RATING_SAMPLES)):
        new = [row(place, case) for place, case in enumerate(sample.cases, start=1)]
        _replace(warehouse, tables.RATING_SAMPLES, new, ("sample",))


def replace_ratings(warehouse: Warehouse, new: list[tuple[Any, ...]]) -> Counter[tuple[str, str]]:
    """Put new ratings of each sample and rater in the place of those that were there; returns how many those were."""
    renewed = {(row[0], row[5]) for row in new}
    before = [row for row in _kept(warehouse, tables.CONCEPT_RATINGS) if (row[0], row[5]) in renewed]
    if sorted(before) != sorted(new):
        _replace(warehouse, tables.CONCEPT_RATINGS, new, ("sample", "rater"))
    return Counter((row[0], row[5]) for row in before)


def _replace_rejects(warehouse: Warehouse, sorted_rows: SortedRows, digests: set[str]) -> None:
    new = [
        (refused.row.file, refused.row.file_digest, refused.row.line, refused.reason, refused.row.record)
        for refused in sorted_rows.refused
    ]
    before = [row for row in _kept(warehouse, tables.RATING_REJECTS) if row[1] in digests]
    if sorted(before) != sorted(new):
        _replace(warehouse, tables.RATING_REJECTS, new, ("file_digest",), [(digest,) for digest in digests])
