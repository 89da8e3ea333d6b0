"""The audited SAE beside every dictionary that it is compared with: coverage, counts, coherence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.coherence import coherence_metrics
from recsae_lib.concepts.coverage import concept_coverage
from recsae_lib.concepts.dictionaries import PLACE_BITS, dictionary_of, first_id
from recsae_lib.config import Settings
from recsae_lib.platform.warehouse.tables import JUDGED_UNITS, UnitKind
from recsae_lib.verification.metrics import FREQUENT, Metrics, dictionary_metrics, over_seeds, verdict_metrics
from recsae_lib.verification.scores import SCORE_COLUMNS, VERDICT_COLUMNS, as_rows, names_of
from recsae_lib.verification.shuffled_labels import shuffled_terms
from recsae_lib.verification.surroundings import Surroundings
from recsae_lib.verification.units import Baselines

SHUFFLED = 1  # place of the shuffled labels beside the audited SAE, where those two stand together
ACTIVATIONS, EVIDENCE = ("user_id", "latent_ids", "activations"), ("latent_id", "item_id", "rank")
FIGURES = {"ndcg@10_kept": "ndcg_at_10_kept", "fvu": "fvu"}


@dataclass(frozen=True)
class Audited:
    """What is known of the latents of the audited SAE: rows of the tables of these names.

    Parameters
    ----------
    scores : concept_scores of the term scorer.
    """

    activations: DataFrame
    latent_items: DataFrame
    concept_terms: DataFrame
    scores: DataFrame
    shuffled_scores: DataFrame


def coverage_of_kinds(audited: Audited, baselines: Baselines, items: DataFrame, settings: Settings) -> DataFrame:
    """Measure what the units of each kind cover, of the first dictionary of it: rows of concept_coverage.

    A kind of whose first dictionary only some units were judged is left out: what they cover is not what all do.

    Parameters
    ----------
    items : the catalogue.
    """
    by_number = {0: UnitKind.SAE, SHUFFLED: UnitKind.SHUFFLED}
    shift = F.lit(first_id(SHUFFLED))

    def with_shuffled(rows: DataFrame, shuffled: DataFrame) -> DataFrame:
        return rows.unionByName(shuffled.withColumn("latent_id", F.col("latent_id") + shift))

    judged = ("latent_id", "confidence", "q_value", "effective_cases")
    linked, terms = audited.latent_items.select("latent_id", "item_id"), _features(audited.concept_terms)
    ids = F.concat("latent_ids", F.transform("latent_ids", lambda unit: unit + shift)).alias("latent_ids")
    of_audited = concept_coverage(
        with_shuffled(audited.scores.select(*judged), audited.shuffled_scores.select(*judged)),
        with_shuffled(terms, shuffled_terms(terms, audited.shuffled_scores)),
        with_shuffled(linked, linked),
        audited.activations.select(ids),
        items,
        settings.coverage,
        settings.verification,
    )
    rows = _with_kinds(of_audited, by_number)
    scored = baselines.verdicts.scores(settings)
    first = {
        number: kind
        for number, kind in first_of_each_kind(baselines).items()
        if len(of_dictionary(scored, number)) == baselines.live.get(number, 0)
    }
    if not first:
        return rows
    scores = as_rows(items.sparkSession, scored, SCORE_COLUMNS).select(*judged)
    of_baselines = concept_coverage(
        scores.where(dictionary_of().isin(*first)),
        _features(baselines.concept_terms),
        baselines.latent_items,
        baselines.activations,
        items,
        settings.coverage,
        settings.verification,
    )
    return rows.unionByName(_with_kinds(of_baselines, first))


def first_of_each_kind(baselines: Baselines) -> dict[int, UnitKind]:
    """Places of the first dictionaries of each kind; a replica is no kind of its own, and an untrained SAE covers what
    it covers whatever its decoder.
    """
    numbered = {baselines.number_of(kind): kind for kind in JUDGED_UNITS}
    left_out = (UnitKind.SAE, UnitKind.UNTRAINED_FITTED)
    return {number: kind for number, kind in numbered.items() if number is not None and kind not in left_out}


def _with_kinds(coverage: DataFrame, kinds: Mapping[int, UnitKind]) -> DataFrame:
    named = F.create_map(*(F.lit(part) for number, kind in kinds.items() for part in (number, kind.value)))
    return coverage.withColumn("unit_kind", named[F.col("dictionary")]).drop("dictionary")


def _features(concept_terms: DataFrame) -> DataFrame:
    return concept_terms.select("latent_id", "term", "kind", "significant")


def compare_dictionaries(
    audited: Audited,
    baselines: Baselines,
    figures: Mapping[tuple[UnitKind, int], Mapping[str, float]],
    around: Surroundings,
    embeddings: DataFrame,
    settings: Settings,
) -> Metrics:
    """Measure every dictionary, and each kind over its seeds: rows of audit_metrics.

    Parameters
    ----------
    figures : see `figures_of`.
    embeddings : (item_id, embedding ARRAY<FLOAT>), one row an item.
    """
    terms = _features(audited.concept_terms).unionByName(_features(baselines.concept_terms))
    features, frequent = frequent_features(around.items, terms)
    own: pd.DataFrame = audited.scores.select(*names_of(SCORE_COLUMNS)).toPandas()  # M rows
    shuffled: pd.DataFrame = audited.shuffled_scores.select(*names_of(VERDICT_COLUMNS)).toPandas()
    judged = pd.concat([own, baselines.verdicts.scores(settings)], ignore_index=True)
    dictionaries = {0: (UnitKind.SAE, 0)}
    dictionaries |= {n: (one.kind, one.number) for n, one in enumerate(baselines.dictionaries, start=1)}
    of_each: dict[UnitKind, list[dict[str, float | None]]] = {}
    for number, key in dictionaries.items():
        rows, its_features = (of_dictionary(frame, number) for frame in (judged, features))
        live = baselines.live.get(number)
        measured = dictionary_metrics(rows, its_features, frequent, settings.verification, live)
        measured |= {name: figures[key][figure] for figure, name in FIGURES.items() if figure in figures.get(key, {})}
        of_each.setdefault(key[0], []).append(measured)
    metrics: Metrics = {(kind, name): v for kind, each in of_each.items() for name, v in over_seeds(each).items()}
    of_shuffled = verdict_metrics(shuffled, settings.verification)
    metrics |= {(UnitKind.SHUFFLED, name): value for name, value in of_shuffled.items()}
    return metrics | _coherence(audited, baselines, around, embeddings, settings)


def frequent_features(items: DataFrame, terms: DataFrame) -> tuple[pd.DataFrame, dict[int, int]]:
    """Find the frequent item features that are significant terms of units.

    Parameters
    ----------
    items : the catalogue.
    terms : (latent_id, term, kind, significant).

    Returns
    -------
    (features, frequent) : (latent_id, term, items), some rows a unit; and how many features at least 5 and 50 items
        carry, by that number.
    """
    carried = (
        items.select(F.explode(F.array_distinct("features")).alias("term"))
        .groupBy("term")
        .agg(F.count(F.lit(1)).alias("items"))
        .where(F.col("items") >= min(FREQUENT.values()))
    )
    counts = carried.agg(*(F.count_if(F.col("items") >= fewest).alias(str(fewest)) for fewest in FREQUENT.values()))
    named = terms.where((F.col("kind") == "feature") & F.col("significant")).select("latent_id", "term")
    features: pd.DataFrame = carried.join(named, "term", "inner").select("latent_id", "term", "items").toPandas()
    row = counts.first()
    assert row is not None  # an aggregate without groups has one row
    return features, {fewest: row[str(fewest)] for fewest in FREQUENT.values()}


def of_dictionary(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """The rows of the units of one dictionary; rows have latent_id."""
    return rows[rows["latent_id"].to_numpy() >> PLACE_BITS == number]


def _coherence(
    audited: Audited, baselines: Baselines, around: Surroundings, embeddings: DataFrame, settings: Settings
) -> Metrics:
    measured = coherence_metrics(
        audited.activations.select(*ACTIVATIONS).unionByName(baselines.activations.select(*ACTIVATIONS)),
        audited.latent_items.select(*EVIDENCE).unionByName(baselines.latent_items.select(*EVIDENCE)),
        around.representations,
        embeddings,
        around.items,
        settings.terms,
        settings.coverage.coherence_cases,
    )
    kinds = {0: UnitKind.SAE, **first_of_each_kind(baselines)}
    return {(kinds[n], name): value for n, of_it in measured.items() if n in kinds for name, value in of_it.items()}
