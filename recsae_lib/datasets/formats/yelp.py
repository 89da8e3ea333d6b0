"""The Yelp Open Dataset: yelp_academic_dataset_review.json and …_business.json, or without that prefix, plain or .gz.

An interaction is a review, its weight the stars. Title and text of a business are its name; its features are its
categories, which Yelp writes as one text with ", " between two of them. (The few whose own name has a comma, such as
"Books, Mags, Music & Video", fall into their parts.) Its attributes are city, state, and price, the range from 1 to 4.
The text of reviews is not read: it would explain users by their own words.
"""

from __future__ import annotations

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from recsae_lib.config import ColumnMapping
from recsae_lib.datasets.parsing.attributes import as_values, attributes
from recsae_lib.datasets.parsing.json_lines import matching_files, read_json_lines
from recsae_lib.datasets.parsing.values import as_features, as_id, as_text
from recsae_lib.datasets.validation import Validated, validate_interactions, validate_items

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
    items = read_json_lines(spark, businesses, ("business_id", "name", "categories", "city", "state", "attributes"))
    name = as_text("name", items.columns["name"])
    values = {
        "item_id": as_id("business_id", items.columns["business_id"]),
        "title": name,
        "text": name,
        "features": as_features("categories", items.columns["categories"], ","),
        "attributes": attributes(
            {
                **{place: as_values(place, items.columns[place]) for place in ("city", "state")},
                "price": as_values("attributes", (_price_range(items.columns["attributes"][0]), T.StringType())),
            }
        ),
    }
    return validate_interactions(interactions, REVIEWS), validate_items(items, values)


def _price_range(of_business: Column) -> Column:
    """The digit of RestaurantsPriceRange2, which some releases print as Python does: u'2'."""
    return F.regexp_extract(F.get_json_object(of_business, "$.RestaurantsPriceRange2"), r"^(?:u?')?([1-4])'?\z", 1)
