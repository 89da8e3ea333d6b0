"""Whether the catalogue says anything of what users did: interactions whose item has text or features, and why not."""

from __future__ import annotations

import logging

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.config import CheckSettings
from recsae_lib.datasets.refusals import commonest_reject
from recsae_lib.datasets.validation import ITEMS
from recsae_lib.errors import InputError
from recsae_lib.platform.warehouse.data_checks import is_described

log = logging.getLogger("recsae")

EXAMPLES = 3  # ids of each side
LIKELY = 0.05  # of the ids that are missing must be found for a cause to be named

# How ids may differ that mean the same: what is done to both sides, what is wrong, and what to do.
_DIFFERENCES: tuple[tuple[str, str, str], ...] = (
    (r"\.0+$", "one side has '.0' at its end", "Write the ids as whole numbers: they went through a float"),
    (r"^0+(?=.)", "one side has lost its leading zeros", "Keep the ids as text: they went through a number"),
    (r"[\s\p{Z}\p{C}]+", "blanks or invisible characters stand in the ids", "Take them out of the ids in your tables"),
    (r"[^\p{L}\p{N}]+", "the ids differ in signs such as - _ or quotes", "Write the ids alike in both tables"),
)
_CASE = ("the ids differ in upper and lower case", "Write the ids in the same case in both tables")
_SEVERAL = ("the ids differ in case, zeros, signs or '.0' at once", "Write the ids alike in both tables")
_TITLES = ("the interactions hold titles", "Set dataset.columns.item_id to the column of ids")
_OTHERS = (
    "no id of one side is like one of the other",
    "Check dataset.columns.item_id: these are ids of another kind, or of another catalogue",
)
_BARE = ("they have neither text nor features", "Give the item table a title, a text or features (dataset.columns)")


def require_joined(interactions: DataFrame, listed: DataFrame, rejects: DataFrame, settings: CheckSettings) -> None:
    """Hold the share of interactions whose item has text or features against its limits; below `warn` the log says why.

    Parameters
    ----------
    interactions : (item_id, …), one or more.
    listed : (item_id, title, text, features), the catalogue as it was given.
    rejects : (source, file, line, reason, record); where items were refused, the message says for what.

    Raises
    ------
    InputError : the share is below `fail`, or 0; with ids of both sides and the likely cause.
    """
    used = interactions.groupBy("item_id").count()
    known = listed.select("item_id", is_described().alias("described"))
    counts = (
        used.join(known, "item_id", how="left")
        .agg(
            F.sum("count").alias("rows"),
            F.coalesce(F.sum(F.when(F.col("described"), F.col("count"))), F.lit(0)).alias("described"),
            F.coalesce(F.sum(F.when(F.col("described").isNull(), F.col("count"))), F.lit(0)).alias("unlisted"),
        )
        .first()
    )
    assert counts is not None  # an aggregate without groups has one row
    rows, described, unlisted = (counts[name] for name in ("rows", "described", "unlisted"))
    message = f"{described:,} of {rows:,} interactions ({described / rows:.0%}) are of items with text or features"
    if described >= settings.warn_described_share * rows and described:
        log.info(message)
        return
    bare = rows - described - unlisted
    cause, remedy = _BARE if bare >= unlisted else _cause_of_missing(used, listed)
    if bare:
        message += f"; {bare:,} are of items that the catalogue lists with neither text nor features"
    if unlisted:
        message += f"; {unlisted:,} are of items that are not in the catalogue"
        if bare < unlisted:
            message += f": {_examples(used, listed)}. {cause[0].upper()}{cause[1:]}"
    if described == 0 or described < settings.fail_described_share * rows:
        limit = f"checks.fail_described_share is {settings.fail_described_share:g}"
        if refused := commonest_reject(rejects, ITEMS.source):
            remedy = f"Mend what rejects name first. {remedy}"
        raise InputError(f"The catalogue does not join: {message}{refused}", f"{remedy} ({limit})")
    log.warning("%s. %s", message, remedy)


def _examples(used: DataFrame, listed: DataFrame) -> str:
    missing = used.join(listed, "item_id", how="left_anti").orderBy(F.desc("count"), "item_id")
    unused = listed.join(used, "item_id", how="left_anti").orderBy("item_id")
    asked = _some(missing)
    return f"interactions have {asked}, the catalogue has {_some(unused) or _some(listed.orderBy('item_id')) or 'none'}"


def _some(ids: DataFrame) -> str:
    # As Python writes it: an id may hold anything.
    return ", ".join(repr(row["item_id"][:60]) for row in ids.select("item_id").limit(EXAMPLES).collect())


def _cause_of_missing(used: DataFrame, listed: DataFrame) -> tuple[str, str]:
    """What is wrong, and what to do: the change of both sides that makes most of the missing ids join."""
    same = F.col("item_id")
    several: Column = F.lower("item_id")
    forms: list[tuple[Column, Column]] = [(F.lower(same), F.lower(same))]
    for pattern, _, _ in _DIFFERENCES:
        forms.append((F.regexp_replace(same, pattern, ""), F.regexp_replace(same, pattern, "")))
        several = F.regexp_replace(several, pattern, "")
    forms += [(several, several), (same, F.col("title"))]
    causes = [_CASE, *[(wrong, remedy) for _, wrong, remedy in _DIFFERENCES], _SEVERAL, _TITLES]
    missing = used.join(listed, "item_id", how="left_anti")
    ours, theirs = (
        rows.select("item_id", F.posexplode(F.array(*[pair[side] for pair in forms])).alias("form", "key"))
        for side, rows in enumerate((missing, listed))
    )
    found = ours.join(theirs.where("key != ''"), ["form", "key"], how="left_semi").groupBy("form").count()
    counts = {row["form"]: row["count"] for row in found.collect()}  # one row a form
    total = missing.count()
    best = max(counts, key=lambda form: (counts[form], -form), default=None)
    if best is None or counts[best] < LIKELY * total:
        return _OTHERS
    wrong, remedy = causes[best]
    return f"{wrong}: {counts[best]:,} of {total:,} missing ids would join without that", remedy
