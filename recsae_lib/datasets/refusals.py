"""What is said of raw rows that were refused: all, too many, or the commonest reason."""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings
from recsae_lib.datasets.validation import INTERACTIONS
from recsae_lib.errors import InputError

log = logging.getLogger("recsae")

REASONS = 5  # that the log tells


def require_interactions(interactions: DataFrame, rejects: DataFrame) -> None:
    """Raise InputError where no interaction is accepted, with the commonest reason and a row that shows it."""
    if interactions.isEmpty():
        raise InputError(
            f"The raw data holds no valid interaction{commonest_reject(rejects, 'interactions')}",
            "Check dataset.format, and dataset.columns for your own tables",
        )


def commonest_reject(rejects: DataFrame, source: str) -> str:
    """What most rows of a source were refused for, with one of them; empty where none was."""
    example = F.min(F.struct("file", "line", "record"))
    of_reasons = (
        rejects.where(F.col("source") == source).groupBy("reason").agg(F.count(F.lit(1)).alias("rows"), example)
    )
    commonest = of_reasons.orderBy(F.desc("rows"), "reason").first()
    if commonest is None:
        return ""
    reason, rows, (file, line, record) = commonest
    place = f"line {line} of {file}" if line else file
    return (
        f": of {rows:,} rows {reason}, such as {place}: {(record or '')[:200]!r} (all of them are in the table rejects)"
    )


def require_few_rejects(rejects: DataFrame, accepted: int, settings: CheckSettings) -> None:
    """Log the commonest reasons of rejects, and hold their share of all rows against its limit.

    Parameters
    ----------
    rejects : (reason, record, …), as they are written.
    accepted : rows of interactions and items that were written.

    Raises
    ------
    InputError : the share is above ``checks.maximum_reject_share``, as it would be when the audit is published.
    """
    reasons = rejects.groupBy("reason").agg(F.count(F.lit(1)).alias("rows"), F.min("record").alias("example"))
    most = reasons.orderBy(F.desc("rows"), "reason").limit(REASONS).collect()
    for row in most:
        log.warning("%s rows rejected: %s", f"{row['rows']:,}", row["reason"])
    rejected = rejects.count() if most else 0
    if rejected <= settings.maximum_reject_share * (rejected + accepted):
        return
    first = most[0]
    remedy = "Mend the rows (table rejects), or raise checks.maximum_reject_share"
    if first["reason"] == INTERACTIONS.repeated:
        remedy = "Set dataset.repeats to last or sum where repeats are no fault, as in a log of plays"
    raise InputError(
        f"{rejected:,} of {rejected + accepted:,} rows are refused ({rejected / (rejected + accepted):.0%}), "
        f"checks.maximum_reject_share is {settings.maximum_reject_share:g}; {first['rows']:,} of them because "
        f"{first['reason']}, such as {(first['example'] or '')[:100]!r}",
        remedy,
    )
