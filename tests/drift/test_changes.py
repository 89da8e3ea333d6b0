from __future__ import annotations

import math
from typing import Any

import pytest
from pyspark.sql import SparkSession

from recsae_lib.concepts.matching import Followed
from recsae_lib.config import DriftSettings
from recsae_lib.drift.changes import AuditedLatents, describe_changes, drift_metrics

SETTINGS = DriftSettings(top_terms=2)
NAN = math.nan


def audited(spark: SparkSession, terms: dict[int, list[tuple[str, float]]], users: dict[str, list[int]]):
    """Latents with their terms, best first, those above a tfidf of 0.1 significant; labels are their first terms."""
    rows = [
        (latent, term, "feature", tfidf, tfidf > 0.1, rank)
        for latent, of_latent in terms.items()
        for rank, (term, tfidf) in enumerate(of_latent, start=1)
    ]
    schema = "latent_id int, term string, kind string, tfidf double, significant boolean, rank int"
    active = [(user, latents, [0.5] * len(latents)) for user, latents in users.items()]
    labels = [(latent, of_latent[0][0] if of_latent else "") for latent, of_latent in terms.items()]
    return AuditedLatents(
        spark.createDataFrame(active, "user_id string, latent_ids array<int>, activations array<float>"),
        spark.createDataFrame(rows, schema),
        spark.createDataFrame(labels, "latent_id int, label string"),
    )


def rows_of(spark: SparkSession, followed: list[Followed], previous, present) -> dict[str, dict[str, Any]]:
    changes = describe_changes(spark, followed, previous, present, SETTINGS)
    return {row["pair"]: row.asDict() for row in changes.collect()}


def test_matched_latents_are_stable_or_drifted_by_their_terms(spark: SparkSession) -> None:
    previous = audited(
        spark,
        {0: [("war", 0.6), ("drama", 0.2)], 1: [("crime", 0.5)], 2: [], 3: [], 4: [("space", 0.4)]},
        {"a": [0, 1], "b": [0, 2], "c": [3], "d": [4]},
    )
    present = audited(
        spark,
        {0: [("drama", 0.3), ("war", 0.3)], 7: [("comedy", 0.4), ("crime", 0.05)], 2: [], 3: [("x", 0.4)], 4: []},
        {"a": [0, 7], "b": [2], "c": [3], "d": [4]},
    )
    matched = [Followed("matched", 0, 0, 0.9), Followed("matched", 1, 7, 0.8)]
    matched += [Followed("matched", latent, latent, 1.0) for latent in (2, 3, 4)]
    rows = rows_of(spark, matched, previous, present)
    assert {pair: row["change"] for pair, row in rows.items()} == {
        "0>0": "stable",
        "1>7": "drifted",
        "2>2": "stable",  # nameless before and after
        "3>3": "drifted",
        "4>4": "drifted",
    }
    # (0.6 · 0.3 + 0.2 · 0.3) / (√0.40 √0.18), and 0.5 · 0.05 / (0.5 √0.1625)
    assert rows["0>0"]["term_similarity"] == pytest.approx(0.24 / math.sqrt(0.4 * 0.18), abs=1e-6)
    assert rows["1>7"]["term_similarity"] == pytest.approx(0.05 / math.sqrt(0.1625), abs=1e-6)
    assert [rows[pair]["term_similarity"] for pair in ("2>2", "3>3", "4>4")] == [None] * 3
    assert rows["1>7"] == {
        "pair": "1>7",
        "change": "drifted",
        "previous_latent_id": 1,
        "latent_id": 7,
        "similarity": 0.8,
        "term_similarity": rows["1>7"]["term_similarity"],
        "previous_label": "crime",
        "label": "comedy",
        "terms_gained": ["comedy"],  # crime is a term of 7 too, but no significant one
        "terms_lost": ["crime"],
        "previous_density": 0.25,
        "density": 0.25,
    }
    assert (rows["0>0"]["previous_density"], rows["0>0"]["density"]) == (0.5, 0.25)


def test_born_split_gone_and_merged_stand_with_what_there_is(spark: SparkSession) -> None:
    previous = audited(spark, {0: [("war", 0.6)], 1: [("crime", 0.5)]}, {"a": [0, 1]})
    present = audited(
        spark,
        {0: [("war", 0.6)], 5: [("vampire", 0.9), ("night", 0.5), ("third", 0.3)], 6: [("war", 0.4), ("navy", 0.3)]},
        {"a": [0, 5], "b": [6]},
    )
    followed = [
        Followed("born", -1, 5, NAN),
        Followed("split", 0, 6, 0.75),
        Followed("gone", 1, -1, NAN),
        Followed("merged", 0, 0, 0.7),
    ]
    rows = rows_of(spark, followed, previous, present)
    told = ("change", "previous_label", "label", "terms_gained", "terms_lost", "similarity")
    assert {pair: tuple(row[name] for name in told) for pair, row in rows.items()} == {
        ">5": ("born", None, "vampire", ["vampire", "night"], [], None),
        "0>6": ("split", "war", "war", ["navy"], [], 0.75),
        "1>": ("gone", "crime", None, [], ["crime"], None),
        "0>0": ("merged", "war", "war", [], [], 0.7),
    }
    assert (rows[">5"]["previous_latent_id"], rows["1>"]["latent_id"]) == (None, None)


def test_metrics_count_every_fate(spark: SparkSession) -> None:
    rows = [("stable", 1.0), ("stable", 0.9), ("drifted", 0.8), ("born", None), ("split", 0.7)]
    changes = spark.createDataFrame(
        [(change, similarity, None, []) for change, similarity in rows],
        "change string, similarity double, term_similarity double, terms_gained array<string>",
    )
    counts = {"drifted": 1, "split": 1, "merged": 0, "born": 1, "gone": 0, "stable": 2}
    assert drift_metrics(changes) == {
        **{f"{name}_latents": count for name, count in counts.items()},
        "stable_share": 0.4,
        "mean_similarity": pytest.approx(0.9),
        "vanished_terms_latents": 1.0,  # the drifted one has no terms left
    }
    none = {f"{name}_latents": 0.0 for name in counts}
    assert drift_metrics(changes.limit(0)) == {**none, "vanished_terms_latents": 0.0}
