"""Which items a user stands for: the recommended ones (P_u) or those of the context (H_u)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import EvidenceSettings


def linked_items(recommendations: DataFrame, settings: EvidenceSettings) -> DataFrame:
    """Select the linked items of each user (RecSAE, arXiv 2411.06112, section 3; recommended items by default).

    Parameters
    ----------
    recommendations : (user_id, item_ids ARRAY<STRING>, context_ids ARRAY<STRING>, …), one row a user.

    Returns
    -------
    DataFrame : (user_id, item_ids ARRAY<STRING>).
    """
    column = {"recommended": "item_ids", "context": "context_ids"}[settings.linked_items]
    return recommendations.select("user_id", F.col(column).alias("item_ids"))


def strongest_first(linked: DataFrame, settings: EvidenceSettings) -> DataFrame:
    """Order the linked items of each user by what they say of the user: best, or latest, first.

    Parameters
    ----------
    linked : see `linked_items`; recommended items come best first, those of the context oldest first.
    """
    return linked if settings.linked_items == "recommended" else linked.withColumn("item_ids", F.reverse("item_ids"))
