"""What a person sees at the end of an audit, and concepts in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsae_lib.errors import InputError
from recsae_lib.platform.job.context import JobContext
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.published import published_audits
from recsae_lib.platform.warehouse.store import Warehouse

UNIT_KINDS = {
    "sae": "sae",
    "shuffled": "  with shuffled labels",
    "init": "init",
    "dimension": "dimension",
}


def print_summary(context: JobContext, seconds: Mapping[str, float]) -> None:
    """Print recommender metrics, SAE metrics, concepts against chance and coverage, all from the published tables.

    Parameters
    ----------
    seconds : that each job took.
    """
    console, warehouse = Console(width=130), context.warehouse
    metrics = {
        (row["unit_kind"], row["metric"]): row["value"]
        for row in warehouse.read_published(tables.AUDIT_METRICS).collect()  # some hundred rows
    }

    def shown(unit_kind: str, metric: str, form: str = ".4f") -> str:
        value = metrics.get((unit_kind, metric))
        return "–" if value is None else format(value, form)

    console.rule(f"Audit {context.namespaces['audit']}, dt={context.dt}, SAE version {context.sae_version}")
    split = "by time" if context.settings.recommender.split.by == "time" else "leave-one-out"
    cutoffs = [f"{metric}@{cutoff}" for metric in ("HR", "NDCG") for cutoff in (5, 10, 20, 50)]
    accuracy = Table(f"full catalogue, {split}", *cutoffs, "coverage@10", "popularity@10", "Gini@10")
    for kind, name in (
        ("recommender", context.settings.recommender.kind),
        ("reconstructed", "  with x̂ in place of x"),
        ("item_knn", "item-kNN"),
        ("popularity", "popularity"),
    ):
        accuracy.add_row(
            name,
            *[shown(kind, f"{metric}_at_{cutoff}", ".3f") for metric in ("hr", "ndcg") for cutoff in (5, 10, 20, 50)],
            shown(kind, "catalogue_coverage_at_10", ".3f"),
            shown(kind, "average_popularity_at_10", ".0f"),
            shown(kind, "gini_at_10", ".3f"),
        )
    console.print(accuracy)
    console.print(
        f"SAE: FVU {shown('sae', 'fvu')}, L0 {shown('sae', 'l0', '.2f')}, "
        f"dead latents {shown('sae', 'dead_fraction', '.1%')}, "
        f"NDCG@10 kept {shown('sae', 'ndcg_at_10_kept', '.1%')}"
    )

    units = Table(
        "units", "live", "interpretable", "expected by chance", "mean confidence", "coherence", "distinctiveness"
    )
    verdicts = Table(
        "units", "confidence p10", "p50", "p90", "fully judged", "with a best feature", "expected by chance"
    )
    for kind, name in UNIT_KINDS.items():
        units.add_row(
            name,
            shown(kind, "live_units", ".0f"),
            shown(kind, "interpretable_units", ".0f"),
            shown(kind, "interpretable_units_expected_by_chance", ".2f"),
            shown(kind, "mean_confidence", ".3f"),
            shown(kind, "coherence_representation", ".3f"),
            shown(kind, "distinctiveness_representation", ".3f"),
        )
        verdicts.add_row(
            name,
            *[shown(kind, f"confidence_p{share}", ".2f") for share in (10, 50, 90)],
            shown(kind, "fully_judged_units", ".0f"),
            shown(kind, "best_feature_units", ".0f"),
            shown(kind, "best_feature_units_expected_by_chance", ".2f"),
        )
    console.print(units)
    console.print(verdicts)
    if ("sae", "judge_agreement") in metrics:
        console.print(
            f"judge llm: {shown('sae', 'llm_interpretable_units', '.0f')} of "
            f"{shown('sae', 'llm_judged_units', '.0f')} judged latents interpretable "
            f"({shown('sae', 'llm_interpretable_units_expected_by_chance', '.2f')} by chance), "
            f"{shown('sae', 'interpretable_by_both_judges', '.0f')} by both judges, mean confidence "
            f"{shown('sae', 'llm_mean_confidence', '.3f')}; the judges agree in "
            f"{shown('sae', 'judge_agreement', '.1%')} of the cases (kappa {shown('sae', 'judge_kappa', '.2f')}), "
            f"{shown('sae', 'llm_refused_answers', '.0f')} answers refused"
        )

    coverage = Table(
        "coverage of the SAE at confidence", "units", "by chance", "features", "shuffled", "items", "users"
    )
    rows = warehouse.read_published(tables.CONCEPT_COVERAGE).where("unit_kind = 'sae'").orderBy("min_confidence")
    for row in rows.collect():  # one row a confidence
        coverage.add_row(
            f"≥ {row['min_confidence']:.1f}",
            str(row["units"]),
            f"{row['units_expected_by_chance']:.1f}",
            *[
                f"{row[name]:.1%}"
                for name in ("feature_coverage", "shuffled_feature_coverage", "item_coverage", "user_coverage")
            ],
        )
    console.print(coverage)
    slowest = sorted(seconds.items(), key=lambda item: -item[1])[:3]
    console.print(
        f"{sum(seconds.values()):.0f} s in {len(seconds)} jobs (longest: "
        + ", ".join(f"{job} {time:.0f} s" for job, time in slowest)
        + ")"
    )
    console.print(
        "Look next: `recsae concepts --top 10` · `recsae concepts --latent ID` · "
        '`recsae sql "SELECT * FROM concepts"` · `recsae versions`',
        markup=False,
    )


def print_concepts(context: JobContext, top: int, latent: int | None, exact_dt: date | None) -> None:
    """Print published concepts of one date (the newest published one unless told).

    Raises
    ------
    InputError : nothing is published, or there is no such latent.
    """
    warehouse = context.warehouse
    dt = exact_dt or newest_published(warehouse)
    warehouse = Warehouse(warehouse.spark, warehouse.catalog, warehouse.namespaces, dt)
    concepts = warehouse.read_published(tables.CONCEPTS)
    if latent is not None:
        concepts = concepts.where(F.col("latent_id") == latent)
    shown = concepts.orderBy(F.desc_nulls_last("confidence"), "q_value", "latent_id").limit(top).collect()
    if not shown:
        wanted = f"latent {latent}" if latent is not None else "concepts"
        raise InputError(
            f"There are no published {wanted} for dt={dt}", "A dead latent has no concept; `recsae sql` shows all"
        )
    ids = [row["latent_id"] for row in shown]
    depth = 10 if latent is None else 25
    terms, items_of = published_evidence(warehouse, ids, depth)
    console = Console(width=110)
    for row in shown:
        verdict = "interpretable" if row["interpretable"] else "not interpretable"
        confidence = (
            f"not judged by {row['judge']}"
            if row["confidence"] is None
            else f"confidence {row['confidence']:.2f} ({row['confidence_low']:.2f} to {row['confidence_high']:.2f}), "
            f"q {row['q_value']:.3g}, judge {row['judge']}"
        )
        console.rule(Text(f"latent {row['latent_id']}: {row['label']}"), align="left")
        console.print(Text(f"{row['description']}"))
        console.print(Text(f"{verdict}, {confidence}; fires for {row['active_users']:,} users ({row['density']:.1%})"))
        if row["best_feature"] is not None:
            console.print(Text(f"tells apart best: {row['best_feature']} (ROC-AUC {row['best_feature_auc']:.2f})"))
        named = (f"{t['term']} ({t['kind']}, z {t['z_score']:.1f})" for t in terms.get(row["latent_id"], []))
        console.print(Text("terms: " + (", ".join(named) or "none is significant")))
        titles = (i["title"] or i["item_id"] for i in items_of.get(row["latent_id"], []))
        console.print(Text("items: " + ("; ".join(titles) or "none from the construct half")))


def published_evidence(
    warehouse: Warehouse, latents: list[int], depth: int
) -> tuple[dict[int, list[Any]], dict[int, list[Any]]]:
    """Rows of significant terms, and of items with title and features, by latent: up to rank `depth`, best first."""
    items = warehouse.read_published(tables.LATENT_ITEMS).join(
        warehouse.read_published(tables.ITEMS).select("item_id", "title", "features"), "item_id", how="left"
    )
    terms = warehouse.read_published(tables.CONCEPT_TERMS).where("significant")
    return _grouped(terms, latents, depth), _grouped(items, latents, depth)


def newest_published(warehouse: Warehouse) -> date:
    """Date of the newest published audit.

    Raises
    ------
    InputError : nothing has been published yet.
    """
    published = published_audits(warehouse)
    if not published:
        raise InputError(f"No audit of {warehouse.namespaces['audit']} has been published", "Run `recsae audit` first")
    return published[0].dt


def _grouped(rows: DataFrame, latents: list[int], depth: int) -> dict[int, list[Any]]:
    wanted = rows.where(F.col("latent_id").isin(latents) & (F.col("rank") <= depth)).orderBy("latent_id", "rank")
    grouped: dict[int, list[Any]] = {}
    for row in wanted.collect():  # at most `depth` rows a latent shown
        grouped.setdefault(row["latent_id"], []).append(row)
    return grouped
