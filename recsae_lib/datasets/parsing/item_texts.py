"""Texts of items: put together, cut, and freed from what HTML left in them."""

from __future__ import annotations

import html
import re

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

LONGEST_TEXT = 1000  # characters: what follows is small print, and long texts would drown the short ones
ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});"
_MARKUP = r"</?[A-Za-z!][^<>]{0,500}>"
_ENTITY = re.compile(ENTITY)


def described(title: Column, *parts: Column) -> Column:
    """Text of an item: its title, then each other part without markup.

    At most 1,000 characters: cut between two words, where there is a blank at all.

    Parameters
    ----------
    title : STRING.
    parts : ARRAY<STRING>; null where there is none.
    """
    plain = [F.regexp_replace(F.array_join(part, " "), _MARKUP, " ") for part in parts]
    lines = [F.when(F.trim(part) != "", F.trim(part)) for part in plain]
    whole = F.concat_ws(" ", F.when(F.trim(title) != "", title), *lines)
    start = F.substring(whole, 1, LONGEST_TEXT + 1)
    cut = F.substring(F.regexp_replace(start, r"\s+\S*\z", ""), 1, LONGEST_TEXT)
    return F.when(F.length(whole) > LONGEST_TEXT, cut).otherwise(whole)


def has_entities() -> Column:
    """Whether title, text or a feature of an item holds an HTML entity, such as ``&amp;`` or ``&#39;``."""
    return F.col("title").rlike(ENTITY) | F.col("text").rlike(ENTITY) | _listed_entities(F.col("features"))


def unescape_items(items: DataFrame) -> DataFrame:
    """Replace HTML entities in title, text and features, once: ``&amp;amp;`` becomes ``&amp;``.

    By an Arrow kernel, to which only the values with an entity are sent.
    """
    in_text = F.pandas_udf(_in_texts, "string")  # type: ignore[attr-defined, call-overload]  # not in its stubs
    texts = {
        name: F.coalesce(in_text(F.when(F.col(name).rlike(ENTITY), F.col(name))), F.col(name))
        for name in ("title", "text")
    }
    return items.withColumns({**texts, "features": F.array_distinct(unescaped_list(F.col("features")))})


def unescaped_list(texts: Column) -> Column:
    """The same of an ARRAY<STRING>, of which every text stays in its place."""
    in_list = F.pandas_udf(_in_lists, "array<string>")  # type: ignore[attr-defined, call-overload]  # not in its stubs
    return F.coalesce(in_list(F.when(_listed_entities(texts), texts)), texts)


def _listed_entities(texts: Column) -> Column:
    return F.exists(texts, lambda text: text.rlike(ENTITY))


def unescape(text: str) -> str:
    """Replace HTML entities that end with a semicolon; ``R&D`` and ``?a=1&copy=2`` stay as they are."""
    return _ENTITY.sub(lambda match: html.unescape(match.group()), text)


def _in_texts(texts: pd.Series) -> pd.Series:
    return texts.map(unescape, na_action="ignore")


def _in_lists(lists: pd.Series) -> pd.Series:
    return lists.map(lambda texts: [unescape(text) for text in texts], na_action="ignore")
