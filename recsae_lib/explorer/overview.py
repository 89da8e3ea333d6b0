"""What the page says of the whole audit: headline, baselines, coverage, nights, tunings. All of it is small."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from recsae_lib.concepts.item_terms import derived_features, is_feature
from recsae_lib.explorer.cards import Read
from recsae_lib.explorer.texts import FEATURE, cut, rounded
from recsae_lib.platform.warehouse import tables
from recsae_lib.platform.warehouse.tables import JUDGED_UNITS, UnitKind
from recsae_lib.tuning.reading import tuning_sentences
from recsae_lib.verification.figures import Figures, figure, over_seeds, text, why_nothing_is_confirmed
from recsae_lib.verification.findings import COLUMNS, better_baselines, headline, unit_rows

MOST_FEATURES = 200  # of the catalogue, the most frequent ones
CONCEPTS_OF_FEATURE = 12
MOST_NIGHTS = 90
MOST_TUNINGS = 20
COUNTED = ("interpretable_units", "confirmed_units")  # baselines are drawn side by side by these
# What is followed over the nights, all of the SAE.
FOLLOWED = (
    *("interpretable_units", "confirmed_units", "mean_confidence", "feature_coverage_of_interpretable"),
    *("found_again_share", "ndcg_at_10_kept", "fvu"),
)
TUNED = (
    *("feature_share_change", "exposure_error", "ndcg@10_kept", "overlap@10", "other_features_moved"),
    *("average_popularity", "long_tail_share", "catalogue_coverage", "gini"),
)
INDEX = ("confidence", "removal_effect", "found_again")  # columns of concepts that lists show, in hundredths


def overview(read: Read) -> dict[str, Any]:
    """Read what the page says of the whole audit.

    Parameters
    ----------
    read : gives the rows of a table that the audit published.
    """
    figures: Figures = {
        (row["unit_kind"], row["metric"]): row["value"]
        for row in read(tables.AUDIT_METRICS).collect()  # some hundred rows
    }
    coverage = read(tables.CONCEPT_COVERAGE).drop("dt", "sae_version").orderBy("unit_kind", "min_confidence")
    return {
        "headline": headline(figures),
        "warnings": better_baselines(figures),
        "unit_columns": [name.replace("-\n", "").replace("\n", " ") for name in COLUMNS],
        "unit_rows": unit_rows(figures),
        "units": _units(figures),
        "figures": [[kind, metric, value] for (kind, metric), value in sorted(figures.items())],
        "titles": {kind.value: kind.heading for kind in UnitKind},
        "fidelity": _fidelity(figures),
        "coverage": [row.asDict() for row in coverage.collect()],  # some rows a kind of units
        "features": _features(read),
        "tunings": _tunings(read(tables.TUNING_EFFECTS)),
        "tuning_sentences": tuning_sentences(read(tables.TUNING_EFFECTS)),
        "changes": _changes(read(tables.CONCEPT_DRIFT)),
    }


def _units(figures: Figures) -> list[dict[str, Any]]:
    """Counts of each kind of units with their intervals over seeds, as numbers to be drawn."""
    drawn = []
    for kind in JUDGED_UNITS:
        if figure(figures, kind, "live_units") is None:
            continue
        entry: dict[str, Any] = {"kind": kind.heading, "live": figure(figures, kind, "live_units")}
        for metric in COUNTED:
            is_missing = metric == "confirmed_units" and why_nothing_is_confirmed(figures, kind)
            mean = None if is_missing else over_seeds(figures, kind, metric)
            low, high = (figure(figures, kind, f"{metric}_{end}") for end in ("low", "high"))
            entry[metric] = [mean, None if is_missing else low, None if is_missing else high]
        drawn.append(entry)
    return drawn


def _fidelity(figures: Figures) -> list[list[str]]:
    """How much of the recommender the SAE keeps: rows of what is measured, of the SAE and of an untrained one."""
    shown = {
        "fvu": ("Fraction of variance unexplained (FVU)", ".4f"),
        "l0": ("Active latents a user (L0)", ".2f"),
        "dead_fraction": ("Dead latents", ".1%"),
        "ndcg_at_10_kept": ("NDCG@10 kept with x̂ in place of x", ".1%"),
    }
    kinds = (UnitKind.SAE, UnitKind.UNTRAINED, UnitKind.UNTRAINED_FITTED)
    return [
        [title, *(text(over_seeds(figures, kind, metric), form) for kind in kinds)]
        for metric, (title, form) in shown.items()
    ]


def _features(read: Read) -> list[dict[str, Any]]:
    """The most frequent features of the catalogue, each with the interpretable concepts of which it is a term."""
    items = read(tables.ITEMS)
    concepts = read(tables.CONCEPTS).select("latent_id", "interpretable", "confidence")
    derived = derived_features(items)
    kinds = {"feature": F.col("features"), "derived": derived}
    counted = [
        items.select(F.explode(features).alias("feature"), F.lit(kind).alias("kind"))
        for kind, features in kinds.items()
    ]
    frequent = counted[0].unionByName(counted[1]).groupBy("feature", "kind").agg(F.count(F.lit(1)).alias("items"))
    frequent = frequent.orderBy(F.desc("items"), "feature").limit(MOST_FEATURES)
    terms = read(tables.CONCEPT_TERMS).where(is_feature(F.col("kind")) & F.col("significant"))
    named = (
        terms.select("latent_id", F.col("term").alias("feature"), "kind", "rank")
        .join(concepts.where("interpretable"), "latent_id")
        .join(F.broadcast(frequent.select("feature", "kind")), ["feature", "kind"])
    )
    entry = F.struct("rank", -F.col("confidence"), "latent_id")
    by_feature = named.groupBy("feature", "kind").agg(
        F.count(F.lit(1)).alias("concepts"),
        F.slice(F.sort_array(F.collect_list(entry)), 1, CONCEPTS_OF_FEATURE)["latent_id"].alias("latents"),
    )
    found = frequent.join(by_feature, ["feature", "kind"], "left").withColumn("feature", cut(F.col("feature"), FEATURE))
    rows = found.orderBy(F.desc("items"), "feature").collect()  # `MOST_FEATURES` at most
    return [row.asDict() for row in rows]


def _tunings(effects: DataFrame) -> list[dict[str, Any]]:
    """What tunings changed on held-out users, beside their controls: some hundred rows each."""
    named = effects.select("tuning").distinct().orderBy("tuning").limit(MOST_TUNINGS)
    shown = rounded(effects.join(F.broadcast(named), "tuning").where(F.col("metric").isin(*TUNED)))
    columns = ("tuning", "comparison", "method", "strength", "metric", "value", "low", "high")
    return [
        row.asDict() for row in shown.select(*columns).orderBy("tuning", "comparison", "method", "metric").collect()
    ]


def _changes(drift: DataFrame) -> list[dict[str, Any]]:
    """How many latents are stable, drifted, born, … against each audit that this one was compared with."""
    counts = drift.groupBy("previous_dt", "change").agg(F.count(F.lit(1)).alias("latents"))
    rows = counts.orderBy(F.desc("previous_dt"), "change").collect()  # six rows an audit at most
    return [row.asDict() | {"previous_dt": row["previous_dt"].isoformat()} for row in rows]


def nights(metrics: DataFrame, drift: DataFrame, dates: Sequence[date]) -> list[dict[str, Any]]:
    """How figures of the SAE went over the published nights, oldest first.

    Parameters
    ----------
    metrics, drift : rows of audit_metrics and concept_drift of all dates that readers see.
    dates : of the published audits, newest first; the `MOST_NIGHTS` newest are shown.
    """
    shown = sorted(dates)[-MOST_NIGHTS:]
    rows = metrics.where(
        F.col("dt").isin(shown) & (F.col("unit_kind") == UnitKind.SAE.value) & F.col("metric").isin(*FOLLOWED)
    )
    found: dict[date, dict[str, float]] = defaultdict(dict)
    for row in rows.select("dt", "metric", "value").collect():  # some figures a night
        found[row["dt"]][row["metric"]] = row["value"]
    is_stable = F.avg((F.col("change") == "stable").cast("int")).alias("stable_share")
    compared = drift.where(F.col("dt").isin(shown)).groupBy("dt", "previous_dt").agg(is_stable)
    for row in compared.orderBy("previous_dt").collect():  # some rows a night; the newest earlier audit is the last
        found[row["dt"]]["stable_share"] = row["stable_share"]
    return [{"dt": dt.isoformat(), **found.get(dt, {})} for dt in shown]


def index_columns(concepts: DataFrame, drift: DataFrame) -> dict[str, list[Any]]:
    """What the page's lists and its search hold of every concept, column by column: some bytes a concept.

    Parameters
    ----------
    concepts, drift : rows of concepts and concept_drift of the audit.
    """
    newest = drift.agg(F.max("previous_dt").alias("previous_dt"))
    # A latent may be merged of several: the first by name.
    changes = (
        drift.join(F.broadcast(newest), "previous_dt")
        .where(F.col("latent_id").isNotNull())
        .groupBy("latent_id")
        .agg(F.min("change").alias("change"))
    )
    columns = ("latent_id", "label", "status", "interpretable", "confirmed", "active_users", "same_as", *INDEX)
    # M rows at most.
    rows = concepts.select(*columns).join(changes, "latent_id", "left").orderBy("latent_id").collect()
    found: dict[str, list[Any]] = {
        "id": [row["latent_id"] for row in rows],
        "label": [_short(row["label"]) for row in rows],
        "users": [row["active_users"] for row in rows],
        "state": [_state(row) for row in rows],
        "change": [row["change"] or "" for row in rows],
    }
    for name in INDEX:
        found[name] = [None if row[name] is None else round(100 * row[name]) for row in rows]
    return found


def users_of(concepts: DataFrame) -> int:
    """Number of users that an audit encoded, by the reach of its most frequent latent; 0 without latents."""
    most = concepts.orderBy(F.desc("active_users")).select("active_users", "density").head()
    return 0 if most is None or not most["density"] else round(most["active_users"] / most["density"])


def _short(label: str | None) -> str:
    return "" if label is None else label if len(label) <= FEATURE else f"{label[: FEATURE - 1]}…"


def _state(row: Row) -> int:
    """0 unnamed, 1 named but not interpretable, 2 interpretable, 3 confirmed."""
    if row["confirmed"]:
        return 3
    if row["interpretable"]:
        return 2
    return 0 if row["status"] == "unlabelled" else 1
