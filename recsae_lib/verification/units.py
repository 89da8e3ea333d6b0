"""Units of any kind (latents, untrained latents, raw dimensions) described and judged alike, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.evidence import link_latents_to_items
from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.concepts.neighbours import neighbours_of
from recsae_lib.concepts.terms import concept_terms
from recsae_lib.config import Settings
from recsae_lib.platform.spark.frames import free, keep
from recsae_lib.platform.warehouse.tables import UnitKind
from recsae_lib.verification.judging import verify_units


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
    neighbours = neighbours_of(latent_items, settings.verification.neighbours)
    verdicts = verify_units(activations, linked, items, terms, neighbours, settings)
    verdicts.release()
    return Units(kind, activations, latent_items, terms, verdicts.scores, (latent_items, terms))


def release(units: Units) -> None:
    """Let Spark forget what `judge_baseline` kept."""
    units.activations.unpersist()
    for rows in units.kept:
        free(rows)
