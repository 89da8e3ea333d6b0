"""Terms of items: words of their text, their item features and their derived features as whole terms.

Where a script puts no blanks between words, groups of characters that overlap stand for them, as in search engines: two
of Chinese and Japanese (a run of Katakana is one word), three of Thai, Lao, Khmer and Burmese, whose letters say less.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from recsae_lib.config import TermSettings

_PAIRED = r"[\p{IsHan}\p{IsHiragana}&&[\p{L}\p{N}]]"
_TRIPLED = r"[\p{IsThai}\p{IsLao}\p{IsKhmer}\p{IsMyanmar}&&\p{L}]"
_OTHER = r"[\p{L}\p{M}\p{N}_&&[^\p{IsHan}\p{IsHiragana}\p{IsThai}\p{IsLao}\p{IsKhmer}\p{IsMyanmar}]]"
_PAIR, _TRIPLE = rf"{_PAIRED}\p{{M}}*", rf"{_TRIPLED}\p{{M}}*"
CHARACTER = rf"({_PAIR}|{_TRIPLE})"  # of a script without blanks
# Two or more letters, marks (accents of their own, vowel signs), digits or underscores of any other script. A word is
# found at its start, by looking ahead, so that groups may overlap; a run that is too short for a group is one.
WORD = (
    rf"(?=((?:{_PAIR}){{2}}|(?:{_TRIPLE}){{3}}"
    rf"|(?<!{_PAIRED}\p{{M}}{{0,4}})\p{{IsHan}}\p{{M}}*(?!{_PAIRED})"
    rf"|(?<!{_TRIPLED}\p{{M}}{{0,4}})(?:(?:{_TRIPLE}){{2}}|{_TRIPLED}\p{{M}}+)(?!{_TRIPLED})"
    rf"|(?<!{_OTHER}){_OTHER}{{2,}}))"
)
GROUPED = rf"^(?:(?:{_PAIR}){{2}}|(?:{_TRIPLE}){{3}})\z"
STOP_WORDS: dict[str, tuple[str, ...]] = {"english": tuple(sorted(ENGLISH_STOP_WORDS)), "none": ()}


def item_terms(items: DataFrame, settings: TermSettings) -> DataFrame:
    """Count the terms of each item, n_it (METHOD.md section 4).

    kind=word: the text in lower case is cut into words (`WORD`; a single letter or digit is none), stop words are
    removed, and what is left gives runs of 1 to `longest_ngram` words. A run goes over a stop word that stood between
    ("lord rings" of "Lord of the Rings"), as in scikit-learn's CountVectorizer. A run of groups of characters that
    overlap is one longer group.
    kind=feature: each item feature as it is; one that stands twice in the array counts once.
    kind=derived: each derived feature, likewise.

    Parameters
    ----------
    items : (item_id, title, text, features ARRAY<STRING>, maybe derived_features), one row an item; no titles.
    settings : `longest_ngram` and `stop_words` are read.

    Returns
    -------
    DataFrame : (item_id, term, kind, occurrences LONG); no row for an item without terms.
    """
    return item_terms_with_total(items, settings).where("term IS NOT NULL")


def item_terms_with_total(items: DataFrame, settings: TermSettings) -> DataFrame:
    """Count as `item_terms` does, and add one row an item, term and kind null, that counts all its terms, Σ_t n_it."""
    # That row keeps Spark from inferring a filter on the size of the array. It would be moved to the items, with all
    # that makes the array written out in it: words would be cut some sixty times for each item.
    counted = _term_arrays(items, settings)
    every = F.size("runs") + F.size("features") + F.size("derived")
    of_all = F.array(_counted(F.lit(None), None, every))
    return counted.select("item_id", F.explode(F.concat("terms", of_all)).alias("counted")).select(
        "item_id", "counted.*"
    )


def derived_features(items: DataFrame) -> Column:
    """Derived features of items, ARRAY<STRING>: empty where an earlier release wrote the row, or without the column."""
    none = F.array().cast("array<string>")
    return F.coalesce("derived_features", none) if "derived_features" in items.columns else none


def is_feature(kind: Column) -> Column:
    """Whether a term of this kind is an item feature of the catalogue or a derived one, and no words."""
    return kind.isin("feature", "derived")


def _term_arrays(items: DataFrame, settings: TermSettings) -> DataFrame:
    words = F.regexp_extract_all(F.lower(F.coalesce("text", F.lit(""))), F.lit(WORD), F.lit(1))
    features = F.array_except(F.array_distinct("features"), F.array(F.lit(None).cast("string")))
    tokens = items.select(
        "item_id",
        _without_stop_words(words, settings).alias("words"),
        F.coalesce(features, F.array().cast("array<string>")).alias("features"),
        F.array_distinct(derived_features(items)).alias("derived"),
    )
    if settings.longest_ngram > 1:
        tokens = tokens.withColumn("joints", _joints())
    runs = F.concat(*(_runs(length) for length in range(1, settings.longest_ngram + 1)))
    # Equal runs stand together once they are sorted; counted in place, they need no shuffle and no aggregation.
    return (
        tokens.select("item_id", "features", "derived", F.array_sort(runs).alias("runs"))
        .select("item_id", "features", "derived", "runs", F.array_distinct("runs").alias("distinct"))
        .select(
            "*",
            F.transform("distinct", lambda run: F.call_function("array_position", F.col("runs"), run)).alias("starts"),
        )
        .select(
            "item_id",
            "runs",
            "features",
            "derived",
            F.concat(
                F.transform("distinct", lambda run, place: _counted(run, "word", _length_from(place))),
                F.transform("features", lambda feature: _counted(feature, "feature", F.lit(1))),
                F.transform("derived", lambda feature: _counted(feature, "derived", F.lit(1))),
            ).alias("terms"),
        )
    )


def _length_from(place: Column) -> Column:
    following = F.coalesce(F.get("starts", place + 1), F.size("runs") + 1)
    return following - F.get("starts", place)


def _without_stop_words(words: Column, settings: TermSettings) -> Column:
    stop_words = STOP_WORDS[settings.stop_words]
    return F.filter(words, lambda word: ~word.isin(*stop_words)) if stop_words else words


def _runs(length: int) -> Column:
    words = F.col("words")
    if length == 1:
        return words
    starts = F.slice(words, F.lit(1), F.greatest(F.size(words) - (length - 1), F.lit(0)))
    return F.transform(
        starts, lambda word, start: F.concat(word, *(F.get("joints", start + step) for step in range(1, length)))
    )


def _joints() -> Column:
    """What each word adds to a run that ends before it: a blank and the word, or, of a group of characters that
    overlaps with the one before, its last character.
    """
    words, grouped = F.col("words"), F.exists("words", lambda word: word.rlike(GROUPED))
    apart = F.transform(words, lambda word: F.concat(F.lit(" "), word))

    def joint(word: Column, place: Column) -> Column:
        before = F.get(words, place - 1)
        shared = F.when(before.rlike(GROUPED), F.regexp_replace(before, r"^\P{M}\p{M}*", ""))
        overlaps = word.rlike(GROUPED) & word.startswith(shared)
        return F.when(overlaps, word.substr(F.length(shared) + 1, F.length(word))).otherwise(F.concat(F.lit(" "), word))

    return F.when(grouped, F.transform(words, joint)).otherwise(apart)


def _counted(term: Column, kind: str | None, occurrences: Column) -> Column:
    return F.struct(
        term.cast("string").alias("term"),
        F.lit(kind).cast("string").alias("kind"),
        occurrences.cast("long").alias("occurrences"),
    )
