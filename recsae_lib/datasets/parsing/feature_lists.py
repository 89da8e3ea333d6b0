"""Several features in one text: with a separator between them, or as a list that JSON, Python or a database printed."""

from __future__ import annotations

import logging
import re

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

log = logging.getLogger("recsae")

SEPARATORS = ("|", ";", ",")
_LIST = r"(?s)^\[.*\]\z"


def split_features(text: Column, separator: str) -> Column:
    """ARRAY<STRING> of a text without blanks around it; null where it is null.

    A list is read as one: of JSON, ``["a", "b"]``; of Python or numpy, ``['a', None]``, ``('a',)``, ``['a' 'b']``; of a
    database or Spark, ``{a,b}``, ``[a, b]``. An object in it stands for its ``name`` where it has one.
    """
    lists = F.regexp_replace(text, r"(?s)^[({](?!.*:)(.*?),?\s*[)}]\z", "[$1]")
    # What Python prints and JSON does not know: None, and no comma between two texts of an array.
    json = F.regexp_replace(lists, r"(?<=[\[,:]\s{0,3})(?:None|nan)(?=\s*[,\]}])", "null")
    json = F.regexp_replace(json, r"(?<=['\"])\s+(?=['\"])", ",")
    # As the one element of an array: Spark reads the first value of a text and does not look at what follows.
    options = {"allowBackslashEscapingAnyCharacter": "true"}
    parsed = F.from_json(F.concat(F.lit("["), json, F.lit("]")), "array<array<string>>", options)
    listed = F.when(json.rlike(_LIST) & (F.size(parsed) == 1), F.get(parsed, F.lit(0)))
    name = F.get_json_object
    named = F.transform(listed, lambda one: F.coalesce(F.when(one.startswith("{"), name(one, "$.name")), one))
    inner = F.regexp_extract(text, r"(?s)^[\[{]([^\[\]{}:]*)[\]}]\z", 1)
    parts, whole = F.split(inner, re.escape(separator), -1), F.split(text, re.escape(separator), -1)
    unquoted = F.when(inner.contains(separator), parts).otherwise(F.split(inner, ",", -1))
    return F.coalesce(named, F.when(inner != "", unquoted), whole)


def recognise_separator(texts: DataFrame) -> str:
    """Return the first of `SEPARATORS` that any text has which is no list; the first of all where none has.

    Parameters
    ----------
    texts : (features STRING).
    """
    plain = ~F.trim("features").rlike(r"(?s)^[\[({].*[\])}]\z")
    counts = texts.agg(
        F.count("features").alias("texts"),
        *[F.count_if(plain & F.col("features").contains(one)).alias(f"of_{n}") for n, one in enumerate(SEPARATORS)],
    ).first()
    assert counts is not None  # an aggregate without groups has one row
    for n, separator in enumerate(SEPARATORS):
        if counts[f"of_{n}"]:
            if n:
                log.warning(
                    "features are split at %r, which %s of %s items have, while none has %s: "
                    "dataset.feature_separator says otherwise",
                    separator,
                    f"{counts[f'of_{n}']:,}",
                    f"{counts['texts']:,}",
                    " or ".join(repr(other) for other in SEPARATORS[:n]),
                )
            return separator
    return SEPARATORS[0]
