"""`recsae ratings`: concepts out of the warehouse to people, and what they say back into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table as PrintedTable
from rich.text import Text

from recsae_lib.cli.summary import newest_published, published_evidence
from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.storage.reports import write_report
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.store import Warehouse
from recsae_lib.ratings.files import SortedRows, read_rows, sort_rows
from recsae_lib.ratings.page import render_page, render_sheet
from recsae_lib.ratings.sample import (
    Concept,
    Evidence,
    RatingCase,
    RatingSample,
    build_sample,
    draw_concepts,
)
from recsae_lib.ratings.scores import RatingMetric, figures_of, rating_metrics

SHOWN = 10  # terms, and items, of a case
KEPT_OF_KEY = ("sample", "sae_version", "case_id", "kind", "latent_id")  # in the order of concept_ratings


def export_ratings(context: JobContext, number: int, exact_dt: date | None) -> None:
    """Draw a sample of the published concepts that have a label; write page, sheet and key.

    The key goes to rating_samples, beside those of other samples of the date, before the page is written.

    Raises
    ------
    InputError : nothing is published for the date, or no concept has a label.
    """
    warehouse = context.warehouse.at(exact_dt or newest_published(context.warehouse))
    rows = warehouse.read_published(tables.CONCEPTS).collect()  # M rows
    labelled = [row for row in rows if row["status"] == "labelled"]
    if not labelled:
        raise InputError(
            f"Of {len(rows)} concepts published for dt={warehouse.dt} none has a label", "Give another --dt"
        )
    concepts = [
        Concept(row["latent_id"], row["label"], row["description"], row["confidence"], row["interpretable"])
        for row in labelled
    ]
    draw = draw_concepts(concepts, number, context.settings.seed)
    terms, items = published_evidence(warehouse, draw.latents, SHOWN)
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
    kinds = Counter(case.kind for case in sample.cases)
    console = Console(width=110)
    console.print(
        f"{len(sample.cases)} cases: {kinds['concept']} of {len(labelled):,} concepts with a label "
        f"({len(rows) - len(labelled):,} without one are left out), {kinds['repeat']} shown again, "
        f"{kinds['wrong_label']} with a wrong label"
    )
    for stratum, size in sorted(draw.sizes.items()):
        drawn = sum(concept.stratum == stratum for concept in draw.rated)
        console.print(f"  {stratum}: {drawn} of {size:,}")
    print(*files, sep="\n")


def import_ratings(context: JobContext, files: Sequence[Path], exact_dt: date | None) -> None:
    """Store the ratings of files, each under the date of its sample; refused rows go to rating_rejects.

    Nothing is written before all files were read. A rater's ratings of a sample are replaced as a whole by what these
    files hold of them.

    Raises
    ------
    InputError : a file is none of ratings, no sample has been drawn, or no row was accepted.
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
        before += _replace_ratings(warehouse.at(dt), found)
    _replace_rejects(warehouse, sorted_rows, {row.file_digest for row in rows})
    _print_import(sorted_rows, before)
    if not sorted_rows.accepted:
        raise InputError("No rating was accepted", "The table rating_rejects says why of each row")


def report_ratings(context: JobContext, exact_dt: date | None) -> None:
    """Compute and print what people say of each sample of one date, and replace its rows of rating_metrics.

    Raises
    ------
    InputError : there are no ratings.
    """
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
    metrics = []
    for sample, rows in frame.groupby("sample"):
        key = keys[keys["sample"] == sample]
        figures = rating_metrics(rows.drop(columns="sample"), key.drop(columns=["dt", "sample"]), context.settings.seed)
        sae_version = int(key["sae_version"].iloc[0])
        metrics += [
            (sample, sae_version, figure.raters, figure.subject, figure.metric, figure.value) for figure in figures
        ]
        _print_report(f"{context.namespaces['audit']}, dt={dt}, SAE version {sae_version}, sample {sample}", figures)
    _replace(warehouse, tables.RATING_METRICS, metrics)


def _replace(warehouse: Warehouse, table: tables.Table, rows: Iterable[tuple[Any, ...]]) -> None:
    warehouse.replace_published(table, warehouse.spark.createDataFrame(list(rows), table.versioned_row_schema))


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

    kept = _kept(warehouse, tables.RATING_SAMPLES)
    if not any(other[0] == sample.digest for other in kept):
        new = [row(place, case) for place, case in enumerate(sample.cases, start=1)]
        _replace(warehouse, tables.RATING_SAMPLES, kept + new)


