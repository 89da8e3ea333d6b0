"""The users who judge, drawn from a little world that is written down here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from recsae_lib.concepts.halves import in_construct_half
from recsae_lib.config import Settings, TermSettings, VerificationSettings
from recsae_lib.errors import InputError
from recsae_lib.verification.user_sample import UserSample, draw_users

SETTINGS = Settings(terms=TermSettings(longest_ngram=1), verification=VerificationSettings(judged_users=100))
LINKED = {
    "anna": ["alien", "heat"],
    "bert": ["heat", "heat", "lost"],  # twice is once; lost is not in the catalogue
    "carl": ["ran"],
    "dora": [],  # no items: not drawn
    "emil": ["alien"],  # no representation: not drawn
    "finn": ["alien", "ran", "heat"],
}
X = {"anna": [1.0, 2.0], "bert": [0.5, 0.0], "carl": [3.0, -1.0], "dora": [9.0, 9.0], "finn": [0.0, 0.25]}
ITEMS = [
    ("alien", "Alien", "space space horror", ["Horror"], ["old"]),
    ("heat", "Heat", "bank space", ["Crime", "Drama", "Drama"], []),
    ("ran", "Ran", "war", ["Drama"], None),
    ("kes", "Kes", "war", ["Rare"], ["old"]),  # linked to nobody
]
NAMED = [(1, "space", "word"), (2, "space", "word"), (1, "old", "derived"), (3, "Horror", "word"), (3, "bird", "word")]
SEEN = [("anna", 5), ("anna", 2), ("bert", 7), ("carl", 1), ("finn", 0), ("finn", 3), ("emil", 4), ("finn", 3)]


def hashes(spark: SparkSession, *columns: list[str]) -> list[int]:
    rows = spark.createDataFrame(
        list(zip(*columns, strict=True)), ", ".join(f"c{n} string" for n in range(len(columns)))
    )
    return [row[0] for row in rows.select(F.xxhash64(*rows.columns)).collect()]


def draw(spark: SparkSession, seen: DataFrame | None, linked: dict[str, list[str]] = LINKED) -> UserSample:
    make = spark.createDataFrame
    return draw_users(
        make(list(X.items()), "user_id string, representation array<float>"),
        make(list(linked.items()), "user_id string, item_ids array<string>"),
        make(
            ITEMS,
            "item_id string, title string, text string, features array<string>, derived_features array<string>",
        ),
        make(NAMED, "latent_id int, term string, kind string"),
        seen,
        SETTINGS,
    )


@pytest.fixture(scope="module")
def sample(spark: SparkSession) -> UserSample:
    return draw(spark, spark.createDataFrame(SEEN, "user_id string, item_index int"))


def test_few_users_are_all_drawn_with_what_is_known(spark: SparkSession, sample: UserSample) -> None:
    assert sample.user_ids.tolist() == ["anna", "bert", "carl", "finn"]
    assert sample.representations.dtype == np.float32
    assert sample.representations.tolist() == [X[user] for user in sample.user_ids]
    users = spark.createDataFrame([(user,) for user in sample.user_ids], "user_id string")
    half = users.select(in_construct_half(F.col("user_id"), SETTINGS.evidence.salt)).collect()
    assert sample.construct.tolist() == [row[0] for row in half]
    assert len(set(sample.draws.tolist())) == len(sample) == 4


def test_links_and_terms_are_those_written_down(spark: SparkSession, sample: UserSample) -> None:
    names = ["alien", "heat", "lost", "ran"]
    place = dict(zip(names, np.argsort(np.argsort(hashes(spark, names))), strict=True))  # items stand by their hash
    linked = np.zeros((4, 4))
    for user, items in enumerate((["alien", "heat"], ["heat", "lost"], ["ran"], ["alien", "ran", "heat"])):
        linked[user, [place[item] for item in items]] = 1
    assert sample.linked.toarray().tolist() == linked.tolist()
    assert sample.linked_items().tolist() == [2, 2, 1, 3]

    # All item features of linked items; of the others those that name a unit: neither "horror", which is no word of
    # that case, nor "bird" and "Rare", which no linked item has.
    terms = [("word", "space"), ("derived", "old"), ("feature", "Horror"), ("feature", "Crime"), ("feature", "Drama")]
    codes = hashes(spark, *map(list, zip(*terms, strict=True)))
    assert sample.terms.tolist() == sorted(codes)
    column = dict(zip(terms, np.argsort(np.argsort(codes)), strict=True))
    counts = {
        "alien": {("word", "space"): 2, ("derived", "old"): 1, ("feature", "Horror"): 1},
        "heat": {("word", "space"): 1, ("feature", "Crime"): 1, ("feature", "Drama"): 1},
        "ran": {("feature", "Drama"): 1},
    }
    item_terms = np.zeros((4, 5))
    for item, of_item in counts.items():
        for term, number in of_item.items():
            item_terms[place[item], column[term]] = number
    assert sample.item_terms.toarray().tolist() == item_terms.tolist()
    assert sample.user_terms().toarray()[:, column["word", "space"]].tolist() == [3, 1, 0, 3]
    assert sample.features.tolist() == ["Crime", "Drama", "Horror"]
    assert sample.feature_terms.tolist() == [column["feature", name] for name in sample.features]


def test_only_the_verify_half_needs_what_it_has_seen(sample: UserSample) -> None:
    seen = {"anna": [2, 5], "bert": [7], "carl": [1], "finn": [0, 3]}
    assert 0 < sample.construct.sum() < 4
    for user, name in enumerate(sample.user_ids):
        part = sample.seen_items[sample.seen_offsets[user] : sample.seen_offsets[user + 1]]
        assert part.tolist() == ([] if sample.construct[user] else seen[name])


def test_a_sample_is_stored_and_read_again(sample: UserSample, tmp_path: Path) -> None:
    sample.save(tmp_path)
    again = UserSample.load(tmp_path)
    for name, value in vars(sample).items():
        read = getattr(again, name)
        if name in ("linked", "item_terms"):
            assert (read.shape, read.toarray().tolist()) == (value.shape, value.toarray().tolist())
        else:
            assert (read.dtype.kind, read.tolist()) == (value.dtype.kind, value.tolist())


def test_without_a_scoring_model_nothing_was_seen(spark: SparkSession) -> None:
    sample = draw(spark, None)
    assert (sample.seen_offsets.tolist(), sample.seen_items.tolist()) == ([0] * 5, [])


def test_nobody_to_draw_is_refused(spark: SparkSession) -> None:
    with pytest.raises(InputError, match="both a representation and linked items"):
        draw(spark, None, {"emil": ["alien"]})


def test_each_half_is_cut_to_about_the_users_asked_for(spark: SparkSession) -> None:
    def drawn(users: int) -> UserSample:
        names = spark.range(users).select(F.concat(F.lit("u"), "id").alias("user_id"))
        return draw_users(
            names.withColumn("representation", F.array(F.lit(1.0).cast("float"))),
            names.withColumn("item_ids", F.array(F.lit("alien"))),
            spark.createDataFrame(
                ITEMS[:1], "item_id string, title string, text string, features array<string>, d array<string>"
            ),
            spark.createDataFrame(NAMED, "latent_id int, term string, kind string"),
            None,
            SETTINGS,
        )

    sample = drawn(1000)
    # 100 of some 500: standard deviation 9.
    assert 60 <= sample.construct.sum() <= 140
    assert 60 <= (~sample.construct).sum() <= 140
    assert len(drawn(150)) == 150  # fewer than 100 a half: everybody
