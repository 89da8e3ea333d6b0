"""Latents of two audits compared from end to end: similarities, the match, what became of each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.matching import follow_latents, similar_directions
from recsae_lib.config import DriftSettings
from recsae_lib.drift.activations import similar_activations
from recsae_lib.drift.changes import AuditedLatents, describe_changes
from recsae_lib.platform.warehouse.publications import Publication


def compare_latents(
    earlier: Publication,
    previous: AuditedLatents,
    present: AuditedLatents,
    directions: tuple[np.ndarray, np.ndarray] | None,
    settings: DriftSettings,
) -> DataFrame:
    """Say what became of each latent of two audits (METHOD.md section 9).

    Parameters
    ----------
    earlier : date and versions of the earlier audit.
    previous, present : latents of the earlier audit and of this one.
    directions : (M', d) and (M, d) W_dec of both SAEs; None where they read different recommender versions, so that
        latents are compared by their activations for common users.
    settings : all but ``against`` are read.

    Returns
    -------
    DataFrame : the rows of concept_drift without dt and version.
    """
    previous, present = _of_common_kinds(previous, present)
    previous_ids, latent_ids = previous.live(), present.live()
    if directions is None:
        by, minimum = "activations", settings.minimum_similarity
        pairs = similar_activations(previous.activations, present.activations, settings.users, minimum)
    else:
        by, (before, now) = "decoder", directions
        pairs = similar_directions(before, previous_ids, now, latent_ids, settings.minimum_similarity)
    followed = follow_latents(previous_ids, latent_ids, pairs)
    return describe_changes(previous.activations.sparkSession, followed, previous, present, settings).select(
        "*",
        F.lit(earlier.dt).alias("previous_dt"),
        F.lit(earlier.sae_version).alias("previous_sae_version"),
        F.lit(by).alias("similarity_by"),
    )


def _of_common_kinds(*sides: AuditedLatents) -> tuple[AuditedLatents, ...]:
    """Both sides without derived terms where one has none: an earlier release, or other settings, are no drift."""
    derived = F.col("kind") == "derived"
    if all(not side.terms.where(derived).isEmpty() for side in sides):
        return sides
    return tuple(replace(side, terms=side.terms.where(~derived)) for side in sides)
