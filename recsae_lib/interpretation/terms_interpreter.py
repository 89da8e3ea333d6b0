"""Labels without a language model: a latent is named by its own significant terms."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from recsae_lib.concepts.item_terms import CHARACTER, is_feature
from recsae_lib.concepts.listing import UNNAMED
from recsae_lib.config import InterpretationSettings

ABSORBED_SHARE = 0.5  # a word gives way to a longer term that makes up this share of its weight
DESCRIPTION_TERMS = 5  # terms of each kind that the description names


def interpret_with_terms(
    live_latents: DataFrame, concept_terms: DataFrame, twins: DataFrame, settings: InterpretationSettings
) -> DataFrame:
    """Name every live latent after its best significant terms (METHOD.md section 5; the rules below are ours).

    A word gives way to a longer word term that contains it and has at least half of its tf ("wars" to "star wars"),
    and to an item feature of the same words; what replaces a word takes over its rank. Then terms are taken by rank,
    leaving out each that repeats a word of one taken before; of two item features only equal ones (whatever the
    case) are repeats. Derived features are item features here. Latents that would have the same label though they are
    not about the same thing each get the next term that the others lack.

    Parameters
    ----------
    live_latents : latent_id, one row a latent.
    concept_terms : latent_id, term, kind, tf, significant, rank.
    twins : latent_id, same_as (`duplicates.same_as`).
    settings : `label_terms` is read.

    Returns
    -------
    DataFrame
        The columns of concept_labels without dt and sae_version, one row for each live latent.
    """
    named = (
        _candidates(concept_terms)
        .select("latent_id", "candidates", _without_absorbed(F.col("candidates")).alias("kept"))
        .withColumn("distinct", _without_repeats(F.col("kept")))
        .withColumn("label", _joined(F.slice("distinct", 1, settings.label_terms)))
        .join(live_latents, "latent_id", "left_semi")
    )
    apart = _telling_apart(named.join(twins, "latent_id", "left"), settings.label_terms)
    labelled = F.col("candidates").isNotNull()
    return (
        live_latents.join(named, "latent_id", "left")
        .join(apart, "latent_id", "left")
        .select(
            "latent_id",
            F.when(labelled, F.concat_ws(", ", "label", "next_term")).otherwise(UNNAMED).alias("label"),
            F.when(labelled, _description(F.col("kept")))
            .otherwise("No term sets the items linked to this latent apart.")
            .alias("description"),
            F.coalesce(_terms(_features(F.col("candidates"))), F.array().cast("array<string>")).alias("features"),
            F.lit("terms").alias("interpreter"),
            F.lit(None).cast("string").alias("llm_model"),
            F.lit(None).cast("string").alias("prompt_version"),
            F.lit(None).cast("string").alias("request_id"),
            F.when(labelled, "labelled").otherwise("unlabelled").alias("status"),
        )
    )


def named_terms(concept_terms: DataFrame) -> DataFrame:
    """Select the terms that a description names: of each kind the first `DESCRIPTION_TERMS` that are kept.

    What is judged is what is published: only these terms say for whom a latent fires.

    Parameters
    ----------
    concept_terms : latent_id, term, kind, tf, lift, significant, rank.

    Returns
    -------
    DataFrame : (latent_id, term, kind, tf, lift).
    """
    kept = _without_absorbed(F.col("candidates"))
    named = (
        _candidates(concept_terms)
        .select("latent_id", kept.alias("kept"))
        .select("latent_id", F.explode(F.concat(*_described(F.col("kept")))).alias("named"))
        .select("latent_id", F.col("named.term").alias("term"), F.col("named.kind").alias("kind"))
    )
    terms = concept_terms.where("significant").select("latent_id", "term", "kind", "tf", "lift")
    return terms.join(named, ["latent_id", "term", "kind"], "left_semi")


def _candidates(concept_terms: DataFrame) -> DataFrame:
    """(latent_id, candidates), the significant terms of each latent that has any, by rank."""
    term = F.struct("rank", "kind", "term", "tf", _words("term").alias("words"), _padded("term").alias("padded"))
    return (
        concept_terms.where("significant")
        .select("latent_id", term.alias("candidate"))
        .groupBy("latent_id")
        .agg(F.sort_array(F.collect_list("candidate")).alias("candidates"))
    )


def _words(term: str) -> Column:
    return F.array_remove(F.split(F.lower(term), r"[^\p{L}\p{M}\p{N}]+"), "")


def _padded(term: str) -> Column:
    # With a blank at both ends, "contains" compares whole words; a character of a script without blanks is one.
    spaced = F.regexp_replace(F.array_join(_words(term), " "), CHARACTER, " $1 ")
    return F.concat(F.lit(" "), F.trim(F.regexp_replace(spaced, " +", " ")), F.lit(" "))


def _absorbs(term: Column, other: Column) -> Column:
    same_as_feature = is_feature(term["kind"]) & (term["padded"] == other["padded"])
    longer = (
        (term["kind"] == "word")
        & (F.length(term["padded"]) > F.length(other["padded"]))
        & term["padded"].contains(other["padded"])
        & (term["tf"] >= ABSORBED_SHARE * other["tf"])
    )
    return (other["kind"] == "word") & (same_as_feature | longer)


def _without_absorbed(candidates: Column) -> Column:
    kept = F.filter(candidates, lambda term: ~F.exists(candidates, lambda other: _absorbs(other, term)))

    def at_best_rank(term: Column) -> Column:
        absorbed = F.filter(candidates, lambda other: _absorbs(term, other))
        best = F.least(term["rank"], F.array_min(F.transform(absorbed, lambda other: other["rank"])))
        return F.struct(best.alias("place"), *(term[name].alias(name) for name in ("rank", "kind", "term", "words")))

    return F.array_sort(F.transform(kept, at_best_rank))


def _telling_apart(named: DataFrame, label_terms: int) -> DataFrame:
    """Find, of latents with one label, the best term beyond the label that none but their twins have.

    Parameters
    ----------
    named : (latent_id, candidates, distinct, label, same_as).

    Returns
    -------
    DataFrame : (latent_id, next_term), one row for each latent that has such a term and shares its label with another
        one that is not about the same thing.
    """
    named = named.select(
        "latent_id",
        F.lower("label").alias("shared"),
        F.coalesce("same_as", "latent_id").alias("thing"),
        F.transform("candidates", lambda term: F.lower(term["term"])).alias("terms"),
        F.slice("distinct", label_terms + 1, F.size("distinct")).alias("further"),
    )
    things = named.groupBy("shared").agg(F.countDistinct("thing").alias("things")).where("things > 1")
    alike = named.join(things, "shared", "left_semi")
    having = (
        alike.select("shared", "thing", F.explode("terms").alias("term"))
        .groupBy("shared", "term")
        .agg(F.countDistinct("thing").alias("things"))
    )
    of_latent = alike.select("latent_id", "shared", F.posexplode("further").alias("place", "next"))
    return (
        of_latent.withColumn("term", F.lower(F.col("next")["term"]))
        .join(having.where("things = 1"), ["shared", "term"])
        .groupBy("latent_id")
        .agg(F.min_by(F.col("next")["term"], "place").alias("next_term"))
    )


def _without_repeats(terms: Column) -> Column:
    def repeats(taken: Column, term: Column) -> Column:
        both_features = is_feature(taken["kind"]) & is_feature(term["kind"])
        return (F.lower(taken["term"]) == F.lower(term["term"])) | (
            ~both_features & F.arrays_overlap(taken["words"], term["words"])
        )

    return F.aggregate(
        terms,
        F.slice(terms, 1, 0),
        lambda taken, term: F.when(
            ~F.exists(taken, lambda other: repeats(other, term)),
            F.concat(taken, F.array(term)),
        ).otherwise(taken),
    )


def _description(kept: Column) -> Column:
    features, words = _described(kept)
    parts = F.array(
        F.when(F.size(features) > 0, F.concat(F.lit("features ("), _joined(features), F.lit(")"))),
        F.when(F.size(words) > 0, F.concat(F.lit("words ("), _joined(words), F.lit(")"))),
    )
    named = F.array_join(F.filter(parts, lambda part: part.isNotNull()), " and ")
    return F.concat(F.lit("Fires for users whose linked items stand out by their "), named, F.lit("."))


def _described(kept: Column) -> tuple[Column, Column]:
    """Item features, and words, that a description names."""
    words = F.filter(kept, lambda term: term["kind"] == "word")
    return F.slice(_features(kept), 1, DESCRIPTION_TERMS), F.slice(words, 1, DESCRIPTION_TERMS)


def _features(terms: Column) -> Column:
    return F.filter(terms, lambda term: is_feature(term["kind"]))


def _terms(terms: Column) -> Column:
    return F.transform(terms, lambda term: term["term"])


def _joined(terms: Column) -> Column:
    return F.array_join(_terms(terms), ", ")
