"""The releases of MovieLens: 100K (u.data, u.item), 1M and 10M (ratings.dat, movies.dat) and the CSV releases since.

The text of a movie is its title without the year at its end, which is no word of it; its features are its genres. The
tags that users gave to movies (tags.csv) are not read: they would explain users by the words of the same users.
"""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.parsing.delimited import Layout, read_delimited
from recsae_lib.datasets.parsing.raw_tables import RawTable, refuse_missing_columns
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text
from recsae_lib.datasets.validation import Validated, validate_interactions, validate_items
from recsae_lib.errors import InputError

LATIN_1 = "ISO-8859-1"
RATING_NAMES = ("userId", "movieId", "rating", "timestamp")
RATINGS = ColumnMapping(user_id="userId", item_id="movieId", weight="rating", ts="timestamp")
MOVIE_NAMES = ("movieId", "title", "genres")
NO_GENRES = "(no genres listed)"
GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_YEAR = r"\s*\(\d{4}(?:[-–]\d{0,4})?\)\s*$"


def read_movielens_100k(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read u.data and u.item; the genres are those of u.genre, or the 19 of the release where there is no such file."""
    genres = _genres_100k(spark, path)
    ratings = read_delimited(spark, f"{path}/u.data", Layout("\t", names=RATING_NAMES, encoding=LATIN_1))
    names = ("movieId", "title", "released", "released_on_video", "address", *genres)
    movies = read_delimited(spark, f"{path}/u.item", Layout("|", names=names, encoding=LATIN_1))
    flagged = [F.when(F.trim(movies.columns[genre][0]) == "1", genre) for genre in genres]
    return validate_interactions(ratings, RATINGS), _items(movies, F.array_compact(F.array(*flagged)))


def read_movielens_1m(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read ratings.dat and movies.dat, which this release writes in ISO-8859-1."""
    return _read_dat(spark, path, LATIN_1)


def read_movielens_10m(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read ratings.dat and movies.dat, which this release writes in UTF-8."""
    return _read_dat(spark, path, "UTF-8")


def _read_dat(spark: SparkSession, path: str, encoding: str) -> tuple[Validated, Validated]:
    ratings = read_delimited(spark, f"{path}/ratings.dat", Layout("::", names=RATING_NAMES, encoding=encoding))
    movies = read_delimited(spark, f"{path}/movies.dat", Layout("::", names=MOVIE_NAMES, encoding=encoding))
    return validate_interactions(ratings, RATINGS), _items(movies, _listed_genres(movies))


def read_movielens_csv(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read ratings.csv and movies.csv of a release since 2015 (20M, 25M, 32M, latest).

    Raises
    ------
    InputError : a file or a column of the release is missing.
    """
    ratings, movies = (
        read_delimited(spark, f"{path}/{file}.csv", Layout(",", quote='"')) for file in ("ratings", "movies")
    )
    for table, names in ((ratings, RATING_NAMES), (movies, MOVIE_NAMES)):
        refuse_missing_columns(names, table.columns, table.name, "Take the file as it was released")
    return validate_interactions(ratings, RATINGS), _items(movies, _listed_genres(movies))


def _items(movies: RawTable, features: Column) -> Validated:
    title = as_text("title", movies.columns["title"])
    values = {
        "item_id": as_id("movieId", movies.columns["movieId"]),
        "title": title,
        "text": F.regexp_replace(title, _YEAR, ""),
        "features": features,
    }
    return validate_items(movies, values)


def _listed_genres(movies: RawTable) -> Column:
    return F.array_remove(as_features("genres", movies.columns["genres"], "|"), NO_GENRES)


def _genres_100k(spark: SparkSession, path: str) -> tuple[str, ...]:
    try:
        lines = [row["value"].strip() for row in spark.read.text(f"{path}/u.genre").limit(100).collect()]
    except AnalysisException:
        return GENRES_100K
    try:
        pairs = sorted((int(place), name) for name, place in (line.rsplit("|", 1) for line in lines if line))
    except ValueError:
        raise InputError(
            f"{path}/u.genre is not lines of the form name|place", "Take it as it is, or leave it out"
        ) from None
    return tuple(name for _, name in pairs)
