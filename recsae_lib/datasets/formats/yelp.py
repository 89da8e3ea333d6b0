"""The Yelp Open Dataset: yelp_academic_dataset_review.json and …_business.json, or without that prefix, plain or .gz.

An interaction is a review, its weight the stars. Title and text of a business are its name; its features are its
categories, which Yelp writes as one text with ", " between two of them. (The few whose own name has a comma, such as
"Books, Mags, Music & Video", fall into their parts.) The text of reviews is not read: it would explain users by their
own words.
"""

from __future__ import annotations

from pyspark.sql import SparkSession

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.parsing.json_lines import matching_files, read_json_lines
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text
from recsae_lib.datasets.validation import ITEMS, Validated, validate, validate_interactions

REVIEWS = ColumnMapping(user_id="user_id", item_id="business_id", weight="stars", ts="date")


def read_yelp(spark: SparkSession, path: str) -> tuple[Validated, Validated]:
    """Read reviews and businesses.

    Raises
    ------
    InputError : one of the two files is missing.
    """
    reviews, businesses = (
        matching_files(spark, path, rf"(yelp_academic_dataset_)?{name}\.json(\.gz)?", f"{name}.json")
        for name in ("review", "business")
    )
    interactions = read_json_lines(spark, reviews, ("user_id", "business_id", "stars", "date"))
    items = read_json_lines(spark, businesses, ("business_id", "name", "categories"))
    name = as_text("name", items.columns["name"])
    values = {
        "item_id": as_id("business_id", items.columns["business_id"]),
        "title": name,
        "text": name,
        "features": as_features("categories", items.columns["categories"], ","),
    }
    return validate_interactions(interactions, REVIEWS), validate(items, ITEMS, values)
