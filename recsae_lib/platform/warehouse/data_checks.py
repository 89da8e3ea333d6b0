"""Checks of what came in: whether the catalogue says anything of what users did, and whether terms can be compared."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings
from recsae_lib.platform.spark.unseen import hides_something, holds_unseen
from recsae_lib.platform.warehouse.results import CheckResult, Severity

LONGEST_DERIVED = 100  # characters of a derived feature
SHOWN_KINDS = 10
NO_TERMS_LEFT = "look for items that have neither text nor features any more; another SAE brings no terms back"


def is_described() -> Column:
    """Whether an item (title, text, features) has any text or feature, by which a concept could be named."""
    return F.coalesce((F.trim("text") != "") | (F.size("features") > 0), F.lit(False))


def is_vanished() -> Column:
    """Whether a row of concept_drift is a latent that was matched, and has none of its terms any more and no others."""
    return (F.col("change") == "drifted") & F.col("term_similarity").isNull() & (F.size("terms_gained") == 0)


def check_catalogue(interactions: DataFrame, items: DataFrame, settings: CheckSettings) -> list[CheckResult]:
    """The share of interactions whose item has text or features, within its limits."""
    described = items.where(is_described()).select("item_id")
    used = interactions.groupBy("item_id").count()
    known = used.join(described.withColumn("known", F.lit(True)), "item_id", how="left")
    counts = known.agg(
        F.coalesce(F.sum("count"), F.lit(0)).alias("rows"),
        F.coalesce(F.sum(F.when(F.col("known"), F.col("count"))), F.lit(0)).alias("described"),
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    rows, found = counts["rows"], counts["described"]

    def limit(severity: Severity, bound: float) -> CheckResult:
        name = f"the share of interactions whose item has text or features is at least {bound:g}"
        return CheckResult("items", name, severity, int(found < bound * rows), f"{found:,} of {rows:,}")

    return [limit("fail", settings.fail_described_share), limit("warn", settings.warn_described_share)]


def check_texts(items: DataFrame) -> list[CheckResult]:
    """No id, title, text or feature of an item hides a character: ingestion has refused the ids, cleaned the others."""
    hiding = items.where(hides_something() | holds_unseen(F.col("item_id"))).count()
    name = "no id, title, text or feature holds control characters or invisible ones"
    return [CheckResult("items", name, "warn", hiding, f"{hiding:,} items")]


def derived_kinds(items: DataFrame) -> list[tuple[str, int]]:
    """Kinds of derived features (``city`` of ``city: Phoenix``) and how many items have each: the 10 commonest."""
    kinds = F.transform("derived_features", lambda feature: F.substring_index(feature, ": ", 1))
    counted = items.select(F.explode(F.array_distinct(kinds)).alias("kind")).groupBy("kind").count()
    commonest = counted.orderBy(F.desc("count"), "kind").limit(SHOWN_KINDS)
    return [(row["kind"], row["count"]) for row in commonest.collect()]


def check_derived_features(items: DataFrame) -> list[CheckResult]:
    """Derived features are of bounded length and hide no character; the detail says how many items have each kind."""
    broken = F.exists("derived_features", lambda one: holds_unseen(one) | (F.length(one) > LONGEST_DERIVED))
    name = f"no derived feature is longer than {LONGEST_DERIVED} characters, or holds invisible ones"
    shown = ", ".join(f"{kind!r} of {number:,} items" for kind, number in derived_kinds(items))
    return [CheckResult("items", name, "warn", items.where(broken).count(), shown or "there are none")]


def check_terms(terms: DataFrame, settings: CheckSettings) -> list[CheckResult]:
    """The share of the terms of latents that stand in two items or more: one that stands in one item tells nothing."""
    counts = terms.agg(F.count("term").alias("terms"), F.count_if(F.col("items") > 1).alias("shared")).first()
    assert counts is not None  # an aggregate without groups has one row
    bound = settings.minimum_shared_terms
    name = f"the share of terms that stand in two items or more is at least {bound:g}"
    broken = counts["shared"] < bound * counts["terms"] or not counts["terms"]
    return [CheckResult("concept_terms", name, "warn", int(broken), f"{counts['shared']:,} of {counts['terms']:,}")]
