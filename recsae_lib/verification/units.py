"""Units of any kind (latents, untrained latents, raw dimensions) described and judged alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.coverage import concept_coverage
from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.spark.shipping import ship_folder
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.representations.moments import dimension_moments
from recsae_lib.sae.encoding import ENCODED_COLUMNS, ArrowMap, dimension_batches, encode_batches
from recsae_lib.sae.store import load_sae
from recsae_lib.verification.judging import verify_units
from recsae_lib.verification.shuffled_labels import shuffled_terms


@dataclass(frozen=True)
class Units:
    """Everything that is known of the units of one kind.

    Parameters
    ----------
    kind : one of `JUDGED_UNITS`.
    activations : (user_id, latent_ids, activations).
    latent_items, concept_terms, scores : columns of the tables of these names, without dt and version.
    kept : those of them that `release` lets go.
    """

    kind: UnitKind
    activations: DataFrame
    latent_items: DataFrame
    concept_terms: DataFrame
    scores: DataFrame
    kept: tuple[DataFrame, ...] = ()


def units_of_each_kind(
    latents: Units,
    shuffled: DataFrame,
    untrained: Path,
    representations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    settings: Settings,
) -> list[Callable[[], Units]]:
    """Return what makes the units of each of `JUDGED_UNITS`, in that order; the baselines are judged when called.

    Parameters
    ----------
    latents : of the SAE, as they were named and judged.
    shuffled : scores of the same latents with shuffled labels, see `score_shuffled`.
    untrained : folder of the SAE as it was initialised.
    representations : (user_id, representation ARRAY<FLOAT>), one row a user.
    linked : (user_id, item_ids).
    items : (item_id, title, text, features), the catalogue.
    """
    sae = load_sae(untrained)

    def shuffled_labels() -> Units:
        terms = shuffled_terms(latents.concept_terms, shuffled)
        return replace(latents, kind=UnitKind.SHUFFLED, concept_terms=terms, scores=shuffled)

    def untrained_latents() -> Units:
        encode = encode_batches(ship_folder(representations.sparkSession, untrained))
        return judge(UnitKind.UNTRAINED, encode)

    def dimensions() -> Units:
        return judge(UnitKind.DIMENSION, dimension_batches(*dimension_moments(representations, sae.dimension), sae.k))

    def judge(kind: UnitKind, encode: ArrowMap) -> Units:
        return judge_baseline(kind, representations.mapInArrow(encode, ENCODED_COLUMNS), linked, items, settings)

    return [lambda: latents, shuffled_labels, untrained_latents, dimensions]


def judge_baseline(
    kind: UnitKind,
    activations: DataFrame,
    linked: DataFrame,
    items: DataFrame,
    settings: Settings,
) -> Units:
    """Take the units of a baseline through the same evidence, terms and cases as the latents of the SAE.

    Parameters
    ----------
    activations : (user_id, latent_ids, activations) of the units; kept in memory or on disk by Spark until `release`.
    linked : (user_id, item_ids).
    """
    activations = activations.persist()
    construct = in_construct_half(F.col("user_id"), settings.evidence.salt)
    latent_items = keep(link_latents_to_items(activations.where(construct), linked, settings.evidence.items_per_latent))
    terms = keep(concept_terms(latent_items, items, settings.terms))
    verdicts = verify_units(activations, linked, items, terms, latent_items, settings)
    verdicts.release()
    return Units(kind, activations, latent_items, terms, verdicts.scores, (latent_items, terms))


def unit_coverage(units: Units, items: DataFrame, settings: Settings) -> DataFrame:
    """Measure what the units of one kind cover: the rows of concept_coverage without dt and version.

    Parameters
    ----------
    items : (item_id, features), the catalogue.
    """
    evidence = units.scores, units.concept_terms, units.latent_items, units.activations, items
    rows = concept_coverage(*evidence, settings.coverage, settings.verification)
    return rows.withColumn("unit_kind", F.lit(units.kind.value))


def release(units: Units) -> None:
    """Let Spark forget what `judge_baseline` kept."""
    units.activations.unpersist()
    for rows in units.kept:
        free(rows)
