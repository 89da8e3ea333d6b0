"""Characters that nobody sees, or that steer what shows them (`printable.UNSEEN`): out of texts, and none in ids."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.printable import BLANKS, LINE_BREAKS_AND_TABS, UNSEEN


def _class_of(ranges: tuple[tuple[int, int], ...]) -> str:
    return "[" + "".join(f"\\x{{{low:x}}}-\\x{{{high:x}}}" for low, high in ranges) + "]"


_UNSEEN, _BLANKS = _class_of(UNSEEN), _class_of(BLANKS)
_LAYOUT = _class_of(tuple((ord(character), ord(character)) for character in LINE_BREAKS_AND_TABS))
_HIDDEN = f"(?!{_LAYOUT}){_UNSEEN}"


def holds_unseen(text: Column) -> Column:
    """Whether a text holds any of the characters."""
    return text.rlike(_UNSEEN)


def hides_something() -> Column:
    """Whether title, text or a feature of an item holds any of the characters but line breaks and tabs."""
    of_features = F.exists("features", lambda feature: feature.rlike(_HIDDEN))
    return F.col("title").rlike(_HIDDEN) | F.col("text").rlike(_HIDDEN) | of_features


def clean_items(items: DataFrame) -> DataFrame:
    """Take the characters out of title, text and features: a blank for control characters, line breaks and tabs,
    nothing for the others. A text without any stays as it is; of the others blanks at the ends go too.

    Features that are empty by then go, and of equal ones the first stays.
    """
    without = F.array_distinct(F.filter(F.transform("features", cleaned), lambda feature: feature != ""))
    features = F.when(F.exists("features", holds_unseen), without).otherwise(F.col("features"))
    return items.withColumns({"title": cleaned(F.col("title")), "text": cleaned(F.col("text")), "features": features})


def cleaned(text: Column) -> Column:
    """A text without the characters, as `clean_items` takes them out."""
    seen = F.regexp_replace(F.regexp_replace(text, _BLANKS, " "), _UNSEEN, "")
    return F.when(holds_unseen(text), F.trim(seen)).otherwise(text)
