"""Last.fm of HetRec 2011 (hetrec2011-lastfm-2k): which artists 1,892 users listened to, how often, and their tags.

Items are artists: title and text are the name. Weight is the listening count.

Listening has no time here, so that every ts is 1970-01-01, and the lines of a user stand in the order of falling
counts, which would make the artist that a user heard least the last one, and so the one that is held out. The order of
a user is drawn instead, from a hash of user and artist: random, and the same in every run (`Validated.accepted`).

The features of an artist are the tags that at least two different users gave to them: one user alone may mean anything
by a word, and 79 % of the pairs of an artist and a tag are of this sort; two thirds of the artists keep no feature.
Tags are trimmed and lower-cased, as Last.fm does itself ("die Ärzte" is the one tag that escaped): how a word is
written does not make another category of it. They stand in the order of falling numbers of users, ties in that of the
word.
"""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.parsing.delimited import Layout, read_delimited
from recsae_lib.datasets.parsing.raw_tables import RawTable, refuse_missing_columns
from recsae_lib.datasets.parsing.values import as_id, as_name, as_text
from recsae_lib.datasets.validation import Kind, Validated, validate, validate_interactions, validate_items

USERS_OF_A_TAG = 2
TAGS = Kind(
    "items",
    {"tag_id": "the tag id is missing", "tag": "the tag is missing"},
    (),
    ("tag_id",),
    (),
    "the tag is listed already",
)
ASSIGNMENTS = Kind(
    "items",
    {
        "user_id": "the user id is missing",
        "item_id": "the item id is missing",
        "tag_id": "the tag id is missing",
    },
    (),
    ("user_id", "item_id", "tag_id"),
    (),
    "the user gave the item this tag already",
)


def read_lastfm_2k(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read user_artists.dat, artists.dat, tags.dat (ISO-8859-1) and user_taggedartists.dat.

    Raises
    ------
    InputError : a file or a column of the release is missing.
    """
    listening = _read(spark, f"{path}/user_artists.dat", ("userID", "artistID", "weight"))
    columns = ColumnMapping(user_id="userID", item_id="artistID", weight="weight", ts=None)
    artists = _read(spark, f"{path}/artists.dat", ("id", "name"))
    tags = _read(spark, f"{path}/tags.dat", ("tagID", "tagValue"), "ISO-8859-1")
    assignments = _read(spark, f"{path}/user_taggedartists.dat", ("userID", "artistID", "tagID"))
    return (
        validate_interactions(replace(listening, lines_follow_time=False), columns),
        _artists(artists, _validate_tags(tags), _validate_assignments(assignments)),
    )


def _read(spark: SparkSession, path: str, names: tuple[str, ...], encoding: str = "UTF-8") -> RawTable:
    raw = read_delimited(spark, path, Layout("\t", encoding=encoding))
    refuse_missing_columns(names, raw.columns, path, "Take the file as it was released")
    return raw


def _validate_tags(tags: RawTable) -> Validated:
    tag = as_name("tagValue", tags.columns["tagValue"])
    return validate(tags, TAGS, {"tag_id": as_id("tagID", tags.columns["tagID"]), "tag": F.lower(tag)})


def _validate_assignments(assignments: RawTable) -> Validated:
    names = {"user_id": "userID", "item_id": "artistID", "tag_id": "tagID"}
    values = {column: as_id(name, assignments.columns[name]) for column, name in names.items()}
    return validate(assignments, ASSIGNMENTS, values)


def _artists(artists: RawTable, tags: Validated, assignments: Validated) -> Validated:
    artist = as_id("id", artists.columns["id"])
    features = tag_features(assignments.accepted, tags.accepted).withColumnRenamed("item_id", "tagged_id")
    rows = artists.rows.join(features, artist == F.col("tagged_id"), how="left")
    name = as_text("name", artists.columns["name"])
    no_features = F.array().cast(T.ArrayType(T.StringType()))
    values = {"item_id": artist, "title": name, "text": name, "features": F.coalesce("features", no_features)}
    return validate_items(replace(artists, rows=rows), values, parts=(tags, assignments))


def tag_features(assignments: DataFrame, tags: DataFrame) -> DataFrame:
    """Features of each item: its tags of at least two users, most users first.

    A tag that is not listed names nothing and is left out.

    Parameters
    ----------
    assignments : (user_id, item_id, tag_id), each once.
    tags : (tag_id, tag), each tag_id once.

    Returns
    -------
    (item_id, features ARRAY<STRING>), for items with features.
    """
    named = assignments.join(tags, "tag_id", how="inner").select("item_id", "tag", "user_id")
    counted = named.groupBy("item_id", "tag").agg(F.count_distinct("user_id").alias("users"))
    kept = counted.where(F.col("users") >= USERS_OF_A_TAG)
    ranked = F.array_sort(F.collect_list(F.struct((-F.col("users")).alias("less"), "tag")))
    return kept.groupBy("item_id").agg(F.transform(ranked, lambda entry: entry["tag"]).alias("features"))