def _replace_ratings(warehouse: Warehouse, new: list[tuple[Any, ...]]) -> Counter[tuple[str, str]]:
    """Put new ratings of each sample and rater in the place of those that were there; returns how many those were."""
    kept = _kept(warehouse, tables.CONCEPT_RATINGS)
    renewed = {(row[0], row[5]) for row in new}
    merged = sorted([row for row in kept if (row[0], row[5]) not in renewed] + new)
    if merged != sorted(kept):
        _replace(warehouse, tables.CONCEPT_RATINGS, merged)
    return Counter((row[0], row[5]) for row in kept if (row[0], row[5]) in renewed)


def _replace_rejects(warehouse: Warehouse, sorted_rows: SortedRows, digests: set[str]) -> None:
    new = [
        (refused.row.file, refused.row.file_digest, refused.row.line, refused.reason, refused.row.record)
        for refused in sorted_rows.refused
    ]
    kept = _kept(warehouse, tables.RATING_REJECTS)
    merged = sorted([row for row in kept if row[1] not in digests] + new)
    if merged != sorted(kept):
        _replace(warehouse, tables.RATING_REJECTS, merged)


def _print_import(sorted_rows: SortedRows, before: Counter[tuple[str, str]]) -> None:
    console = Console(width=110)
    accepted = Counter((row.sample, row.rater) for row in sorted_rows.accepted)
    for (sample, rater), ratings in sorted(accepted.items()):
        replaced = f", in the place of {before[sample, rater]}" if before[sample, rater] else ""
        console.print(Text(f"{rater}: {ratings} ratings of sample {sample}{replaced}"))
    if sorted_rows.unrated:
        console.print(f"{len(sorted_rows.unrated)} rows have no rating yet")
    reasons = Counter((refused.row.file, refused.reason) for refused in sorted_rows.refused)
    for (file, reason), count in sorted(reasons.items()):
        console.print(Text(f"refused {count} of {file}: {reason}"))


def _print_report(name: str, metrics: list[RatingMetric]) -> None:
    console = Console(width=130)
    console.rule(f"Ratings of {name}")
    subjects = list(dict.fromkeys(metric.subject for metric in metrics if not metric.subject.startswith("rater: ")))
    relevance = PrintedTable(
        "concepts", "rated", "mean relevance, 1 to 4", "95 % interval", "attentive raters only", "95 % interval"
    )
    for subject in subjects:
        cells: list[str] = []
        for raters in ("all", "attentive"):
            figures = figures_of(metrics, raters, subject)
            cells += [_shown(figures.get("mean_relevance")), _interval(figures)]
        rated = figures_of(metrics, "all", subject)["concepts"]
        relevance.add_row("all" if subject == "concepts" else subject, f"{rated:.0f}", *cells)
    console.print(relevance)

    agreement = PrintedTable("agreement", "all raters", "attentive raters only")
    everyone, attentive = (figures_of(metrics, raters, "concepts") for raters in ("all", "attentive"))
    for title, figure, form in (
        ("raters", "raters", ".0f"),
        ("between people: Krippendorff's alpha, ordinal", "krippendorff_alpha", ".2f"),
        ("judge and people: Spearman of confidence and mean rating", "spearman_confidence", ".2f"),
        ("judge and people: ROC-AUC of confidence, mean rating ≥ 3", "auc_confidence", ".2f"),
        ("judge and people: ROC-AUC of interpretable, mean rating ≥ 3", "auc_interpretable", ".2f"),
    ):
        agreement.add_row(title, _shown(everyone.get(figure), form), _shown(attentive.get(figure), form))
    console.print(agreement)

    people = PrintedTable("rater", "ratings", "mean", "bias", "wrong labels rated low", "repeats within 1", "attentive")
    for subject in sorted({metric.subject for metric in metrics if metric.subject.startswith("rater: ")}):
        figures = figures_of(metrics, "all", subject)
        people.add_row(
            Text(subject.removeprefix("rater: ")),
            _shown(figures["ratings"], ".0f"),
            _shown(figures["mean"]),
            _shown(figures["bias"], "+.2f"),
            _shown(figures["wrong_labels_low"], ".0%"),
            _shown(figures["repeats_close"], ".0%"),
            "yes" if figures["attentive"] else "NO",
        )
    console.print(people)
    console.print(
        "Means weigh each stratum by its published concepts; intervals resample concepts within strata (bootstrap). "
        "Bias: own rating minus the others' mean on the same concepts. Attentive: 70 % of the checks of each sort."
    )


def _interval(figures: Any) -> str:
    low, high = figures.get("mean_relevance_low"), figures.get("mean_relevance_high")
    return "–" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _shown(value: float | None, form: str = ".2f") -> str:
    return "–" if value is None else format(value, form)
