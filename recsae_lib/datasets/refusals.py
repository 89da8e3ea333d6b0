"""Whether too many raw rows were refused, told right after ingestion and not at the end of a whole audit."""

from __future__ import annotations

import logging

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings
from recsae_lib.datasets.validation import INTERACTIONS
from recsae_lib.errors import InputError

log = logging.getLogger("recsae")

REASONS = 5  # that the log tells


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
