"""How popular an item is, as a feature: four tiers that share out the training interactions (METHOD.md section 1)."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import Column
from pyspark.sql import functions as F

TIERS = ("highest", "high", "low", "lowest")


def tier_starts(items_by_count: Mapping[int, int]) -> list[int]:
    """Smallest number of interactions of each tier but the last, falling.

    Items stand in the order of falling interactions. All interactions laid end to end and cut into four equal parts, an
    item is in the tier of the part in which its own begin, and items of equal numbers in that of the first of them.

    Parameters
    ----------
    items_by_count : training interactions of an item, 1 or more → number of such items.
    """
    total = sum(count * items for count, items in items_by_count.items())
    starts, before = [1] * (len(TIERS) - 1), 0
    for count in sorted(items_by_count, reverse=True):
        for tier in range(len(starts)):
            if len(TIERS) * before < (tier + 1) * total:
                starts[tier] = count  # counts fall: what stays is the smallest that begins before the end of the tier
        before += count * items_by_count[count]
    return starts


def popularity_tier(interactions: Column, starts: list[int]) -> Column:
    """Text of the tier of an item.

    Parameters
    ----------
    interactions : LONG, its training interactions; 0 where it has none, which is the lowest tier.
    starts : of `tier_starts`.
    """
    highest, high, low = (F.when(interactions >= start, tier) for tier, start in zip(TIERS, starts, strict=False))
    return F.concat(F.lit("popularity: "), F.coalesce(highest, high, low, F.lit(TIERS[-1])))
