"""Amazon reviews of 2014, 2018 and 2023, in the files they were released in; any number of categories in one folder.

An interaction is a review: who (reviewerID, user_id), what (asin; in 2023 parent_asin, the product of which several
variants are sold), the stars as weight, the time. The releases of 2014 and 2018 know the day alone, and their files are
sorted by item: for the many reviews that a user wrote on one day the order is drawn (`Validated.accepted`).

The text of an item is its title and its description (in 2023 with the points that the maker lists, before it), see
`item_texts.described`. Its features are all levels of its categories, from the root down, each once; in 2023 after the
main category. The root that all items of one file share separates none of them, but costs nothing either, and does
separate them where several categories are read together. Its attributes are its brand (in 2023 the store), its price
band (`BANDS`) and, as "category path", each path of its categories from the root down to the second level or further.
They are no features: a brand of its own for every few items is a name, not a category.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.parsing.attributes import as_values, attributes
from recsae_lib.datasets.parsing.item_texts import described
from recsae_lib.datasets.parsing.json_lines import STRICT, as_texts, matching_files, read_json_lines
from recsae_lib.datasets.parsing.raw_tables import RawTable
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text, trimmed
from recsae_lib.datasets.validation import Validated, validate_interactions, validate_items

BRANDED = ("brand", "price")
BY_DAY = ColumnMapping(user_id="reviewerID", item_id="asin", weight="overall", ts="unixReviewTime")
BANDS = (5, 10, 20, 50, 100, 200)  # price bands begin here; of two prices, "$5.00 - $10.00", the lower one counts
_PRICE = r"^\s*(?:from )?\$?\s?(\d[\d,]{0,8}(?:\.\d{1,2})?)(?![\d.])"
LONGEST_PATH = 10  # levels
OF_2023 = ColumnMapping(user_id="user_id", item_id="parent_asin", weight="rating", ts="timestamp")


def read_amazon_2014(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read reviews_*.json and meta_*.json, plain or .gz; the latter are lines of Python literals, or of JSON.

    Raises
    ------
    InputError : one of the two is missing.
    """
    reviews = matching_files(spark, path, r"reviews_.*\.json(\.gz)?", "reviews_*.json or reviews_*.json.gz")
    listing = matching_files(spark, path, r"meta_.*\.json(\.gz)?", "meta_*.json or meta_*.json.gz")
    items = read_json_lines(spark, listing, ("asin", "title", "description", "categories", *BRANDED), literals=True)
    return _reviews_by_day(spark, reviews), _items(items, "asin", ("description",), ("categories",))


def read_amazon_2018(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read meta_*.json and, as reviews, all other .json, plain or .gz.

    Raises
    ------
    InputError : one of the two is missing.
    """
    reviews = matching_files(spark, path, r"(?!meta_).*\.json(\.gz)?", "of reviews (*.json or *.json.gz)")
    listing = matching_files(spark, path, r"meta_.*\.json(\.gz)?", "meta_*.json or meta_*.json.gz")
    items = read_json_lines(spark, listing, ("asin", "title", "description", "category", *BRANDED))
    return _reviews_by_day(spark, reviews), _items(items, "asin", ("description",), ("category",))


def read_amazon_2023(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read meta_*.jsonl and, as reviews, all other .jsonl, plain or .gz.

    Raises
    ------
    InputError : one of the two is missing.
    """
    reviews = matching_files(spark, path, r"(?!meta_).*\.jsonl(\.gz)?", "of reviews (*.jsonl or *.jsonl.gz)")
    listing = matching_files(spark, path, r"meta_.*\.jsonl(\.gz)?", "meta_*.jsonl or meta_*.jsonl.gz")
    fields = ("parent_asin", "title", "features", "description", "main_category", "categories", "store", "price")
    items = read_json_lines(spark, listing, fields)
    return (
        validate_interactions(read_json_lines(spark, reviews, _fields(OF_2023)), OF_2023),
        _items(items, "parent_asin", ("features", "description"), ("main_category", "categories"), "store"),
    )


def _reviews_by_day(spark: SparkSession, paths: list[str]) -> Validated:
    reviews = read_json_lines(spark, paths, _fields(BY_DAY))
    return validate_interactions(replace(reviews, lines_follow_time=False), BY_DAY)


def _fields(columns: ColumnMapping) -> tuple[str, ...]:
    return tuple(name for name in (columns.user_id, columns.item_id, columns.weight, columns.ts) if name)


def _items(
    items: RawTable, item_id: str, parts: tuple[str, ...], categories: tuple[str, ...], brand: str = "brand"
) -> Validated:
    title = as_text("title", items.columns["title"])
    levels = F.concat(*[_or_empty(as_texts(items.columns[name][0])) for name in categories])
    values = {
        "item_id": as_id(item_id, items.columns[item_id]),
        "title": title,
        "text": described(title, *[as_texts(items.columns[name][0]) for name in parts]),
        "features": as_features("categories", (levels, T.ArrayType(T.StringType())), "|"),
        "attributes": attributes(
            {
                "brand": as_values(brand, items.columns[brand]),
                "price": as_values("price", (price_band(items.columns["price"][0]), T.StringType())),
                "category path": _paths(items.columns[categories[-1]][0]),
            }
        ),
    }
    return validate_items(items, values)


def _or_empty(texts: Column) -> Column:
    return F.coalesce(texts, F.array().cast("array<string>"))


def price_band(text: Column) -> Column:
    """Price band of a price; null where the text does not begin with one."""
    digits = F.regexp_replace(F.regexp_extract(text, _PRICE, 1), ",", "")
    price = F.when(digits != "", digits).cast("double")
    band = F.when(price < BANDS[0], f"below {BANDS[0]}")
    for low, high in pairwise(BANDS):
        band = band.when(price < high, f"{low} to {high}")
    return band.when(price >= BANDS[-1], f"{BANDS[-1]} or more")


def _paths(json: Column) -> Column:
    """ARRAY<STRING> of a path, or a list of paths: "A > B", "A > B > C" of the path ["A", "B", "C"]."""
    nested = F.from_json(json, "array<array<string>>", STRICT)
    paths = F.when(json.rlike(r"^\s*\[\s*\["), nested).otherwise(F.array(F.from_json(json, "array<string>", STRICT)))

    def joined(path: Column) -> Column:
        levels = F.slice(F.filter(F.transform(path, trimmed), lambda level: level != ""), 1, LONGEST_PATH)
        # The whole path has every prefix; the first of them is one level alone.
        prefixes = F.transform(levels, lambda _, last: F.array_join(F.slice(levels, F.lit(1), last + 1), " > "))
        return F.slice(prefixes, 2, LONGEST_PATH)

    return F.flatten(F.transform(F.filter(paths, lambda path: path.isNotNull()), joined))
